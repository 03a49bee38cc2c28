#!/usr/bin/env python3
"""Writes kinetail.json, which is what Grafana takes, from the queries below:   ./generate.py >kinetail.json"""

import json

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RATE = "$__rate_interval"
WIDTH = 24
GREEN_RED = [{"color": "green", "value": None}, {"color": "red", "value": 1}]
UNWANTED = 'reason!~"blank|filter|discarded"'


def of(metric, *more):
    """A metric's series of the agents that are chosen."""
    return f"kinetail_{metric}{{" + ", ".join(['job=~"$job"', 'instance=~"$instance"', *more]) + "}"


def rate(metric, by=""):
    by = f" by ({by})" if by else ""
    return f"sum{by} (rate({of(metric)}[{RATE}]))"


def increase(metric, by):
    return f"sum by ({by}) (increase({of(metric)}[{RATE}]))"


def quantiles(metric, by="", legend=""):
    wanted = ((0.5, "half"), (0.99, "99 %"))
    return [(f"histogram_quantile({q}, sum by ({', '.join(filter(None, ['le', by]))}) (rate({of(metric)}[{RATE}])))", f"{legend} {name}".strip()) for q, name in wanted]


def steps(*pairs):
    return [{"color": color, "value": value} for value, color in pairs]


class Board:
    """Panels, from left to right and from top to bottom."""

    def __init__(self):
        self.panels, self.x, self.y, self.height = [], 0, 0, 0

    def row(self, title):
        self.y, self.x, self.height = self.y + (self.height if self.x else 0), 0, 0
        self.panels.append({"id": len(self.panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": self.place(WIDTH, 1)})

    def place(self, width, height):
        if self.x + width > WIDTH:
            self.x, self.y, self.height = 0, self.y + self.height, 0
        spot = {"h": height, "w": width, "x": self.x, "y": self.y}
        self.x, self.height = self.x + width, max(self.height, height)
        return spot

    def panel(self, kind, title, description, unit, targets, size, defaults, options):
        self.panels.append(
            {
                "id": len(self.panels) + 1, "type": kind, "title": title, "description": description, "datasource": SOURCE, "gridPos": self.place(*size),
                "fieldConfig": {"defaults": {"unit": unit, "min": 0, **defaults}, "overrides": []}, "options": options,
                "targets": [
                    {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend, "instant": kind == "stat", "range": kind != "stat"}
                    for i, (expr, legend) in enumerate(targets)
                ],
            }
        )

    def number(self, title, description, unit, expr, thresholds):
        options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "background", "graphMode": "none", "textMode": "value"}
        self.panel("stat", title, description, unit, [(expr, "")], (4, 4), {"thresholds": {"mode": "absolute", "steps": thresholds}}, options)

    def graph(self, title, description, unit, *targets, width=8, stacked=False):
        custom = {"drawStyle": "line", "lineWidth": 1, "showPoints": "never", "fillOpacity": 25 if stacked else 8}
        if stacked:
            custom["stacking"] = {"mode": "normal", "group": "A"}
        options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}}
        self.panel("timeseries", title, description, unit, targets, (width, 7), {"custom": custom}, options)


def panels():
    b = Board()
    b.row("Is it well?")
    b.number("Agents", "How many agents answer.", "none", f"count({of('build_info')})", steps((None, "red"), (1, "green")))
    b.number("Blocked", "Agents that can send nothing until somebody acts.", "none", f"sum(max by (job, instance) ({of('kinesis_blocked')})) or vector(0)", GREEN_RED)
    b.number("Furthest behind", "The age of the oldest unsent event.", "s", f"max({of('source_backlog_seconds')})", steps((None, "green"), (60, "orange"), (300, "red")))
    throttled = f"(sum(rate({of('kinesis_throttled_records_total')}[5m])) or vector(0))"
    share = f"{throttled} / clamp_min(sum(rate({of('kinesis_records_total')}[5m])) + {throttled}, 0.001)"
    b.number("Throttled", "The share of records for which a shard had no room, in the last five minutes.", "percentunit", share, steps((None, "green"), (0.01, "orange"), (0.05, "red")))
    dropped = f"sum({of('dropped_events_total', UNWANTED)}) or vector(0)"
    b.number("Dropped", "Events dropped since the agents started, without blank lines and what FireLens' patterns leave out.", "none", dropped, GREEN_RED)
    success = f"max(time() - ({of('last_success_timestamp_seconds')} > 0))"
    b.number("Last success", "How long ago Kinesis took a record, for the agent for which that is longest.", "s", success, steps((None, "green"), (300, "orange")))

    b.row("Backlog")
    b.graph("Behind, in time", "The age of the oldest unsent event of each source.", "s", (f"max by (instance, source) ({of('source_backlog_seconds')})", "{{instance}} {{source}}"))
    b.graph("Behind, in bytes", "Bytes of files that are not read yet.", "bytes", (f"sum by (instance, source) ({of('source_backlog_bytes')})", "{{instance}} {{source}}"))
    b.graph("From reading to a sequence number", "How long events were under way.", "s", *quantiles("delivery_latency_seconds_bucket"))

    b.row("Throughput")
    b.graph("Events", "A second, read and acknowledged by Kinesis; the difference is under way or dropped.", "cps", (rate("events_total"), "read"), (rate("kinesis_user_records_total"), "delivered"))
    b.graph("Bytes", "Read from files, and taken by Kinesis.", "Bps", (rate("source_read_bytes_total"), "read"), (rate("kinesis_bytes_total", "stream"), "to {{stream}}"))
    b.graph("Events in a record", "How well aggregation works.", "none", (f"{rate('kinesis_user_records_total', 'stream')} / {rate('kinesis_records_total', 'stream')}", "{{stream}}"))

    b.row("Kinesis")
    by_shard = (rate("kinesis_throttled_records_total", "stream, shard"), "{{stream}} {{shard}}")
    b.graph("Throttled, by shard", "Records a second for which a shard had no room. One shard alone is a hot key.", "cps", by_shard, stacked=True)
    b.graph("Refused, by error", "Records a second that were refused, alone or with their request, and what was sent again.", "cps",
            (rate("kinesis_record_errors_total", "stream, code"), "{{stream}} {{code}}"), (rate("kinesis_retries_total"), "sent again"))
    b.graph("PutRecords", "How long requests took.", "s", *quantiles("kinesis_put_duration_seconds_bucket", "stream", "{{stream}}"))
    b.graph("What shards are given", "Bytes a second, as learnt from what they take and refuse.", "Bps", (f"sum by (stream, shard) ({of('kinesis_shard_rate_bytes')})", "{{stream}} {{shard}}"))
    b.graph("Requests", "PutRecords requests a second, with whatever outcome.", "reqps", (rate("kinesis_requests_total", "stream"), "{{stream}}"))
    b.graph("Open shards", "If the role may list them.", "none", (f"max by (stream) ({of('kinesis_shards')})", "{{stream}}"))

    b.row("The bill")
    b.graph("PUT payload units", "Of 25 KiB, as provisioned streams are billed: those that were used, and those that each event as a record of its own would have taken.", "cps",
            (rate("kinesis_payload_units_total"), "used"), (rate("kinesis_unaggregated_payload_units_total"), "without aggregation"), width=12)
    b.graph("Billed bytes, on demand", "Each record rounded up to 1 KiB.", "Bps",
            (rate("kinesis_rounded_bytes_total"), "used"), (rate("kinesis_unaggregated_rounded_bytes_total"), "without aggregation"), width=12)

    b.row("The agent")
    b.graph("Dropped events", "By stage and reason.", "none", (increase("dropped_events_total", "stage, reason"), "{{stage}}: {{reason}}"))
    b.graph("Bytes given up", "Bytes of files that were gone before they could be read, or cut off as configured.", "bytes", (increase("abandoned_bytes_total", "reason"), "{{reason}}"))
    b.graph("Memory for log data", "The part of memory_limit that is used, and of the time that reading waits for it.", "percentunit",
            (f"{of('buffer_bytes')} / {of('buffer_capacity_bytes')}", "{{instance}}"), (f"rate({of('backpressure_seconds_total')}[{RATE}])", "{{instance}} waits"))
    b.graph("Spool", "What came over pipes and sockets, delivered or not.", "bytes", (f"sum by (instance, source) ({of('spool_bytes')})", "{{instance}} {{source}}"))
    b.graph("Checkpoint", "For how long what is on disk has been behind.", "s", (f"max by (instance) ({of('checkpoint_age_seconds')})", "{{instance}}"))
    b.graph("Files, rotations and parse errors", "Files by state, rotations by kind, lines that a parser refused.", "none",
            (f"sum by (state) ({of('source_files')})", "{{state}}"), (increase("file_rotations_total", "kind"), "rotated: {{kind}}"), (increase("parse_errors_total", "parser"), "not {{parser}}"))
    return b.panels


def variable(name, label, query):
    return {
        "name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name}, "definition": query, "includeAll": True, "allValue": ".*",
        "multi": True, "refresh": 2, "sort": 1, "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def dashboard():
    variables = [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1, "current": {}},
        variable("job", "Job", "label_values(kinetail_build_info, job)"),
        variable("instance", "Instance", 'label_values(kinetail_build_info{job=~"$job"}, instance)'),
    ]
    return {
        "uid": "kinetail", "title": "kinetail", "description": "How far behind the agents are, who throttles them, and what becomes of every event.",
        "tags": ["kinetail", "kinesis", "logs"], "schemaVersion": 39, "version": 1, "editable": True, "graphTooltip": 1, "refresh": "30s", "timezone": "",
        "time": {"from": "now-1h", "to": "now"}, "templating": {"list": variables}, "annotations": {"list": []}, "panels": panels(),
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=2))

#!/usr/bin/env python3
"""What `metric` derives from events, as Prometheus sees it: rates, quantiles, and what becomes of too many labels.

    derived.py --binary BIN --prometheus FILE [--seconds 20] [--rate 200] [--work DIR]

A Prometheus scrapes the agent each second while lines are written at a steady rate: as text, and a second job as OpenMetrics. Each query is
answered for one time, and compared with what was really written between the scrapes that it rests on. How many lines had been read by a scrape is
what a histogram of all of them says in the same scrape, so that a slow machine changes what is expected, and not whether it holds.
"""

import argparse
import bisect
import http.server
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import common
from agent import Agent
from common import REGION, Report, free_port, wait_for
from outage import rss_mb
from prometheus import Prometheus

KINDS = {"book": 0.6, "music": 0.3, "game": 0.1}
SERVICES = ("cart", "pay")
BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0]
MAX_SERIES, LABELS = 100, 10_000
# How far a result may be off, and over how many seconds rates are taken.
TOLERANCE, WINDOW = 0.05, 15
# How old what a scrape says may be on a machine that is busy with other things.
MOST_BEHIND_S = 10
# What the agent may take in memory more for all the labels, MB. That many series without a bound would take a multiple.
MOST_MORE_MB = 12


class Writer(threading.Thread):
    """A steady stream of orders, of which some fail. It knows how many there were of each kind after each line, and when that was written."""

    def __init__(self, path, rate, seed=7):
        super().__init__(daemon=True)
        self.path, self.rate, self.ending, self.random = path, rate, threading.Event(), random.Random(seed)
        self.times, self.totals, self.took = [], [{}], []

    def run(self):
        began = time.monotonic()
        with open(self.path, "a", buffering=1 << 16) as log:
            while not self.ending.is_set():
                due = int((time.monotonic() - began) * self.rate) - len(self.times)
                lines = [self.line(len(self.times) + n) for n in range(due)]
                log.writelines(lines)
                log.flush()
                self.times += [time.time()] * due
                self.ending.wait(0.05)

    def line(self, number):
        kind = self.random.choices(list(KINDS), KINDS.values())[0]
        service, took = SERVICES[number % 2], round(min(self.random.expovariate(8), 0.99), 6)
        failed = self.random.random() < 0.05
        amount, total = number % 7, dict(self.totals[-1])
        for key, by in ((("type", kind), 1), (("amount", kind), amount), (("error", service), int(failed))):
            total[key] = total.get(key, 0) + by
        self.totals.append(total)
        self.took.append(took)
        return json.dumps({"order": number, "type": kind, "service": service, "level": "error" if failed else "info", "took": took, "amount": amount}) + "\n"


def config(work, endpoint):
    metrics = [
        {"name": "orders_placed_total", "help": "Orders, by type.", "labels": {"type": "{type}"}},
        {"name": "orders_amount_total", "value": "{amount}", "labels": {"type": "{type}"}},
        {"name": "errors_total", "labels": {"service": "{service}"}, "when": 'level == "error"'},
        {"name": "order_seconds", "type": "histogram", "value": "{took}", "buckets": BUCKETS},
        {"name": "orders_created", "labels": {"type": "{type}"}},
    ]
    labels = [{"name": "by_user_total", "labels": {"user": "{user}"}, "max_series": MAX_SERIES}]
    source = lambda name, all_of: {"name": name, "paths": [str(work / f"{name}.log")], "parse": "json", "transforms": [{"metric": m} for m in all_of]}
    return {"sources": [source("orders", metrics), source("users", labels)], "kinesis": {"stream": "derived", "endpoint": endpoint}}


class AsText(http.server.ThreadingHTTPServer):
    """The agent's metrics for whoever asks for nothing else than text: this Prometheus would rather have OpenMetrics."""

    daemon_threads = True

    def __init__(self, target):
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                with urllib.request.urlopen(f"http://{target}/metrics", timeout=30) as answer:
                    body, kind = answer.read(), answer.headers["Content-Type"]
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A Prometheus that ends closes its connections as they are."""



def near(name, got, wanted, found, tolerance=TOLERANCE):
    is_near = got is not None and abs(got - wanted) <= tolerance * abs(wanted)
    print(f"     {name}: {got if got is None else round(got, 4)}, expected {wanted:.4f}{'' if is_near else ', which is too far'}", flush=True)
    if not is_near:
        found.append(f"{name} is {got}, and {wanted} was expected")


class Suite:
    def __init__(self, opt, work):
        self.opt, self.work, self.found = opt, work, []

    def rates(self, prometheus, writer, job, when):
        """Each rate against what was written between the first and the last scrape that it rests on."""
        wanted = [("orders_placed_total", "type", kind, ("type", kind)) for kind in KINDS]
        wanted += [("orders_amount_total", "type", kind, ("amount", kind)) for kind in KINDS]
        wanted += [("errors_total", "service", service, ("error", service)) for service in SERVICES]
        wanted += [(created_name(prometheus, job), "type", kind, ("type", kind)) for kind in KINDS]
        read = prometheus.samples(f'order_seconds_count{{job="{job}"}}', WINDOW, when)
        if len(read) < 3:
            return self.found.append(f"{job}: only {len(read)} scrapes in {WINDOW} s")
        lines = dict(read)
        behind = max(t - writer.times[int(n) - 1] for t, n in read if n)
        print(f"     {job}: {len(read)} scrapes in {WINDOW} s, each at most {behind:.2f} s behind what was written", flush=True)
        if behind > MOST_BEHIND_S:
            self.found.append(f"{job}: a scrape is {behind:.1f} s behind what was written")
        for name, label, value, key in wanted:
            series = f'{name}{{job="{job}",source="orders",{label}="{value}"}}'
            rate = next((v for _, v in prometheus.query(f"rate({series}[{WINDOW}s])", when)), None)
            samples = [(t, v) for t, v in prometheus.samples(series, WINDOW, when) if t in lines]
            if len(samples) < 3:
                self.found.append(f"{series} has only {len(samples)} samples in {WINDOW} s")
                continue
            written = [(t, writer.totals[int(lines[t])].get(key, 0)) for t, _ in samples]
            truth = extrapolated(written, when)
            near(f"rate({series})", rate, truth, self.found)

    def quantiles(self, prometheus, writer, job, when):
        read = prometheus.samples(f'order_seconds_count{{job="{job}"}}', WINDOW, when)
        every = sorted(writer.took[int(read[0][1]) : int(read[-1][1])]) if read else []
        for q in (0.5, 0.9):
            expr = f'histogram_quantile({q}, sum by (le) (increase(order_seconds_bucket{{job="{job}"}}[{WINDOW}s])))'
            got = next((v for _, v in prometheus.query(expr, when)), None)
            near(f"{job}: quantile {q}", got, in_buckets(every, q), self.found)
        count = next((v for _, v in prometheus.query(f'order_seconds_count{{job="{job}"}}', when)), None)
        bucket = next((v for _, v in prometheus.query(f'order_seconds_bucket{{job="{job}",le="+Inf"}}', when)), None)
        if count is None or count != bucket:
            self.found.append(f"{job}: order_seconds_count is {count}, and its last bucket {bucket}")

    def labels(self, agent):
        """So many values of a label that nobody could pay for them."""
        before = rss_mb(agent.proc.pid)
        with open(self.work / "users.log", "a") as log:
            log.writelines(json.dumps({"user": f"user-{n}-{'x' * 90}"}) + "\n" for n in range(LABELS))
        of = lambda text, start: [line for line in text.splitlines() if line.startswith(start)]
        over = f'kinetail_derived_metric_errors_total{{metric="by_user_total",reason="max_series",source="users"}} {LABELS - MAX_SERIES}'

        def text():
            metrics = agent.get("/metrics")[1]
            return metrics if over in metrics else None

        try:
            metrics = wait_for("all labels are counted", text)
        except TimeoutError:
            return self.found.append(f"{over} never came: {of(agent.get('/metrics')[1], 'kinetail_derived_metric_errors')}")
        series = of(metrics, "by_user_total{")
        if len(series) != MAX_SERIES + 1:
            self.found.append(f"by_user_total has {len(series)} series, and may have {MAX_SERIES} and one for the rest")
        if f'by_user_total{{source="users",user="_other"}} {LABELS - MAX_SERIES}' not in series:
            self.found.append(f"the series of the rest is missing: {[s for s in series if 'other' in s]}")
        more = rss_mb(agent.proc.pid) - before
        print(f"     {LABELS} labels: {len(series)} series, {more:.1f} MB more memory", flush=True)
        if more > MOST_MORE_MB:
            self.found.append(f"the agent takes {more:.1f} MB more for {LABELS} labels")

    def formats(self, agent, promtool):
        """What promtool and the official parser of OpenMetrics say of it."""
        text = agent.get("/metrics")[1]
        checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        # Counters ought to end with _total, and orders_created does not: that is its user's choice.
        wrong = [line for line in (checked.stdout + checked.stderr).splitlines() if line.strip() and "orders_created" not in line]
        if wrong:
            self.found.append(f"promtool: {wrong[:5]}")
        request = urllib.request.Request(f"http://{agent.admin}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            kind, text = answer.headers["Content-Type"], answer.read().decode()
        if "openmetrics" not in kind:
            self.found.append(f"OpenMetrics was asked for, and {kind} came")
        try:
            from prometheus_client.openmetrics.parser import text_string_to_metric_families
        except ImportError:
            return
        families = {f.name: f for f in text_string_to_metric_families(text)}
        for name, form in (("orders_placed", "counter"), ("order_seconds", "histogram"), ("by_user", "counter")):
            if name not in families or families[name].type != form:
                self.found.append(f"OpenMetrics has no {form} {name}")

    def through(self, agent, prometheus, promtool):
        writer = Writer(self.work / "orders.log", self.opt.rate)
        writer.start()
        time.sleep(self.opt.seconds)
        for job in ("openmetrics", "text"):
            up = wait_for(f"a scrape of {job}", lambda: prometheus.query(f'up{{job="{job}"}} == 1', time.time()))
            if not up:
                self.found.append(f"{job} is not up")
            # All of them are older than the window.
            wait_for("series of each service", lambda: len(prometheus.query(f'errors_total{{job="{job}"}} offset {WINDOW + 1}s', time.time())) == len(SERVICES))
            when = time.time() - 0.5
            self.rates(prometheus, writer, job, when)
            self.quantiles(prometheus, writer, job, when)
        writer.ending.set()
        writer.join()
        self.labels(agent)
        self.formats(agent, promtool)

    def go(self):
        port = free_port()
        with open(self.work / "local.log", "wb") as log:
            local = subprocess.Popen([self.opt.binary, "local", "--listen", f"127.0.0.1:{port}", "--stream", "derived"], stdout=log, stderr=log, preexec_fn=common.die_with_parent)
        try:
            wait_for("the stream", lambda: b"endpoint" in (self.work / "local.log").read_bytes())
            settings = {"CONFIG": json.dumps(config(self.work, f"http://127.0.0.1:{port}")), "REGION": REGION}
            with Agent([self.opt.binary], self.work, settings) as agent:
                agent.wait_ready()
                jobs = {"openmetrics": [agent.admin], "text": [f"127.0.0.1:{AsText(agent.admin).server_port}"]}
                with Prometheus(self.opt.prometheus, self.work, jobs) as prometheus:
                    self.through(agent, prometheus, str(self.opt.prometheus.with_name("promtool")))
        finally:
            local.terminate()
            local.wait(30)
        return self.found


def created_name(prometheus, job):
    """What a counter is called whose name has no `_total`, as OpenMetrics demands of all."""
    names = prometheus.ask("series", **{"match[]": f'{{__name__=~"orders_created.*",job="{job}"}}'})
    return names[0]["__name__"] if names else "orders_created"


def extrapolated(samples, when):
    """The rate of a counter over the window as Prometheus makes it of samples: what is at its ends is as what is between, unless a scrape was missed."""
    (begin, first), (end, last) = samples[0], samples[-1]
    between = (end - begin) / (len(samples) - 1)
    before, after = begin - (when - WINDOW), when - end
    if last > first:
        before = min(before, (end - begin) * first / (last - first))
    reach = end - begin + sum(gap if gap < 1.1 * between else between / 2 for gap in (before, after))
    return (last - first) * reach / (end - begin) / WINDOW


def in_buckets(values, q):
    """What histogram_quantile would make of these values."""
    rank, below, lower = q * len(values), 0, 0.0
    for end in BUCKETS:
        upto = bisect.bisect_right(values, end)
        if upto >= rank:
            return lower + (end - lower) * (rank - below) / max(upto - below, 1)
        below, lower = upto, end
    return BUCKETS[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--prometheus", required=True, type=Path, help="beside it lies promtool")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--work", type=Path)
    opt = parser.parse_args()
    opt.binary, opt.prometheus = str(opt.binary.resolve()), opt.prometheus.absolute()
    if opt.work:
        opt.work.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="derived-", dir=os.path.abspath(opt.work) if opt.work else None))
    report, began = Report(), time.monotonic()
    try:
        found = Suite(opt, work).go()
    except (OSError, RuntimeError, TimeoutError, subprocess.SubprocessError) as error:
        found = [f"{type(error).__name__}: {error}"]
    report.case(f"metrics of {opt.rate} events a second through Prometheus", found, time.monotonic() - began)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())

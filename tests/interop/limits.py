#!/usr/bin/env python3
"""A stream with the service's limits, a real Prometheus that scrapes the agents each second, and README's queries against what the stream measured.

    limits.py --binary BIN --prometheus DIR [--sink FILE] [--seconds 60] [--work DIR]

DIR is promtool.sh's folder. The stream is the bench harness' kinesis-sink if it is given, and kinetail local otherwise: 1 MiB and 1000 records a second for each
shard, both. First comes what a stream of four shards takes, 5000 lines a second, of which nothing may be throttled or late. Then more is written than two shards
take, then less, until all is there, and then one record in twenty is refused as throttled. Backlog growth, the part of the records that is throttled by shard,
and the time to drain are asked of Prometheus with the queries of README, and have to be within 5 % of what the stream and the writers counted over the time
between the first and the last scrape that the query saw. The time to
drain may be a second off as well, and so it is compared with how long draining then took.
"""

import argparse
import bisect
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from pathlib import Path

import agent as agents
import common
import numbered
from prometheus import Prometheus

STREAM = "limits"
ROOT = Path(__file__).resolve().parents[2]
# How far a query may be off.
PART = 0.05
# Lines at a time, of about 270 bytes.
CHUNK = 50
# Small records, so that there are enough of them to count, and little memory, so that the files are the backlog.
RECORD_BYTES = 8192
SHARD_BYTES, SHARD_RECORDS = 1 << 20, 1000
# Shares come down while records are refused by chance, and it is minutes until they are what they were.
NOISE_SECONDS = 20


class Stream:
    """The stream and its own counts."""

    def __init__(self, opt, shards, work):
        self.sink, self.series = opt.sink, []
        port = common.free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        if opt.sink:
            command = [opt.sink, "--listen", f"127.0.0.1:{port}", "--shards", shards, "--shard-bytes-per-s", SHARD_BYTES, "--shard-records-per-s", SHARD_RECORDS]
        else:
            command = [opt.binary, "local", "--listen", f"127.0.0.1:{port}", "--stream", f"{STREAM}:{shards}", "--max-memory", 1 << 30]
        with open(work / "stream.log", "wb") as log:
            self.proc = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=common.die_with_parent)
        self.told = threading.Event()
        common.wait_for("the stream", self.answers)
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def answers(self):
        if self.proc.poll() is not None:
            raise RuntimeError(f"the stream ended with {self.proc.returncode}")
        try:
            return self.counts()
        except OSError:
            return None

    def counts(self):
        """By shard: records, bytes, throttled records."""
        with urllib.request.urlopen(self.endpoint + ("/stats" if self.sink else "/_kinetail/stats"), timeout=10) as r:
            stats = json.load(r)
        if self.sink:
            shards = {f"shardId-{i:012d}": s for i, s in enumerate(stats["shards"])}
        else:
            shards = stats["streams"][STREAM]["shards"]
        counts = {shard: (s["records"], s["bytes"], s["throttled"]) for shard, s in shards.items()}
        if self.sink:
            # It does not count by shard what it refuses by chance.
            counts["all"] = (0, 0, stats["records_failed"] - sum(c[2] for c in counts.values()))
        return counts

    def refuse(self, part):
        """From now on one record in so many is refused as throttled."""
        plan = {"fail_records": part, "fail_records_code": "ProvisionedThroughputExceededException"} if self.sink else {"throttle": part, "operations": ["PutRecords"]}
        path = "/control" if self.sink else "/_kinetail/faults"
        urllib.request.urlopen(urllib.request.Request(self.endpoint + path, data=json.dumps(plan).encode()), timeout=10).read()

    def watch(self):
        while not self.told.is_set():
            before = time.time()
            counts = self.counts()
            self.series.append(((before + time.time()) / 2, counts))
            self.told.wait(0.2)

    def at(self, when):
        """What was counted at a moment."""
        return self.series[min(bisect.bisect_left(self.series, when, key=lambda s: s[0]), len(self.series) - 1)]

    def between(self, start, end):
        """(seconds, by shard what came) between two moments."""
        (t0, first), (t1, last) = self.at(start), self.at(end)
        return t1 - t0, {shard: tuple(b - a for a, b in zip(first[shard], last[shard])) for shard in last}

    def bytes(self, when):
        """In all, at a moment between two looks as much as it was then if it went on evenly."""
        at = min(max(bisect.bisect_left(self.series, when, key=lambda s: s[0]), 1), len(self.series) - 1)
        (t0, first), (t1, last) = ((t, sum(count[1] for count in counts.values())) for t, counts in self.series[at - 1 : at + 1])
        return first + (last - first) * min((when - t0) / (t1 - t0), 1.0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.told.set()
        self.proc.kill()
        self.proc.wait()
        self.thread.join()


class Writer(threading.Thread):
    """Appends lines at a rate that can be changed, and notes how much it has written when."""

    def __init__(self, path, src, rate):
        super().__init__(daemon=True)
        self.path, self.src, self.rate, self.told, self.bytes, self.lines, self.series = path, src, rate, threading.Event(), 0, 0, []

    def run(self):
        ends, due = numbered.pads(numbered.LONG), time.monotonic()
        with open(self.path, "ab", buffering=0) as out:
            while not self.told.is_set():
                data = numbered.lines(self.src, self.lines, CHUNK, time.time_ns() // 1000, ends)
                out.write(data)
                self.lines += CHUNK
                self.bytes += len(data)
                self.series.append((time.time(), self.bytes))
                due = max(due + CHUNK / self.rate, time.monotonic() - 1)
                time.sleep(max(0.0, due - time.monotonic()))

    def at(self, when):
        return self.series[min(bisect.bisect_left(self.series, when, key=lambda s: s[0]), len(self.series) - 1)][1]


def seen(prometheus, window, at):
    """The times of the first and the last scrape within a window."""
    times = [t for t, _ in prometheus.samples("up", window, at)]
    return times[0], times[-1]


def last_scrape(prometheus):
    """The time of the last scrape: what is asked of that moment is not of one before it, and a rate is not made up to the end of its window."""
    return seen(prometheus, 10, time.time())[1]


def queries():
    """The queries of README, by the comment above each."""
    block = re.search(r"```promql\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    found = {}
    for part in block.strip().split("\n\n"):
        title, *expr = part.splitlines()
        found[title.removeprefix("# ")] = " ".join(line.strip() for line in expr)
    return found


class Case:
    """Agents, writers, a stream, and Prometheus."""

    def __init__(self, opt, name, shards, sides, rate):
        self.opt, self.found, self.work = opt, [], opt.work / name
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.shards, self.rows, self.rate, self.sides = shards, [], rate, sides
        self.queries = queries()

    def settings(self, folder, stream):
        kinesis = {"stream": STREAM, "endpoint": stream.endpoint, "aggregate": {"target_bytes": RECORD_BYTES, "max_bytes": RECORD_BYTES}}
        return {"CONFIG": json.dumps({"sources": [{"paths": [f"{folder}/app.log"]}], "kinesis": kinesis, "memory_limit": "2MiB"})}

    def run(self, act):
        with Stream(self.opt, self.shards, self.work) as stream:
            folders = [self.work / f"agent{n}" for n in range(self.sides)]
            for folder in folders:
                folder.mkdir()
            writers = [Writer(folder / "app.log", n, self.rate / self.sides) for n, folder in enumerate(folders)]
            running = [agents.Agent([str(self.opt.binary)], folder, self.settings(folder, stream)) for folder in folders]
            try:
                for agent in running:
                    agent.wait_ready()
                with Prometheus(self.opt.prometheus / "root/usr/bin/prometheus", self.work, {"kinetail": [a.admin for a in running]}) as prometheus:
                    for writer in writers:
                        writer.start()
                    act(stream, writers, running, prometheus)
                for agent in running:
                    if (code := agent.stop()) != 0:
                        self.found.append(f"exit code {code}")
            finally:
                for agent in running:
                    agent.kill()

    def check_metrics(self, agent):
        tool = self.opt.prometheus / "root/usr/bin/promtool"
        r = subprocess.run([str(tool), "check", "metrics"], input=agent.get("/metrics")[1], capture_output=True, text=True, timeout=60)
        if r.returncode != 0 or r.stdout.strip() or r.stderr.strip():
            self.found.append(f"promtool check metrics: {r.returncode}: {r.stdout} {r.stderr}")

    def compare(self, what, asked, counted, part=PART, least=0.0):
        """`least` is what one event more or less makes."""
        off = abs(asked - counted)
        self.rows.append(f"     {what:44} Prometheus {asked:14.4f}   counted {counted:14.4f}   off by {off / counted * 100 if counted else 0:5.2f} %")
        if math.isnan(asked) or off > max(part * abs(counted), least):
            self.found.append(f"{what}: Prometheus says {asked:.4f}, counted was {counted:.4f}")

    # --- what a stream takes -----------------------------------------------------------------------------------------------

    def fits(self, stream, writers, running, prometheus):
        window = round(self.opt.seconds)
        # Prometheus begins to scrape when it likes; the window is to begin after that.
        scraped = lambda: len(prometheus.query("count_over_time(kinetail_kinesis_shard_bytes_total[1m]) >= 3", time.time())) == self.shards
        common.wait_for("Prometheus has seen every shard", scraped)
        for _ in range(4):
            time.sleep(window / 4)
            self.check_metrics(running[0])
        at = last_scrape(prometheus)
        seconds, came = stream.between(*seen(prometheus, window, at))
        came.pop("all", None)
        for metric, value in prometheus.query(f"sum by (shard) (rate(kinetail_kinesis_shard_bytes_total[{window}s]))", at):
            self.compare(f"bytes a second, {metric['shard'][-2:]}", value, came[metric["shard"]][1] / seconds)
        throttled = sum(c[2] for c in came.values())
        told = sum(v for _, v in prometheus.query(self.expr("throttled", window), at) if not math.isnan(v))
        if throttled == 0 and told:
            self.found.append(f"nothing was throttled, and the query says {told}")
        ((_, behind),) = prometheus.query(f"max_over_time(kinetail_source_backlog_seconds[{window}s])", at)
        scrapes = max(v for _, v in prometheus.query(f"count_over_time(up[{window}s])", at))
        self.rows.append(f"     {scrapes:.0f} scrapes in {window} s, throttled {throttled}, at most {behind:.2f} s behind")
        if behind > 5:
            self.found.append(f"{behind:.1f} s behind")
        if scrapes < 0.9 * window:
            self.found.append(f"only {scrapes} scrapes in {window} s")
        self.finish(stream, writers, running)

    # --- more than it takes, and less ------------------------------------------------------------------------------------

    def over(self, stream, writers, running, prometheus):
        window = round(self.opt.seconds)
        # The first refusals teach what a share is.
        time.sleep(8 + window)
        self.check_metrics(running[0])
        full = last_scrape(prometheus)
        # Slower from now on: it drains.
        for writer in writers:
            writer.rate /= 5
        span = seen(prometheus, window, full)
        grown = prometheus.query(self.expr("Backlog growth", window), full)
        draining = self.opt.seconds / 2
        time.sleep(draining + 5)
        asked = last_scrape(prometheus)
        drain = prometheus.query(self.expr("Time to drain", round(draining)), asked)
        drained = seen(prometheus, round(draining), asked)
        # When the files' ends are reached: from then on everything that is written is delivered at once.
        reached = self.reached(running)
        self.check_metrics(running[0])
        # Refused by chance, too: before, that would have made the way down uneven.
        stream.refuse(0.05)
        time.sleep(NOISE_SECONDS + 2)
        at = last_scrape(prometheus)
        ratio = {m["shard"]: v for m, v in prometheus.query(self.expr("throttled", NOISE_SECONDS), at)}
        _, came = stream.between(*seen(prometheus, NOISE_SECONDS, at))
        stream.refuse(0)
        self.finish(stream, writers, running)
        # What a byte of a file takes in the stream: all of it is there.
        share = sum(w.bytes for w in writers) / stream.bytes(time.time())
        behind = lambda t: sum(w.at(t) for w in writers) - stream.bytes(t) * share
        growth = lambda start, end: (behind(end) - behind(start)) / (end - start)
        self.compare("backlog growth, bytes a second", sum(v for _, v in grown), growth(*span))
        if by_chance := came.pop("all", (0, 0, 0))[2]:
            # All together, then.
            shards = [f"shardId-{i:012d}" for i in range(self.shards)]
            records, throttled = sum(c[0] for c in came.values()), by_chance + sum(c[2] for c in came.values())
            tried = {s: came[s][0] / (1 - ratio.get(s, 0.0)) for s in shards}
            told = sum(tried[s] * ratio.get(s, 0.0) for s in shards) / sum(tried.values())
            self.compare(f"throttled part ({throttled} of {records + throttled})", told, throttled / (records + throttled), least=2.5 / (records + throttled))
        else:
            for shard, (records, _, throttled) in sorted(came.items()):
                # One record more or less at both ends is no mistake.
                self.compare(f"throttled part, {shard[-2:]} ({throttled} of {records + throttled})", ratio.get(shard, 0.0), throttled / (records + throttled), least=2.5 / (records + throttled))
        for metric, value in drain:
            # Bytes are counted five times a second: with seven left, two of these counts are hardly more than the part allowed.
            self.compare("time to drain, seconds", value, behind(asked) / -growth(*drained), least=0.4)
            # What comes later is not known: shares move by a twenty-fifth at a refusal.
            until, left = reached[metric["instance"]]
            self.compare("time until it was drained, seconds", value, until + left / -growth(asked, until) - asked, least=1.0)
        if len(drain) != len(running):
            self.found.append(f"the time to drain is told of {len(drain)} agents of {len(running)}")

    def reached(self, running):
        """When each agent had next to nothing left, and how many bytes that was."""
        at = {}

        def done():
            for agent in running:
                if agent.admin not in at:
                    agent.ended()
                    text = agent.get("/metrics")[1]
                    left = sum(float(v) for v in re.findall(r"^kinetail_source_(?:backlog|in_flight)_bytes\{.*\} (\S+)$", text, re.MULTILINE))
                    if text and left < 200_000:
                        at[agent.admin] = time.time(), left
            return len(at) == len(running)

        common.wait_for("the backlog is gone", done, 300, 0.1)
        return at

    def expr(self, title, window):
        (expr,) = [e for t, e in self.queries.items() if title in t]
        return expr.replace("[5m]", f"[{window}s]")

    def finish(self, stream, writers, running):
        for writer in writers:
            writer.told.set()
        for writer in writers:
            writer.join()
        delivered = lambda a: sum(float(v) for v in re.findall(r"^kinetail_kinesis_user_records_total\{.*\} (\S+)$", a.get("/metrics")[1], re.MULTILINE))
        common.wait_for("everything is delivered", lambda: all(delivered(a) == w.lines for a, w in zip(running, writers)), 300, 0.2)
        time.sleep(0.5)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", type=Path, required=True)
    p.add_argument("--prometheus", type=Path, required=True)
    p.add_argument("--sink", type=Path)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--only", default="fits,over")
    p.add_argument("--work", type=Path, required=True)
    opt = p.parse_args()
    opt.binary, opt.work, opt.prometheus = opt.binary.resolve(), opt.work.resolve(), opt.prometheus.resolve()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    report = common.Report()
    cases = {"fits": ("aws-limits: 5000 lines a second, 4 shards", 4, 1, 5000), "over": ("more than 2 shards take, then less", 2, 1, 10000)}
    for name in opt.only.split(","):
        title, shards, sides, rate = cases[name]
        began, case = time.monotonic(), None
        try:
            case = Case(opt, name, shards, sides, rate)
            case.run(getattr(case, name))
        except Exception:
            found = [traceback.format_exc()]
        else:
            found = case.found
        print("\n".join(case.rows if case else []), flush=True)
        report.case(title, found, time.monotonic() - began)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What it costs to watch many files, and whether a line of any of them comes soon.

    many_files.py BIN [--files 10000] [--hot 50] [--seconds 30] [--lines 1000000] [--no-limits] [--dir D]

First: 10,000 files of which 50 are written to, 100 lines a second each, and now and then one of the quiet ones, at random, gets a
line: how long until it is stored? The agent starts with a soft limit of 1024 descriptors. Then all is quiet. Second: one
file of a million lines, and 200 files with as many in all, from the agent's start until all is stored. Every line has to come,
once. --no-limits leaves out what depends on the machine and the build: CPU, memory and latency; lines are checked in any case.
The last line is "N passed, M failed".
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import common
import numbered
import storm
from agent import Agent
from sink import SinkProcess
from storm import Meter

MB = 1e6
# What must hold, for a release build on a machine with two cores.
LATENCY_S, IDLE_PERCENT, WATCH_RSS_MB, DRAIN_RSS_MB = 1.0, 1.0, 64, 40
DESCRIPTORS = 1024
FILES_IN_DIRECTORY = 500
HOT_RATE, HOT_EVERY_S, PROBE_EVERY_S = 100, 0.1, 0.025
FIRST_LINES = 3
# After so long without growth a file counts as quiet, for the agent too.
QUIET_AFTER_S = 12
# Nothing may be waited for longer, seconds.
PATIENCE_S = 180


class Watched:
    """The files, with how many lines are in each; src is a file's number, and the first `hot` of them are the hot ones."""

    def __init__(self, root, count, hot):
        self.ends, self.hot, self.lines, self.paths = numbered.pads(), hot, [0] * count, []
        self.probes = 0
        for i in range(count):
            d = root / f"d{i // FILES_IN_DIRECTORY:03d}"
            if i % FILES_IN_DIRECTORY == 0:
                d.mkdir(parents=True)
            self.paths.append(d / f"app-{i:05d}.log")
            self.append(i, FIRST_LINES)

    def append(self, i, count):
        with open(self.paths[i], "ab") as f:
            f.write(numbered.lines(i, self.lines[i], count, int(time.time() * 1e6), self.ends))
        self.lines[i] += count

    def keep_hot(self, stop):
        began, written = time.monotonic(), 0
        while not stop.is_set():
            due = int((time.monotonic() - began) * HOT_RATE) - written
            written += due
            if due:
                for i in range(self.hot):
                    self.append(i, due)
            stop.wait(HOT_EVERY_S)

    def probe(self, stop, rng):
        """A line for a quiet file, again and again."""
        while not stop.wait(PROBE_EVERY_S):
            self.append(rng.randrange(self.hot, len(self.paths)), 1)
            self.probes += 1


def start(opt, work, paths, sink):
    source = {"name": "many", "paths": paths, "start_at": "beginning"}
    settings = {"CONFIG": json.dumps({"sources": [source], "kinesis": {"stream": "many", "endpoint": sink.endpoint}})}
    limited = ["sh", "-c", f'ulimit -Sn {DESCRIPTORS}; exec "$0" "$@"']
    return Agent([*limited, str(opt.binary)], work, settings)


def descriptors(agent):
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{agent.proc.pid}/fd"))
    return 0


def soft_limit(agent):
    for line in Path(f"/proc/{agent.proc.pid}/limits").read_text().splitlines():
        if line.startswith("Max open files"):
            return int(line.split()[3])
    return 0


def arrived(sink, total, agent, meter, what, watch=None):
    """Waits until so many lines have come; returns how long it took."""
    began = time.monotonic()

    def there():
        agent.ended()
        meter.sample()
        if watch:
            watch()
        return sink.call("/stats")["unique"] >= total

    common.wait_for(what, there, PATIENCE_S)
    return time.monotonic() - began


def ledger(sink, totals, code, agent):
    """What is wrong with what came."""
    stats, missing = sink.call("/stats"), sink.call("/missing", {str(i): n for i, n in enumerate(totals)})
    short = {src: r for src, r in missing.items() if r}
    lost = sum(storm.numbers(r) for r in short.values())
    found = [f"{lost} lines lost of {len(short)} files: {dict(list(short.items())[:3])}"] if lost else []
    found += [f"{word}: {stats[word]} {stats['samples'][:3]}" for word in ("duplicates", "torn", "bad") if stats[word]]
    return found + ([f"exit code {code}: {agent.log_tail()}"] if code else [])


def quantiles(latencies):
    s = sorted(latencies)
    return (s[len(s) // 2], s[int(len(s) * 0.99)], s[-1]) if s else (0.0, 0.0, 0.0)


def watching(opt, work):
    """10,000 files, most of them quiet."""
    files, meter = Watched(work / "logs", opt.files, opt.hot), Meter()
    peak_fds = 0

    def watch():
        nonlocal peak_fds
        peak_fds = max(peak_fds, descriptors(agent))

    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(SinkProcess())
        agent = stack.enter_context(start(opt, work, [f"{work}/logs/*/*.log"], sink))
        meter.follow(agent.proc.pid)
        first = arrived(sink, sum(files.lines), agent, meter, "what was there", watch)
        meter.sample()
        first_cpu = meter.cpu
        print(f"     {sum(files.lines)} first lines of {opt.files} files stored within {first:.1f} s, {first_cpu:.2f} CPU s, "
              f"soft limit of descriptors now {soft_limit(agent)}", flush=True)
        sink.call("/control", {"latencies_from": opt.hot})
        stop = threading.Event()
        stack.callback(stop.set)
        workers = [threading.Thread(target=files.keep_hot, args=(stop,)), threading.Thread(target=files.probe, args=(stop, random.Random(5)))]
        for t in workers:
            t.start()
        end, busy_from, cpu_from = time.monotonic() + opt.seconds, time.monotonic(), meter.cpu
        while time.monotonic() < end:
            time.sleep(0.25)
            agent.ended()
            meter.sample()
            watch()
        busy = 100 * (meter.cpu - cpu_from) / (time.monotonic() - busy_from)
        stop.set()
        for t in workers:
            t.join()
        arrived(sink, sum(files.lines), agent, meter, "all lines", watch)
        p50, p99, worst = quantiles(sink.call("/latencies"))
        time.sleep(QUIET_AFTER_S)
        meter.sample()
        idle_from, cpu_from = time.monotonic(), meter.cpu
        time.sleep(opt.seconds)
        meter.sample()
        idle = 100 * (meter.cpu - cpu_from) / (time.monotonic() - idle_from)
        watch()
        code = agent.stop()
        found = ledger(sink, files.lines, code, agent)
    print(f"     {opt.files} files, {opt.hot} hot: descriptors {peak_fds}, peak {meter.peak_mb:.1f} MB, busy {busy:.2f} % CPU, idle {idle:.2f} % CPU, "
          f"{files.probes} lines for quiet files: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, max {worst * 1000:.0f} ms", flush=True)
    if peak_fds > DESCRIPTORS:
        found.append(f"{peak_fds} descriptors, more than {DESCRIPTORS}")
    if opt.limits:
        found += over("the slowest line took", worst, LATENCY_S, "s") + over("idle CPU", idle, IDLE_PERCENT, "%")
        found += over("peak memory", meter.peak_mb, WATCH_RSS_MB, "MB")
    return found


def over(what, value, limit, unit):
    return [f"{what} {value:.2f} {unit}, more than {limit} {unit}"] if value > limit else []


def drain(opt, work, count):
    """As many lines in one file or in many, from the agent's start until all are stored."""
    logs, ends, each, size = work / "logs", numbered.pads(numbered.LONG), opt.lines // count, 0
    logs.mkdir()
    for i in range(count):
        with open(logs / f"app-{i:05d}.log", "wb") as f:
            for first in range(0, each, 50_000):
                f.write(numbered.lines(i, first, min(50_000, each - first), 0, ends))
            size += f.tell()
    meter = Meter()
    with SinkProcess() as sink, start(opt, work, [f"{logs}/*.log"], sink) as agent:
        meter.follow(agent.proc.pid)
        took = arrived(sink, each * count, agent, meter, "all lines")
        meter.sample()
        cpu = meter.cpu
        time.sleep(storm.SETTLE_S)
        code = agent.stop()
        found = ledger(sink, [each] * count, code, agent)
    print(f"     {count} files of {each} lines, {size / MB:.0f} MB in {took:.1f} s: {cpu / (size / 1e9):.2f} CPU s per GB, peak {meter.peak_mb:.1f} MB", flush=True)
    return found + (over("peak memory", meter.peak_mb, DRAIN_RSS_MB, "MB") if opt.limits else [])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("binary", type=Path, metavar="BIN")
    p.add_argument("--files", type=int, default=10_000)
    p.add_argument("--hot", type=int, default=50)
    p.add_argument("--seconds", type=float, default=30, help="how long it is busy, and how long it is idle")
    p.add_argument("--lines", type=int, default=1_000_000, help="of the drains, in all files together")
    p.add_argument("--no-limits", dest="limits", action="store_false")
    p.add_argument("--only", default="", help="cases whose name contains this")
    p.add_argument("--keep", action="store_true", help="keep the folders of failed cases")
    p.add_argument("--dir", type=Path, help="where the logs go; default: a temporary folder")
    opt = p.parse_args()
    signal.signal(signal.SIGTERM, storm.end_now)
    opt.binary, report = opt.binary.resolve(), common.Report()
    if opt.dir:
        opt.dir.mkdir(parents=True, exist_ok=True)
    cases = {"many files, most of them quiet": lambda w: watching(opt, w), "drain of one file": lambda w: drain(opt, w, 1),
             "drain of 200 files": lambda w: drain(opt, w, 200)}
    for name, do in cases.items():
        if opt.only not in name:
            continue
        began, work = time.monotonic(), Path(tempfile.mkdtemp(prefix="many-", dir=opt.dir)).resolve()
        try:
            found = do(work)
        except (RuntimeError, TimeoutError, OSError) as e:
            log = work / "agent.log"
            tail = log.read_text(errors="replace")[-600:] if log.exists() else ""
            found = [f"{type(e).__name__}: {e}", f"the agent's log ends with: {tail}"]
        report.case(name, found, time.monotonic() - began)
        if found and opt.keep:
            print(f"     kept: {work}", flush=True)
        else:
            shutil.rmtree(work, ignore_errors=True)
    sys.exit(report.end())


if __name__ == "__main__":
    main()

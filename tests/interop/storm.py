#!/usr/bin/env python3
"""A file that is written to and rotated as fast as can be while the agent reads it, and every line accounted for.

    storm.py BIN --mode rename|late|delete|copytruncate|plain|all [--kill] [--rate 50000] [--seconds 60] [--rotate-mb 5] [--dir D]

writer.py writes and rotates (its help says how), sink.py takes Kinesis' place. With --kill the agent is killed every 1 to 4 s
and started again at once. Prints one line for each mode, and fails when a line is lost, torn or out of order, or came twice
without --kill. Not counted as lost, but named:

- copytruncate: what was written between the end of the copy and the cut (it is in no file; what of it was read is sent);
- delete with --kill: lines of a file that was unlinked while no agent had it open, and of one that was unlinked so shortly
  before the agent was killed that it cannot have been done with it. Nobody could read those afterwards.

With --down, whole files come and go in the other modes, too; use --glob 'app.log*' then, or they are lost as documented. Such a file
is first seen under another name than its lines were written to, so no order is promised, and disorder is printed only.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import common
from agent import RUNNING, Agent
from sink import SinkProcess

HERE = Path(__file__).resolve().parent
MODES = ("rename", "late", "delete", "copytruncate")
# An agent must have opened a file and sent the lines of it that were there so long ago, seconds.
GRACE_S = 1.0
# No new line for so long, seconds, means that no more will come; the agent looks at its files at least every second.
STALL_S = 15.0
# How long to look for duplicates and parts of lines that come after everything has come.
SETTLE_S = 1.5
SHOWN = 6


class Meter:
    """CPU seconds and peak memory of an agent, over all its lives."""

    def __init__(self):
        self.before = self.now = 0.0
        self.peak_mb, self.pid = 0.0, None

    def follow(self, pid):
        self.before, self.now, self.pid = self.before + self.now, 0.0, pid

    def sample(self):
        try:
            # The clock of a process, all its threads, as the kernel numbers it.
            self.now = time.clock_gettime((~self.pid << 3) | 2)
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self.peak_mb = max(self.peak_mb, int(line.split()[1]) / 1024)

    @property
    def cpu(self):
        return self.before + self.now


@dataclass
class Storm:
    """What to do; filesystems.py fills in more than the command line can."""

    binary: Path
    mode: str
    work: Path
    logs: Path = None
    kill: bool = False
    down_s: float = 0  # after a kill it stays away for up to so long
    rate: float = 50_000
    seconds: float = 60
    rotate_mb: float = 5
    duplicates: float = float("inf")  # lines that may come twice for each kill
    seed: int = 1
    stall: float = STALL_S
    source: dict = field(default_factory=dict)  # more settings of the source
    command: list = field(default_factory=list)  # what the agent is run by, such as setpriv
    tear: bool = True
    # Called about every 20 ms while the writer writes, with this and the running agent.
    meanwhile: object = None
    # Called with this when the agent runs and before the writer starts.
    first: object = None
    # src of writer 0 -> set of numbers that may be missing, known only afterwards.
    excused: object = None
    excused_torn: object = None
    agent: object = None
    writer: object = None

    def file(self):
        return self.logs / "app.log"


def settings(storm, endpoint):
    source = {"name": "storm", "paths": [str(storm.file())], "start_at": "beginning"} | storm.source
    kinesis = {"stream": "storm", "endpoint": endpoint, "partition_key": "source"}
    return {"CONFIG": json.dumps({"sources": [source], "kinesis": kinesis})}


class Killer:
    """Ends the agent every 1 to 4 s, and notes when none was up."""

    def __init__(self, seed, down_s):
        self.rng, self.down, self.down_s, self.again = random.Random(seed), [], down_s, None
        self.next = time.monotonic() + self.rng.uniform(1, 4)

    def look(self, storm, meter, start, finish=False):
        if self.again is not None:
            if finish or time.monotonic() >= self.again:
                self.again = None
                start()
        elif self.down and self.down[-1][1] is None:
            # Down until it answers: only then has it looked at the directory for sure.
            if storm.agent.get("/livez")[0] == 200:
                self.down[-1][1] = time.monotonic()
            elif storm.agent.proc.poll() is not None:
                storm.agent.ended()
        if finish or time.monotonic() < self.next:
            return
        meter.sample()
        killed = time.monotonic()
        storm.agent.kill()
        if self.down and self.down[-1][1] is None:
            self.down[-1][1] = killed
        self.down.append([killed, None])
        self.again = killed + self.rng.uniform(0, self.down_s)
        self.next = self.again + self.rng.uniform(1, 4)


def write_command(storm, events):
    command = [sys.executable, str(HERE / "writer.py"), "--file", str(storm.file()), "--mode", storm.mode, "--rate", str(storm.rate),
               "--seconds", str(storm.seconds), "--rotate-mb", str(storm.rotate_mb), "--seed", str(storm.seed), "--events", str(events)]
    return command + ([] if storm.tear else ["--no-tear"])


def run(storm):
    """Runs it; returns the figures and what is wrong with them."""
    storm.logs = storm.logs or storm.work / "logs"
    storm.logs.mkdir(parents=True, exist_ok=True)
    meter, killer, events = Meter(), None, storm.work / "events.jsonl"
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(SinkProcess())

        def start():
            storm.agent = Agent([*storm.command, str(storm.binary)], storm.work, settings(storm, sink.endpoint))
            meter.follow(storm.agent.proc.pid)

        start()
        stack.callback(lambda: storm.agent.kill())
        storm.agent.wait_ready()
        if storm.first:
            storm.first(storm)
        storm.writer = subprocess.Popen(write_command(storm, events), stdout=subprocess.PIPE, preexec_fn=common.die_with_parent)
        stack.callback(storm.writer.kill)
        killer = Killer(storm.seed, storm.down_s) if storm.kill else None
        deadline = time.monotonic() + storm.seconds + common.DEADLINE
        while storm.writer.poll() is None:
            time.sleep(0.02)
            meter.sample()
            if killer:
                killer.look(storm, meter, start)
            else:
                storm.agent.ended()
            if storm.meanwhile:
                storm.meanwhile(storm)
            if time.monotonic() > deadline:
                raise TimeoutError("the writer does not end")
        wrote = json.loads(storm.writer.stdout.read())
        if killer and killer.down and killer.down[-1][1] is None:
            killer.look(storm, meter, start, finish=True)
            common.wait_for("the agent answers", lambda: storm.agent.get("/livez")[0] == 200)
            killer.down[-1][1] = time.monotonic()
        noted = read_events(events)
        drained = drain(storm, sink, wrote, meter, noted, killer)
        time.sleep(SETTLE_S)
        meter.sample()
        code = storm.agent.stop()
        stats, missing = sink.call("/stats"), sink.call("/missing", wrote["lines"])
    return judge(storm, wrote, stats, missing, killer, noted, meter, code, drained)


def drain(storm, sink, wrote, meter, events, killer):
    """Waits for all lines that can come, or until nothing has come for long; returns how long it took, None if for ever."""
    began = at = time.monotonic()
    unique = -1
    while True:
        now = sink.call("/stats")["unique"]
        if now != unique:
            unique, at = now, time.monotonic()
        if not excuse(storm, sink.call("/missing", wrote["lines"]), events, killer)[1]:
            return time.monotonic() - began
        if time.monotonic() - at > storm.stall:
            return None
        storm.agent.ended()
        meter.sample()
        time.sleep(0.2)


def read_events(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def numbers(ranges):
    return sum(b - a for a, b in ranges)


def gone(events, down):
    """Ranges of lines in files that were unlinked when no agent can have had all of them."""
    out = []
    for e in events:
        if e["what"] == "unlinked" and any(k - GRACE_S <= e["t"] <= up + GRACE_S for k, up in down):
            out.append((e["first"], e["end"]))
    return out


def split(ranges, excused):
    """Of ranges of missing lines, how many are excused, and the ranges that are left."""
    left, n = [], 0
    for a, b in ranges:
        for i in range(a, b):
            if excused(i):
                n += 1
            elif left and left[-1][1] == i:
                left[-1][1] = i + 1
            else:
                left.append([i, i + 1])
    return n, left


def excuse(storm, missing, events, killer):
    """How many missing lines nobody could have read, and the ranges of the others."""
    own, lost = numbers(missing.get("1", [])), missing["0"]
    if storm.mode == "delete" and killer and killer.down:
        unlinked = gone(events, killer.down)
        n, lost = split(lost, lambda i: any(a <= i < b for a, b in unlinked))
        own += n
    if storm.excused and lost:
        excused = storm.excused(storm)
        n, lost = split(lost, lambda i: i in excused)
        own += n
    return own, lost


def where(events, a, b):
    """In which file's lines a range lies, for whoever looks for the cause."""
    files = [e["first"] for e in events if e["what"] in ("made", "cut")]
    n = max((i for i, first in enumerate(files) if first <= a), default=0)
    end = files[n + 1] if n + 1 < len(files) else None
    return f"[{a}, {b}) in file {n} of {len(files)}, whose lines are [{files[n] if files else 0}, {'end' if end is None else end})"


def judge(storm, wrote, stats, missing, killer, events, meter, code, drained):
    lines = {int(k): v for k, v in wrote["lines"].items()}
    down = killer.down if killer else []
    own, lost_ranges = excuse(storm, missing, events, killer)
    lost = numbers(lost_ranges)
    # A part of a line that was cut off by the rotator is all that there was to read.
    cut = [s for s in stats["samples"] if storm.mode == "copytruncate" and (s.startswith("src=00001 ") or "src=00001 ".startswith(s.strip()))]
    if storm.excused_torn:
        tails = storm.excused_torn(storm)
        cut += [s for s in stats["samples"] if s.rstrip("\n") in tails]
    torn = stats["torn"] - len(cut)
    figures = {"mode": storm.mode, "kill": storm.kill, "lines": sum(lines.values()), "lost": lost, "rotators_own": own,
               "duplicates": stats["duplicates"], "torn": torn, "disorder": stats["disorder"], "bad": stats["bad"],
               "cpu_s": round(meter.cpu, 2), "peak_mb": round(meter.peak_mb, 1), "kills": len(down), "rotations": wrote["rotations"],
               "inodes_reused": wrote["inodes_reused"], "mb": wrote["bytes"] / 1e6, "rate": round(sum(lines.values()) / wrote["seconds"]),
               "cut": len(cut), "drained_s": drained}
    found = []
    if lost:
        shown = "; ".join(where(events, a, b) for a, b in lost_ranges[:SHOWN])
        found.append(f"{lost} lines lost in {len(lost_ranges)} ranges: {shown}")
    if torn > 0:
        found.append(f"{torn} torn or foreign lines: {[s for s in stats['samples'] if s not in cut][:SHOWN]}")
    if stats["duplicates"] > (storm.duplicates * len(down) if down else 0):
        found.append(f"{stats['duplicates']} duplicates, with {len(down)} kills")
    for word in ("disorder", "bad"):
        if stats[word] and not (word == "disorder" and storm.down_s):
            found.append(f"{word}: {stats[word]}")
    if code != 0:
        found.append(f"exit code {code}: {storm.agent.log_tail()}")
    if figures["rate"] < 0.8 * storm.rate:
        found.append(f"the writer made {figures['rate']} lines a second, not {storm.rate:.0f}: this machine is too busy for the test")
    return figures, found


def line(f):
    drained = "never" if f["drained_s"] is None else f"{f['drained_s']:.1f} s later"
    return (f"{f['mode']}{' --kill' if f['kill'] else ''}: lines {f['lines']}, lost {f['lost']}, rotator's own loss {f['rotators_own']}, "
            f"duplicates {f['duplicates']}, torn {f['torn']}, disorder {f['disorder']}, agent {f['cpu_s']:.2f} CPU s, peak {f['peak_mb']:.1f} MB; "
            f"{f['mb']:.0f} MB, {f['rate']} lines/s, rotations {f['rotations']}, inodes reused {f['inodes_reused']}, kills {f['kills']}, "
            f"all there {drained}")


def one(storm, keep=False):
    """Runs a storm and prints it; True if all is well. The folder of one that failed stays."""
    try:
        figures, found = run(storm)
        print(("FAIL " if found else "ok   ") + line(figures), flush=True)
    except (RuntimeError, TimeoutError, OSError) as e:
        found = [f"{type(e).__name__}: {e}"]
        print(f"FAIL {storm.mode}{' --kill' if storm.kill else ''}", flush=True)
    for f in found:
        print("     " + str(f), flush=True)
    if found:
        print(f"     kept: {storm.work}", flush=True)
    elif not keep:
        shutil.rmtree(storm.work, ignore_errors=True)
    return not found


def end_now(*_):
    for agent in list(RUNNING):
        agent.proc.kill()
    os._exit(143)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("binary", type=Path, metavar="BIN")
    p.add_argument("--mode", default="all", choices=(*MODES, "plain", "all"))
    p.add_argument("--kill", action="store_true")
    p.add_argument("--duplicates", type=float, default=float("inf"), metavar="N", help="lines that may come twice for each kill; the default: any")
    p.add_argument("--down", type=float, default=0, metavar="S", help="a killed agent stays away for up to so many seconds; the default: 0")
    p.add_argument("--rate", type=float, default=50_000)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--rotate-mb", type=float, default=5)
    p.add_argument("--rotate-wait", help="the agent's setting, if not the default")
    p.add_argument("--glob", help="a pattern for the agent in place of app.log, such as 'app.log*'")
    p.add_argument("--dir", type=Path, help="where the logs and the agent's state go; default: a temporary folder")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--keep", action="store_true", help="keep the folder in any case")
    opt = p.parse_args()
    signal.signal(signal.SIGTERM, end_now)
    ok = True
    for mode in MODES if opt.mode == "all" else (opt.mode,):
        if opt.dir:
            opt.dir.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f"storm-{mode}-", dir=opt.dir)).resolve()
        source = {"rotate_wait": opt.rotate_wait} if opt.rotate_wait else {}
        if opt.glob:
            source["paths"] = [str(work / "logs" / opt.glob)]
        storm = Storm(opt.binary.resolve(), mode, work, kill=opt.kill, down_s=opt.down, duplicates=opt.duplicates, rate=opt.rate, seconds=opt.seconds, rotate_mb=opt.rotate_mb,
                      seed=opt.seed, source=source)
        ok &= one(storm, opt.keep)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()

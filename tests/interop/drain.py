#!/usr/bin/env python3
"""SIGTERM at any moment under load, with the last line written just before it: nothing may be lost, nothing come twice, and the end be in time.

    drain.py --binary BIN [--runs 200] [--modes files,exec,forward] [--seed 1] [--work DIR]

In each run a service writes as fast as the stream takes it, and is told to end at a random moment: it writes its last lines, and the agent gets
its signal at once. With files that is a signal to the agent after the last write (some end without a newline, some are rotated just before); with exec the
agent passes it on to the service, which answers with its last lines; with forward the last message was acknowledged. All of it has to be in the
stream when the agent has ended, and its log has to say so in one line.

In every third run the stream is away from some moment before the signal: it refuses everything, does not answer, or nobody listens. Then the
agent has to end in time all the same, say what it leaves, and its next run delivers the rest.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

import common
import numbered
from agent import Agent
from sink import SinkProcess

MODES = ("files", "exec", "forward")
# How the stream is away.
AWAY = ("refuses", "hangs", "closed")
# What the agent has for its end, seconds, and what the last checkpoint may take after that; half a second more is this machine's.
TIMEOUT, CLOSING, SLACK = 6, 5, 0.5
# With the stream away it waits for the whole of its time.
AWAY_TIMEOUT = 2
# Lines at a time, and bytes: a service under load.
CHUNK, RATE = 50, 8000
# The lines after the signal, of a wrapped service.
LAST = 3
SERVICE = """
import signal, sys, time
sys.path.insert(0, {here!r})
import numbered
ends, at, told, out = numbered.pads(), 0, [], sys.stdout.buffer
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
open({count!r}, "w").close()
began = time.monotonic()
while not told:
    out.write(numbered.lines({src}, at, {chunk}, time.time_ns() // 1000, ends))
    out.flush()
    at += {chunk}
    ahead = began + at / {rate} - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)
for _ in range({last}):
    out.write(numbered.lines({src}, at, 1, time.time_ns() // 1000, ends))
    out.flush()
    at += 1
open({count!r}, "w").write(str(at))
"""


class Run:
    """One agent, its service, and its end."""

    def __init__(self, opt, sink, number, mode, away):
        self.opt, self.sink, self.src, self.mode, self.away = opt, sink, number, mode, away
        self.rng = random.Random(opt.seed * 1_000_003 + number)
        self.work = opt.work / f"{number:04d}-{mode}{'-' + away if away else ''}"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.socket, self.count = str(self.work / "fluent.sock"), self.work / "written"
        self.found, self.written, self.seconds, self.left = [], 0, 0.0, 0
        self.what = f"{mode}{', the stream ' + away if away else ''}"

    def settings(self, endpoint):
        source = {"name": self.mode, "partial_line_timeout": "1m"}
        if self.mode == "files":
            source["paths"] = [f"{self.work}/logs/*.log"]
        if self.mode == "exec":
            source |= {"type": "exec", "add": {"stream": False, "time": False}}
        if self.mode == "forward":
            source |= {"type": "forward", "forward": {"unix": self.socket, "listen": []}}
        timeout = AWAY_TIMEOUT if self.away else TIMEOUT
        kinesis = {"stream": "drain", "endpoint": endpoint, "partition_key": self.rng.choice(("source", "random")), "request_timeout": "10s"}
        # Little memory: with the stream away it is full at once, and the rest is in files.
        return {"CONFIG": json.dumps({"sources": [source], "kinesis": kinesis, "shutdown": {"timeout": f"{timeout}s"}, "memory_limit": "4MiB"})}

    def start(self, endpoint, command=None):
        if self.mode == "exec":
            code = SERVICE.format(here=str(Path(__file__).resolve().parent), src=self.src, chunk=CHUNK, rate=RATE, last=LAST, count=str(self.count))
            command = command or [sys.executable, "-c", code]
            return Agent([str(self.opt.binary)], self.work, self.settings(endpoint), ("exec", "--tee", "false", "--", *command), stdout=subprocess.DEVNULL)
        return Agent([str(self.opt.binary)], self.work, self.settings(endpoint))

    def run(self):
        endpoint = self.sink.endpoint if self.away != "closed" else f"http://127.0.0.1:{common.free_port()}"
        agent = self.start(endpoint)
        # What is rotated before the first look of the first run is nobody's to find.
        common.wait_for("files were looked for", lambda: agent.get("/startupz")[0] == 200 or agent.ended())
        moment = time.monotonic() + self.rng.uniform(0.0, 1.5)
        outage = moment - self.rng.uniform(0.1, 1.0)
        {"files": self.by_files, "exec": self.by_exec, "forward": self.by_forward}[self.mode](agent, moment, outage)
        agent.proc.send_signal(signal.SIGTERM)
        told = time.monotonic()
        limit = (AWAY_TIMEOUT if self.away else TIMEOUT) + CLOSING + SLACK
        try:
            code = agent.proc.wait(60)
        finally:
            agent.kill()
            self.stream_is(True)
        self.seconds = time.monotonic() - told
        if self.mode == "exec":
            self.written = int(self.count.read_text())
        if code != 0:
            self.found.append(f"exit code {code}")
        if self.seconds > limit:
            self.found.append(f"ended {self.seconds:.1f} s after the signal, which is over {limit} s")
        self.judge(agent)

    def stream_is(self, there):
        refuses, hangs = not there and self.away == "refuses", not there and self.away == "hangs"
        self.sink.call("/control", {"refuse": refuses, "delay_ms": 60_000 if hangs else 0, "wrapped": True})

    def chunks(self, moment, outage):
        """The lines up to the moment; the stream is away from the outage on."""
        ends, began, is_away = numbered.pads(), time.monotonic(), False
        while True:
            if self.away and not is_away and time.monotonic() >= outage:
                self.stream_is(False)
                is_away = True
            if time.monotonic() >= moment:
                break
            yield numbered.lines(self.src, self.written, CHUNK, time.time_ns() // 1000, ends)
            self.written += CHUNK
            time.sleep(max(0.0, began + self.written / RATE - time.monotonic()))
        yield numbered.lines(self.src, self.written, 1, time.time_ns() // 1000, ends)
        self.written += 1

    def by_files(self, _agent, moment, outage):
        kind = self.rng.choice(("plain", "no newline", "renamed", "copied"))
        self.what += f", {kind}"
        path = self.work / "logs/app.log"
        path.parent.mkdir()
        out = open(path, "ab", buffering=0)
        for data in self.chunks(moment, outage):
            last = time.monotonic() >= moment
            if last and kind == "renamed":
                path.rename(path.with_suffix(".log.1"))
                out.close()
                out = open(path, "ab", buffering=0)
            if last and kind == "copied":
                # As logrotate does, in the pause of a service.
                shutil.copyfile(path, path.with_suffix(".log.1"))
                out.truncate(0)
                out.seek(0)
            out.write(data[:-1] if last and kind == "no newline" else data)
        out.close()

    def by_exec(self, agent, moment, outage):
        began = time.monotonic()
        common.wait_for("the service", lambda: self.count.exists() or agent.ended())
        moment, outage = (at + time.monotonic() - began for at in (moment, outage))
        time.sleep(max(0.0, outage - time.monotonic()))
        if self.away:
            self.stream_is(False)
        time.sleep(max(0.0, moment - time.monotonic()))

    def by_forward(self, agent, moment, outage):
        common.wait_for("the socket", lambda: os.path.exists(self.socket) or agent.ended())
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(self.socket)
            for data in self.chunks(moment, outage):
                common.send_forward(s, data.splitlines())

    def judge(self, agent):
        said = self.said()
        if said is None:
            return
        if not self.away:
            if said["unsettled"] or said["unread_bytes"] or said["drained"] != "true":
                self.found.append(f"its log says that something is left: {said}")
            if said["delivered"] != self.written:
                self.found.append(f"its log says that {said['delivered']} of {self.written} were delivered")
        else:
            self.left = self.missing()
            if self.left and not said["unsettled"] and not said["unread_bytes"]:
                self.found.append(f"{self.left} were left, and its log says: {said}")
            if not self.left and self.away == "closed":
                self.found.append("nothing was left though nobody listened")
            self.deliver_rest()
        if missing := self.missing():
            self.found.append(f"{missing} of {self.written} are lost")
        stats = self.sink.call("/stats")
        # A request that was under way when the agent had to end may be stored after that.
        if stats["duplicates"] and self.away in (None, "closed") or stats["torn"] or stats["bad"]:
            self.found.append(f"{stats['duplicates']} come twice, {stats['torn']} are torn, {stats['bad']} aggregates cannot be read: {stats['samples'][:2]}")

    def said(self):
        """The one line at the end."""
        lines = [line for line in (self.work / "agent.log").read_text(errors="replace").splitlines() if re.search(r"\bstopped\b", line) and "drained=" in line]
        if len(lines) != 1:
            self.found.append(f"{len(lines)} lines of its log say how it ended: {(self.work / 'agent.log').read_text(errors='replace')[-600:]}")
            return None
        said = {k: v for k, v in re.findall(r"\b(\w+)=(\w+)", lines[0])}
        return {k: v if k == "drained" else int(v) for k, v in said.items() if k in ("delivered", "unsettled", "unread_bytes", "drained")}

    def missing(self):
        ranges = self.sink.call("/missing", {str(self.src): self.written})[str(self.src)]
        return sum(end - start for start, end in ranges)

    def deliver_rest(self):
        """The next run delivers what was left."""
        agent = self.start(self.sink.endpoint, ["sleep", "60"])
        # A line without a newline may be waited for until the end.
        late = 1 if self.mode == "files" else 0
        try:
            common.wait_for("files were looked for", lambda: agent.get("/startupz")[0] == 200 or agent.ended())
            common.wait_for("the rest", lambda: self.missing() <= late or agent.ended(), 60, 0.1)
        except TimeoutError:
            pass  # What is missing is counted.
        agent.proc.send_signal(signal.SIGTERM)
        code = agent.proc.wait(60)
        agent.kill()
        if code != (143 if self.mode == "exec" else 0):
            self.found.append(f"exit code {code} of the run after it")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", type=Path, required=True)
    p.add_argument("--runs", type=int, default=200)
    p.add_argument("--first", type=int, default=0, help="the number of the first run: to have one of them again")
    p.add_argument("--modes", default=",".join(MODES))
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--work", type=Path, required=True)
    opt = p.parse_args()
    opt.binary, opt.work = opt.binary.resolve(), opt.work.resolve()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    report, modes, runs = common.Report(quiet=True), opt.modes.split(","), []
    for number in range(opt.first, opt.first + opt.runs):
        # Each mode meets each kind of outage.
        away = AWAY[number // 3 // len(modes) % len(AWAY)] if number // len(modes) % 3 == 2 else None
        began = time.monotonic()
        with SinkProcess() as sink:
            run = Run(opt, sink, number, modes[number % len(modes)], away)
            try:
                run.stream_is(True)
                run.run()
            except Exception:
                run.found.append(traceback.format_exc())
        runs.append(run)
        report.case(f"run {number}: {run.what}", run.found, time.monotonic() - began)
        if not run.found:
            shutil.rmtree(run.work, ignore_errors=True)
    table(runs)
    return report.end()


def table(runs):
    print(f"{'':24} {'runs':>5} {'lines':>9} {'left':>8} {'end: median':>12} {'longest':>8}")
    for name in dict.fromkeys((r.mode, r.away) for r in runs):
        of = [r for r in runs if (r.mode, r.away) == name]
        seconds = sorted(r.seconds for r in of)
        label = name[0] + (f", stream {name[1]}" if name[1] else "")
        print(f"{label:24} {len(of):5} {sum(r.written for r in of):9} {sum(r.left for r in of):8} {seconds[len(seconds) // 2]:10.2f} s {seconds[-1]:6.2f} s")


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Every feeder of a spool under every policy while the stream takes nothing, and an account of every event.

    outage.py --binary BIN [--seconds 600] [--rate 5000] [--spool-mb 64] [--feeders stdin,fifo,exec,forward] [--work DIR]

All run at once. Events are written at the rate for so many seconds, of which the stream takes none; then it takes everything. What was
written has to be what was delivered and what the policy says it has dropped; with `block` nothing may be dropped, and the writer waits.
The agent's memory is looked at all along.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import common
import numbered
from agent import Agent
from sink import SinkProcess

FEEDERS = ("stdin", "fifo", "exec", "forward")
POLICIES = ("block", "drop_oldest", "drop_newest")
# Lines that a writer hands over at once.
CHUNK = 100
# What an agent may take in memory, MB: the limit for log data of 12 MiB, and what every agent has.
MOST_RSS_MB = 40
# What is left after an end is delivered by so many runs at most.
MOST_RUNS = 6
WRITER = """
import sys, time
sys.path.insert(0, {here!r})
import numbered
ends, rate, seconds, at, out = numbered.pads(), {rate}, {seconds}, 0, sys.stdout.buffer
began = time.monotonic()
while time.monotonic() - began < seconds:
    out.write(numbered.lines(0, at, {chunk}, time.time_ns() // 1000, ends))
    out.flush()
    at += {chunk}
    time.sleep(max(0, began + at / rate - time.monotonic()))
open({count!r}, "w").write(str(at))
"""


def rss_mb(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def metric(text, name):
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}(\{{|\s)", line))


class Case(threading.Thread):
    """One feeder with one policy, with an agent, a writer and a stream of its own."""

    def __init__(self, opt, kind, policy):
        super().__init__(daemon=True)
        self.opt, self.kind, self.policy, self.found, self.peaks = opt, kind, policy, [], []
        self.work = Path(tempfile.mkdtemp(prefix=f"outage-{kind}-{policy}-", dir=opt.work))
        self.socket, self.pipe = str(self.work / "fluent.sock"), str(self.work / "in.fifo")

    def settings(self, endpoint):
        source = {"name": self.kind, "type": self.kind, "add": {"stream": False, "time": False}}
        if self.kind == "fifo":
            source["paths"] = [self.pipe]
        if self.kind == "forward":
            source = {"name": self.kind, "type": self.kind, "forward": {"unix": self.socket, "listen": []}}
        spool = {"max_bytes": f"{self.opt.spool_mb}MiB", "segment_bytes": "1MiB", "on_full": self.policy}
        kinesis = {"stream": "outage", "endpoint": endpoint, "partition_key": "source"}
        return {"CONFIG": json.dumps({"sources": [source], "kinesis": kinesis, "spool": spool})}

    def writer(self):
        text = WRITER.format(here=str(Path(__file__).resolve().parent), rate=self.opt.rate, seconds=self.opt.seconds, chunk=CHUNK, count=str(self.work / "written"))
        return [sys.executable, "-c", text]

    def run(self):
        try:
            with SinkProcess() as sink:
                self.all(sink)
        except Exception as e:  # Whatever it is, it belongs to this case.
            self.found.append(repr(e))

    def all(self, sink):
        sink.call("/control", {"refuse": True})
        args = ("exec", "--tee", "false", "--", *self.writer()) if self.kind == "exec" else ("run",)
        stdin = subprocess.PIPE if self.kind == "stdin" else subprocess.DEVNULL
        self.agent = Agent([str(self.opt.binary)], self.work, self.settings(sink.endpoint), args, stdin, subprocess.DEVNULL)
        write = {"exec": self.by_exec, "stdin": self.by_stdin, "fifo": self.by_fifo, "forward": self.by_forward}[self.kind]
        writing = threading.Thread(target=write, daemon=True)
        writing.start()
        began = time.monotonic()
        while time.monotonic() - began < self.opt.seconds:
            self.look()
            time.sleep(1)
        self.outage = metric(self.agent.get("/metrics")[1], "kinetail_spool_bytes") / 2**20
        sink.call("/control", {"refuse": False})
        while writing.is_alive():
            self.look()
            time.sleep(0.2)
        self.account(sink, int((self.work / "written").read_text()))

    def by_exec(self):
        """The writer is the command."""
        self.agent.proc.wait()

    def look(self):
        if self.agent.proc.poll() is None:
            self.peaks.append(rss_mb(self.agent.proc.pid))

    def by_stdin(self):
        subprocess.run(self.writer(), stdout=self.agent.proc.stdin, check=True)

    def by_fifo(self):
        common.wait_for("the FIFO", lambda: os.path.exists(self.pipe))
        with open(self.pipe, "wb", buffering=0) as pipe:
            subprocess.run(self.writer(), stdout=pipe, check=True)

    def by_forward(self):
        """Messages in Forward mode, each acknowledged before the next one is sent."""
        common.wait_for("the socket", lambda: os.path.exists(self.socket))
        ends, at, began = numbered.pads(), 0, time.monotonic()
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.socket)
            while time.monotonic() - began < self.opt.seconds:
                common.send_forward(s, numbered.lines(0, at, CHUNK, time.time_ns() // 1000, ends).splitlines())
                at += CHUNK
                time.sleep(max(0, began + at / self.opt.rate - time.monotonic()))
        (self.work / "written").write_text(str(at))

    def account(self, sink, written):
        def settled():
            text = self.agent.get("/metrics")[1]
            self.look()
            done = metric(text, "kinetail_dropped_events_total") + metric(text, "kinetail_kinesis_user_records_total")
            return done >= written or self.agent.proc.poll() is not None

        if self.kind == "stdin":
            self.agent.proc.stdin.close()
        common.wait_for(f"{written} events are accounted for", settled, 600, 0.2)
        if self.kind == "stdin":
            self.agent.proc.wait(60)
        code = self.agent.proc.wait() if self.agent.proc.poll() is not None else self.agent.stop()
        came, dropped, runs = self.came(sink), self.dropped(), 1
        # An agent whose input has ended has shutdown.timeout for what is left. What it leaves is in the spool, for its next run.
        while came + dropped < written and self.kind in ("stdin", "exec") and runs < MOST_RUNS:
            args = ("run",) if self.kind == "stdin" else ("exec", "--", "true")
            self.agent = Agent([str(self.opt.binary)], self.work, self.settings(sink.endpoint), args, stdout=subprocess.DEVNULL)
            code = self.agent.proc.wait(120)
            came, dropped, runs = self.came(sink), dropped + self.dropped(), runs + 1
        delivered = sink.call("/stats")
        self.line = f"{self.kind:8} {self.policy:12} written {written:9} delivered {came:9} dropped {dropped:9} spool {self.outage:5.1f} MiB rss {min(self.peaks[3:], default=0):.1f} to {max(self.peaks, default=0):.1f} MB, {runs} runs"
        if came + dropped != written:
            self.found.append(f"{written} written, {came} delivered, {dropped} dropped")
        if self.policy == "block" and dropped:
            self.found.append(f"{dropped} dropped in spite of block")
        if runs == 1 and delivered["duplicates"] or delivered["disorder"]:
            self.found.append(f"{delivered['duplicates']} duplicates, {delivered['disorder']} out of order")
        if max(self.peaks, default=0) > MOST_RSS_MB:
            self.found.append(f"{max(self.peaks):.1f} MB of memory")
        if code != 0:
            self.found.append(f"exit code {code}")


    def came(self, sink):
        stats = sink.call("/stats")
        return stats["unique"] if self.kind != "forward" else stats["torn"]

    def dropped(self):
        """The last line of the agent's log says what it has dropped."""
        log = (self.work / "agent.log").read_text(errors="replace")
        return int(re.findall(r"\bdropped=(\d+)", log)[-1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", type=Path, required=True)
    p.add_argument("--seconds", type=float, default=600)
    p.add_argument("--rate", type=float, default=5000)
    p.add_argument("--spool-mb", type=int, default=64)
    p.add_argument("--feeders", default=",".join(FEEDERS))
    p.add_argument("--work", type=Path)
    opt = p.parse_args()
    opt.binary = opt.binary.resolve()
    if opt.work:
        opt.work.mkdir(parents=True, exist_ok=True)
    report = common.Report()
    cases = [Case(opt, kind, policy) for kind in opt.feeders.split(",") for policy in POLICIES]
    began = time.monotonic()
    for case in cases:
        case.start()
    for case in cases:
        case.join()
        print("     " + getattr(case, "line", "no account"))
        report.case(f"{case.kind} with {case.policy}", case.found, time.monotonic() - began)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())

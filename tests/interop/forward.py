#!/usr/bin/env python3
"""Forward clients of others against the agent, which is killed while they send, and every event accounted for.

    forward.py --binary BIN --npm DIR [--messages 100000] [--kills 5] [--work DIR]

The client for Node acknowledges in all its modes, over TCP and a Unix socket: of what it was told is taken, nothing may be missing. The
client for Python knows no acknowledgements: what is missing is what the sockets held when the agent was killed, and is printed.
Needs the packages fluent-logger of pip and @fluent-org/logger of npm.
"""

import argparse
import json
import random
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
from agent import Agent
from sink import Sink

HERE = Path(__file__).resolve().parent
MODES = ("Message", "Forward", "PackedForward", "CompressedPackedForward")
# Seconds between two kills: a quick machine sends all messages within a second.
PAUSE = (0.1, 0.5)
PYTHON = """
import sys, time
from fluent import sender
count, address = int(sys.argv[1]), sys.argv[2]
host, _, port = address.partition(":")
where = {"host": "unix://" + address} if address.startswith("/") else {"host": host, "port": int(port)}
logger = sender.FluentSender("app", timeout=30.0, bufmax=64 * 1024 * 1024, **where)
for n in range(count):
    logger.emit("log", {"n": n, "log": "line %d" % n})
    if n % 1000 == 999:
        time.sleep(0.02)
while logger.pendings:
    logger.emit("log", {"n": -1, "log": "again"})
    time.sleep(0.05)
logger.close()
"""


class Run:
    """An agent with a Forward source, and what it delivers."""

    def __init__(self, binary, work, unix):
        self.binary, self.work = binary, work
        self.address = str(work / "fluent.sock") if unix else f"127.0.0.1:{common.free_port()}"
        forward = {"unix": self.address, "listen": []} if unix else {"listen": [self.address]}
        self.sink = Sink(keep=True)
        kinesis = {"stream": "forward", "endpoint": self.sink.endpoint, "partition_key": "source"}
        source = {"name": "forward", "type": "forward", "forward": forward}
        self.settings = {"CONFIG": json.dumps({"sources": [source], "kinesis": kinesis, "spool": {"segment_bytes": "1MiB"}})}
        self.start()

    def start(self):
        self.agent = Agent([str(self.binary)], self.work, self.settings)

    def numbers(self):
        with self.sink.ledger.lock:
            return [json.loads(event).get("n") for _, event in self.sink.ledger.kept]

    def end(self):
        """All that is kept is delivered; returns the numbers that came, and the exit code."""
        code = self.agent.stop()
        numbers = self.numbers()
        self.sink.__exit__()
        return [n for n in numbers if n is not None and n >= 0], code


def kill_while(run, client, kills):
    """Kills the agent so many times while the client sends."""
    rng = random.Random(3)
    done = 0
    while client.poll() is None:
        if done < kills:
            time.sleep(rng.uniform(*PAUSE))
            if client.poll() is not None:
                break
            run.agent.kill()
            run.start()
            done += 1
        else:
            time.sleep(0.05)
            run.agent.ended()
    return done


def scenario(opt, name, unix, command):
    """Runs it; returns the client's words, the numbers that came, how often the agent was killed, and what is wrong."""
    work = Path(tempfile.mkdtemp(prefix=f"forward-{name}-", dir=opt.work))
    run = Run(opt.binary, work, unix)
    common.wait_for("the agent answers", lambda: run.agent.get("/livez")[0] == 200)
    client = subprocess.Popen([*command, run.address], stdout=subprocess.PIPE, preexec_fn=common.die_with_parent)
    kills = kill_while(run, client, opt.kills)
    said = client.stdout.read().decode()
    # One that was started a moment ago does not know SIGTERM yet.
    common.wait_for("the agent answers after the last kill", lambda: run.agent.get("/livez")[0] == 200)
    found = [] if client.returncode == 0 else [f"the client ended with {client.returncode}: {said}"]
    numbers, code = run.end()
    if code != 0:
        found.append(f"the agent ended with {code}: {run.agent.log_tail()}")
    return said, numbers, kills, found


def acknowledged(opt, report, mode, unix):
    name = f"{mode}-{'unix' if unix else 'tcp'}"
    began = time.monotonic()
    command = ["node", str(HERE / "forward.mjs"), str(opt.npm), mode, "yes", str(opt.messages)]
    said, numbers, kills, found = scenario(opt, name, unix, command)
    if not found:
        told = json.loads(said)
        unsure = set(told["failed"])
        missing = set(range(opt.messages)) - set(numbers) - unsure
        twice = len(numbers) - len(set(numbers))
        # What the client gave up, or never heard of, was not promised.
        print(f"     {name}: {told['taken']} acknowledged, {len(unsure)} given up, {kills} kills, {len(missing)} lost, {twice} twice")
        if len(missing) > told["open"]:
            found.append(f"{len(missing)} lost, such as {sorted(missing)[:5]}")
        if kills < min(opt.kills, 1):
            found.append("the agent was never killed")
    report.case(f"{name}, acknowledged, {opt.messages} events", found, time.monotonic() - began)


def unacknowledged(opt, report, unix):
    name = f"python-{'unix' if unix else 'tcp'}"
    began = time.monotonic()
    said, numbers, kills, found = scenario(opt, name, unix, [sys.executable, "-c", PYTHON, str(opt.messages)])
    missing = sorted(set(range(opt.messages)) - set(numbers))
    gaps = sum(1 for a, b in zip([-2, *missing], missing) if b != a + 1)
    print(f"     {name}: {kills} kills, {len(missing)} lost in {gaps} gaps, {len(numbers) - len(set(numbers))} twice")
    # A kill loses what one socket holds: a gap each, and one more for what the client noticed late.
    if gaps > 2 * kills:
        found.append(f"{len(missing)} lost in {gaps} gaps with {kills} kills")
    if kills == 0 and missing:
        found.append("lost without a kill")
    report.case(f"{name}, without acknowledgements, {opt.messages} events", found, time.monotonic() - began)


def abuse(opt, report):
    """Thousands of idle connections, messages byte by byte, and lengths of 4 GB, beside a client that behaves."""
    began, found = time.monotonic(), []
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    run = Run(opt.binary, Path(tempfile.mkdtemp(prefix="forward-abuse-", dir=opt.work)), unix=False)
    common.wait_for("the agent answers", lambda: run.agent.get("/livez")[0] == 200)
    host, port = run.address.split(":")
    entry = b"\x93\xa1t\x91\x92\xce\x65\x53\xf1\x00\x81\xa1n\x07\x81\xa5chunk\xa1c"

    def connect():
        s = socket.socket()
        s.settimeout(30)
        s.connect((host, int(port)))
        return s

    def behaves(s):
        s.sendall(entry)
        return s.recv(100) == b"\x81\xa3ack\xa1c"

    good = connect()
    if not behaves(good):
        found.append("no acknowledgement at first")
    idle = []
    for _ in range(10_000):
        try:
            idle.append(connect())
        except OSError:
            break
    slow, large = idle[:200], idle[200:400]
    for s in large:
        try:
            # An array of 4 GB of entries, and text of 4 GB.
            s.sendall(b"\x93\xa1t\xdd\xff\xff\xff\xff" if id(s) % 2 else b"\x93\xa1t\x01\xdb\xff\xff\xff\xff")
        except OSError:
            pass
    for at in range(20):
        for s in slow:
            try:
                s.sendall(entry[at % len(entry) : at % len(entry) + 1])
            except OSError:
                pass
        if not behaves(good):
            found.append(f"no acknowledgement in round {at}")
    status = Path(f"/proc/{run.agent.proc.pid}/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
    for s in idle:
        s.close()
    common.wait_for("a new client is served", lambda: behaves(connect()))
    print(f"     {len(idle)} connections, peak {peak:.1f} MB")
    if len(idle) < 10_000 or peak > 100:
        found.append(f"{len(idle)} connections, peak {peak:.1f} MB")
    numbers, code = run.end()
    if code != 0 or len(numbers) < 22:
        found.append(f"exit code {code}, {len(numbers)} events")
    report.case("10,000 connections that do not behave", found, time.monotonic() - began)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", type=Path, required=True)
    p.add_argument("--npm", type=Path, required=True)
    p.add_argument("--messages", type=int, default=100_000)
    p.add_argument("--kills", type=int, default=5)
    p.add_argument("--work", type=Path)
    opt = p.parse_args()
    opt.binary, opt.npm = opt.binary.resolve(), opt.npm.resolve()
    if opt.work:
        opt.work.mkdir(parents=True, exist_ok=True)
    report = common.Report()
    for unix in (False, True):
        for mode in MODES:
            acknowledged(opt, report, mode, unix)
        unacknowledged(opt, report, unix)
    abuse(opt, report)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())

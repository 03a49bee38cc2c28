#!/usr/bin/env python3
"""Runs the agent against independent Kinesis servers and reads everything back with independent consumers.

One case for each server x format x partition key x parser. Each case: deliver a log that grows while the agent runs, stop,
start again with nothing new, start again with more lines and an unterminated last one; every event must be there exactly
once, readable by boto3, both of Amazon's de-aggregation libraries and by the KCL's rule, in order where order is promised.

    consumers.py --binary target/debug/kinetail --npm DIR --work DIR [--promtool FILE] [--servers a,b] [--only TEXT]

The last line is "N passed, M failed".
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import checks
import logs
import openmetrics
import servers
from agent import RUNNING, Agent
from common import Report

FILES = ("one", "two", "three")
FIRST_LINES = 900
LATER_LINES = 100
APPENDED_LINES = 60
# How long a delivered event's acknowledgement may take to show in the metrics, seconds.
ACKNOWLEDGED_S = 15
METRICS_CONTENT = re.compile(r"^kinetail_(\w+?)(\{[^}]*\})? ([-+0-9.eE]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One way to run the agent."""

    server: str
    format: str
    key: str
    parse: str
    shards: int = 4

    def name(self):
        return f"{self.server} {self.format} {self.key} {self.parse} {self.shards} shards"

    def stream(self):
        return self.name().replace(" ", "-")


def all_cases(names):
    """The whole table; one server also with other shard counts, where aggregates packed by a wrong rule would show."""
    table = [Case(s, f, k, p) for s in names for f in ("kpl", "lines", "single") for k in ("random", "source") for p in ("json", "raw")]
    if "kinesalite" in names:
        table += [Case("kinesalite", "kpl", k, "json", n) for k in ("random", "source") for n in (1, 2, 16)]
    return table


class Log:
    """The files of a case, and what must have arrived of them."""

    def __init__(self, folder, parse):
        self.folder, self.parse = folder, parse
        self.lines = {f: [] for f in FILES}
        self.next = 0
        folder.mkdir()

    def append(self, count, unterminated=False):
        for f in FILES:
            lines = logs.write_lines(self.parse, f, self.next, count)
            if unterminated:
                lines = lines[:1]
            self.lines[f] += lines
            with open(self.folder / f"{f}.log", "ab") as out:
                out.write(b"\n".join(lines) + (b"" if unterminated else b"\n"))
        self.next += count

    def expected(self):
        events = [[logs.expected(self.parse, line) for line in lines] for lines in self.lines.values()]
        return [[e for e in of_file if e is not None] for of_file in events]

    def total(self):
        return sum(map(len, self.expected()))

    def size(self):
        return sum(path.stat().st_size for path in self.folder.iterdir())


class Run:
    """A case while it runs: the stream, its reader, the agent's settings."""

    def __init__(self, case, server, opt):
        self.case, self.opt = case, opt
        self.work = opt.work / case.stream()
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.log = Log(self.work / "logs", case.parse)
        self.shards = server.create_stream(case.stream(), case.shards)
        self.reader = servers.Reader(server.client, case.stream(), self.shards)
        self.settings = {
            "PATHS": f"{self.work}/logs/*.log", "STREAM": case.stream(), "ENDPOINT": server.endpoint, "PARSE": case.parse,
            "FORMAT": case.format, "PARTITION_KEY": case.key, "START_AT": "beginning"}
        if case.server == "moto":
            # Its Shard.put_record says so itself: two requests at once can be given one sequence number, and one of the records is gone.
            self.settings["CONFIG"] = json.dumps({"kinesis": {"max_in_flight_requests": 1}})

    def agent(self):
        return Agent(self.opt.command, self.work, self.settings)

    def wait_delivered(self, agent):
        total = self.log.total()

        def delivered():
            agent.ended()
            return checks.count_events(self.reader.poll(), self.case.format) >= total

        try:
            servers.wait_for("", delivered, self.opt.deadline, every=0.2)
            return []
        except TimeoutError:
            n = checks.count_events(self.reader.records, self.case.format)
            return [f"{n} of {total} events after {self.opt.deadline} s; {agent.log_tail()}"]

    def stop(self, agent, when):
        code = agent.stop()
        return [] if code == 0 else [f"{when}: exit code {code}: {agent.log_tail()}"]

    def verify(self, when):
        found = checks.verify(self.reader.poll(), self.shards, self.case, self.log.expected(), self.opt.npm)
        return [f"{when}: {f}" for f in found]

    def deliver(self):
        self.log.append(FIRST_LINES)
        with self.agent() as agent:
            agent.wait_ready()
            self.log.append(LATER_LINES)
            found = self.wait_delivered(agent)
            found += self.check_admin(agent)
            found += self.stop(agent, "first run")
        return found + self.verify("first run")

    def restart_with_nothing_new(self):
        before = len(self.reader.poll())
        with self.agent() as agent:
            agent.wait_ready()
            found = self.stop(agent, "restart with nothing new")
        sent = len(self.reader.poll()) - before
        return found + ([f"restart with nothing new: {sent} records were sent"] if sent else [])

    def restart_with_more(self):
        self.log.append(APPENDED_LINES)
        with self.agent() as agent:
            agent.wait_ready()
            self.log.append(APPENDED_LINES)
            found = self.wait_delivered(agent)
            # The service's last words, without a newline, just before everything is told to end.
            self.log.append(1, unterminated=True)
            found += self.stop(agent, "restart with more lines")
        return found + self.verify("restart with more lines")

    def check_admin(self, agent):
        found = []
        # An event can be read before its acknowledgement has reached the agent.
        self.wait_acknowledged(agent)
        for page in ("/", "/livez", "/readyz", "/startupz", "/status", "/metrics"):
            code, text = agent.get(page)
            if code != 200:
                found.append(f"{page} answers {code}: {text[:200]}")
            elif page == "/status":
                json.loads(text)
            elif page == "/metrics":
                (self.work / "metrics.txt").write_text(text)
                found += self.check_metrics(text)
                found += openmetrics.check(f"http://{agent.admin}/metrics")
        return found

    def wait_acknowledged(self, agent):
        total, size = self.log.total(), self.log.size()

        def settled():
            # The reader tells of what it has settled a little after the sender has its answers.
            text = agent.get("/metrics")[1]
            return metric_sum(text, "kinesis_user_records_total") >= total and metric_sum(text, "source_settled_bytes_total") >= size

        try:
            servers.wait_for("", settled, ACKNOWLEDGED_S)
        except TimeoutError:
            pass  # check_metrics says what is wrong

    def check_metrics(self, text):
        found = []
        for name, want in (("kinesis_user_records_total", self.log.total()), ("dropped_events_total", 0)):
            got = metric_sum(text, name)
            if got != want:
                found.append(f"kinetail_{name} is {got} in all, expected {want}")
        if self.opt.promtool:
            p = subprocess.run([str(self.opt.promtool), "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
            if p.returncode != 0:
                found.append(f"promtool check metrics: {p.returncode}: {(p.stdout + p.stderr)[:600]}")
        return found


def metric_sum(text, wanted):
    """A metric over all its labels. Blank lines are no events of a JSON log, and are dropped on purpose."""
    series = METRICS_CONTENT.findall(text)
    return sum(float(value) for name, labels, value in series if name == wanted and 'reason="blank"' not in labels)


def run_case(case, server, opt):
    """What is wrong with a case; nothing if it passed."""
    try:
        run = Run(case, server, opt)
        found = run.deliver()
        # What went wrong first is the thing to look at: what follows from it would only hide it.
        found = found or run.restart_with_nothing_new()
        found = found or run.restart_with_more()
        if not found and not opt.keep:
            shutil.rmtree(run.work)
        return found
    except (TimeoutError, RuntimeError) as e:
        return [f"{type(e).__name__}: {e}"]
    except Exception:
        return [traceback.format_exc()]


def aws_cli(server):
    """The AWS command line reads what a producer put: a server of ours must satisfy a client that is not boto3 code of ours."""
    cli = [str(Path(sys.executable).parent / "aws"), "--endpoint-url", server.endpoint, "--region", servers.REGION, "--output", "json", "kinesis"]
    env = dict(os.environ, **servers.CREDENTIALS)

    def aws(*args):
        p = subprocess.run([*cli, *args], capture_output=True, text=True, env=env, timeout=servers.DEADLINE)
        if p.returncode != 0:
            raise RuntimeError(f"aws kinesis {args[0]}: {p.returncode}: {p.stderr[-400:]}")
        return json.loads(p.stdout or "{}")

    try:
        server.create_stream("aws-cli", 2)
        put = aws("put-record", "--stream-name", "aws-cli", "--partition-key", "k", "--data", "aGVsbG8=")
        shards = aws("list-shards", "--stream-name", "aws-cli")["Shards"]
        read = []
        for s in shards:
            at = aws("get-shard-iterator", "--stream-name", "aws-cli", "--shard-id", s["ShardId"], "--shard-iterator-type", "TRIM_HORIZON")
            read += [(s["ShardId"], r) for r in aws("get-records", "--shard-iterator", at["ShardIterator"])["Records"]]
        got = [(shard, r["SequenceNumber"], r["PartitionKey"]) for shard, r in read]
        want = [(put["ShardId"], put["SequenceNumber"], "k")]
        return [] if got == want and len(shards) == 2 else [f"read {got} from {len(shards)} shards, expected {want}"]
    except (RuntimeError, KeyError, ValueError, subprocess.TimeoutExpired) as e:
        return [f"{type(e).__name__}: {e}"]


def run_server(server, cases, opt, report):
    """All cases of one server, one after the other."""
    for case in cases:
        t = time.monotonic()
        report.case(case.name(), run_case(case, server, opt), time.monotonic() - t)
    if not opt.only:
        t = time.monotonic()
        report.case(f"{server.name} aws command line", aws_cli(server), time.monotonic() - t)


def end_now(running):
    """On SIGTERM: waiting for the cases under way would take too long, leaving processes behind is worse."""
    for agent in list(RUNNING):
        agent.proc.kill()
    for server in running:
        server.proc.kill()
    os._exit(143)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", type=Path, required=True)
    p.add_argument("--npm", type=Path, required=True, help="the folder that holds node_modules")
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--promtool", type=Path)
    p.add_argument("--servers", default=",".join(servers.NAMES))
    p.add_argument("--deadline", type=float, default=servers.DEADLINE, help="seconds in which a log must have been delivered")
    p.add_argument("--only", default="", help="cases whose name contains this")
    p.add_argument("--keep", action="store_true", help="keep the folders of passed cases too")
    opt = p.parse_args()
    opt.work, opt.binary = opt.work.resolve(), opt.binary.resolve()
    opt.command = [str(opt.binary)]
    names = opt.servers.split(",")
    cases = [c for c in all_cases(names) if opt.only in c.name()]
    report, running = Report(), []
    signal.signal(signal.SIGTERM, lambda *_: end_now(running))
    try:
        for name in names:
            if not any(c.server == name for c in cases):
                continue
            t = time.monotonic()
            try:
                running.append(servers.Server(name, opt.npm, opt.binary, opt.work / "servers"))
            except (RuntimeError, OSError, TimeoutError) as e:
                report.case(f"{name} starts", [str(e)], time.monotonic() - t)
        with ThreadPoolExecutor(max(1, len(running))) as pool:
            for f in [pool.submit(run_server, s, [c for c in cases if c.server == s.name], opt, report) for s in running]:
                f.result()
    finally:
        for server in running:
            server.stop()
    if not opt.promtool:
        print("promtool was not given: metrics were read, but not checked by it")
    sys.exit(report.end())


if __name__ == "__main__":
    main()

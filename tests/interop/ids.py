#!/usr/bin/env python3
"""The agent's own ids through kills and reshards: `kinetail consume --meta | kinetail verify -` against a count of our own.

    ids.py --binary BIN [--kills 50] [--work DIR]

A service writes to a file that is rotated, an agent with `add: {id: true}` is killed (-9) and started again and again, the stream is split,
split and merged meanwhile, refuses records and loses answers. Afterwards nothing may be missing, by the numbers that the service wrote and by the
ids; the duplicates that verify tells have to be those that we count; and an event that is taken away has to be found missing, with its bytes.
"""

import argparse
import json
import os
import random
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
import reshard
import servers

STREAM = "ids"
RATE, BURST = 1500, 25
ROTATE_BYTES = 1 << 20
# How long an agent lives before it is killed, seconds.
LIFE = (0.15, 1.2)
# One record in so many is refused, one answer in so many is lost after everything was stored.
FAULTS = {"throttle": 0.02, "fail_records": 0.02, "close_after": 0.02, "operations": ["PutRecords"]}
ID = re.compile(r"([0-9a-f]+)-(\d+)-(\d+)((?:\+\d+-\d+)*)")


class Writer(threading.Thread):
    """Appends numbered lines and renames the file now and then, until it is told to stop."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.count, self.rotations, self.told = path, 0, 0, threading.Event()

    def run(self):
        out, began = open(self.path, "ab", buffering=0), time.monotonic()
        while not self.told.is_set():
            lines = [json.dumps({"n": n, "k": f"key-{n % 31}", "pad": "x" * (n % 400)}) for n in range(self.count, self.count + BURST)]
            out.write(("\n".join(lines) + "\n").encode())
            self.count += BURST
            if out.tell() > ROTATE_BYTES:
                out.close()
                self.rotations += 1
                self.path.rename(self.path.with_suffix(f".log.{self.rotations}"))
                out = open(self.path, "ab", buffering=0)
            time.sleep(max(0.0, began + self.count / RATE - time.monotonic()))
        out.close()


class Count:
    """What the ids of events say, counted by sets and sorted ranges."""

    def __init__(self, lines):
        self.numbers, self.ids, self.ranges, self.events, self.first = {}, {}, {}, 0, {}
        for at, line in enumerate(lines):
            event = json.loads(json.loads(line)["event"]) if isinstance(json.loads(line).get("event"), str) else json.loads(line)["event"]
            self.events += 1
            self.numbers[event["n"]] = self.numbers.get(event["n"], 0) + 1
            tag, start, end, more = ID.fullmatch(event["_id"]).groups()
            if more:
                raise RuntimeError(f"{event['_id']}: a plain line has one range")
            key = (tag, int(end))
            self.ids[key] = self.ids.get(key, 0) + 1
            self.first.setdefault(key, (at, int(start)))
            self.ranges.setdefault(tag, []).append((int(start), int(end)))

    def duplicates(self):
        return self.events - len(self.ids)

    def gaps(self):
        """(tag, first byte, byte after the last) of what no event accounts for between events of a file."""
        found = []
        for tag, ranges in self.ranges.items():
            to = None
            for start, end in sorted(ranges):
                if to is not None and start > to:
                    found.append((tag, to, start))
                to = max(to or 0, end)
        return found


def tool(opt, *args, stdin=None):
    env = {k: v for k, v in os.environ.items() if k in agents.KEPT_ENV} | common.CREDENTIALS | {"AWS_REGION": common.REGION}
    r = subprocess.run([str(opt.binary), *args], input=stdin, capture_output=True, env=env, timeout=600)
    return r.returncode, r.stdout, r.stderr.decode(errors="replace")


def faults(server, plan):
    request = urllib.request.Request(f"{server.endpoint}/_kinetail/faults", data=json.dumps(plan).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def split(client, rng):
    open_ = [s for s in reshard.describe(client, STREAM) if reshard.is_open(s)]
    shard = max(open_, key=lambda s: int(s["HashKeyRange"]["EndingHashKey"]) - int(s["HashKeyRange"]["StartingHashKey"]))
    start, end = (int(shard["HashKeyRange"][k]) for k in ("StartingHashKey", "EndingHashKey"))
    client.split_shard(StreamName=STREAM, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(start + (end - start) * rng.randrange(30, 70) // 100))


def merge(client, _rng):
    shards = sorted((s for s in reshard.describe(client, STREAM) if reshard.is_open(s)), key=lambda s: int(s["HashKeyRange"]["StartingHashKey"]))
    client.merge_shards(StreamName=STREAM, ShardToMerge=shards[0]["ShardId"], AdjacentShardToMerge=shards[1]["ShardId"])


def run(opt, server, key):
    """The storm. Answers the service's writer, and what is wrong by then."""
    work = opt.work / re.sub(r"\W", "", key)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    client, rng = servers.client(server.endpoint), random.Random(opt.seed)
    server.create_stream(STREAM, 2)
    faults(server, FAULTS)
    source = {"paths": [f"{work}/app.log"], "parse": "json", "start_at": "beginning", "add": {"id": True}}
    kinesis = {"stream": STREAM, "endpoint": server.endpoint, "partition_key": key}
    settings = {"CONFIG": json.dumps({"sources": [source], "kinesis": kinesis})}
    writer = Writer(work / "app.log")
    writer.start()
    reshards = {opt.kills * (i + 1) // 4: what for i, what in enumerate((split, split, merge))}
    for kill in range(opt.kills):
        with agents.Agent([str(opt.binary)], work, settings) as agent:
            common.wait_for("the admin server answers", lambda: agent.get("/livez")[0] or agent.ended())
            if kill in reshards:
                reshards[kill](client, rng)
                server.wait_active(STREAM)
            time.sleep(rng.uniform(*LIFE))
            agent.ended()
            agent.kill()
    writer.told.set()
    writer.join()
    faults(server, {})
    with agents.Agent([str(opt.binary)], work, settings) as agent:
        agent.wait_ready()
        common.wait_for("everything is read", lambda: 'kinetail_source_backlog_bytes{source="files"} 0\n' in agent.get("/metrics")[1] or agent.ended())
        code = agent.stop()
    return writer, [] if code == 0 else [f"exit code {code}: {agent.log_tail()}"]


def case(opt, server, key):
    writer, found = run(opt, server, key)
    code, out, err = tool(opt, "consume", "--stream", STREAM, "--endpoint", server.endpoint, "--until", "now", "--meta")
    if code != 0:
        return found + [f"consume ended with {code}: {err[-500:]}"]
    lines = out.splitlines()
    count = Count(lines)
    missing = [n for n in range(writer.count) if n not in count.numbers]
    if missing:
        found.append(f"{len(missing)} of {writer.count} lines are lost, the first is {missing[0]}")
    if gaps := count.gaps():
        found.append(f"the ids have gaps: {gaps[:3]}")
    code, out, err = tool(opt, "verify", "-", "--json", stdin=b"\n".join(lines) + b"\n")
    report = json.loads(out)
    told = {k: report[k] for k in ("events", "duplicates", "gaps", "gap_bytes", "without_id", "foreign_ids")}
    want = {"events": count.events, "duplicates": count.duplicates(), "gaps": 0, "gap_bytes": 0, "without_id": 0, "foreign_ids": 0}
    if code != 0 or told != want:
        found.append(f"verify ended with {code} and told {told}, not {want}: {err[-300:]}")
    code, out, err = tool(opt, "verify", "--stream", STREAM, "--endpoint", server.endpoint, "--from", "TRIM_HORIZON", "--until", "now", "--json")
    if code != 0 or json.loads(out)["duplicates"] != count.duplicates():
        found.append(f"verify of the stream ended with {code}: {out[-300:]} {err[-300:]}")
    by_number = count.events - len(count.numbers)
    print(f"     {key:8} lines {writer.count:7} rotations {writer.rotations:3} kills {opt.kills:3} events {count.events:7} duplicates {count.duplicates():5} (by the lines' own numbers {by_number}), files {len(count.ranges)}", flush=True)
    return found + planted(opt, lines, count)


def planted(opt, lines, count):
    """Takes an event away, with all its copies, and asks again; then the events of ten in a row."""
    rng, found = random.Random(opt.seed), []
    tag = max(count.ranges, key=lambda tag: len(set(count.ranges[tag])))
    ends = sorted({end for _, end in count.ranges[tag]})
    for length in (1, 10):
        at = rng.randrange(5, len(ends) - length - 5)
        gone = {(tag, end) for end in ends[at : at + length]}
        left = [line for line in lines if id_of(line) not in gone]
        want = (tag, ends[at - 1], ends[at + length - 1])
        # Another start can have had the next event begin earlier, which then accounts for these bytes.
        if Count(left).gaps() != [want]:
            found.append(f"our own count does not find what was taken away: {Count(left).gaps()[:3]}, not {want}")
            continue
        code, out, _ = tool(opt, "verify", "-", "--json", stdin=b"\n".join(left) + b"\n")
        report = json.loads(out)
        gaps = [(s["tag"], g["start"], g["end"]) for s in report["sources"] for g in s["gaps"]]
        if code != 1 or report["outcome"] != "gaps" or gaps != [want]:
            found.append(f"verify ended with {code} without {want}, and told {gaps[:3]}")
        print(f"     planted: {length} events, bytes {want[1]} to {want[2]}: exit code {code}, {report['gaps']} gap of {report['gap_bytes']} bytes", flush=True)
    return found


def id_of(line):
    tag, _, end, _ = ID.search(line.decode().split('"_id"', 1)[1]).groups()
    return tag, int(end)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", type=Path, required=True)
    p.add_argument("--kills", type=int, default=50)
    p.add_argument("--keys", default="random,source", help="partition keys, a run for each")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--work", type=Path, required=True)
    opt = p.parse_args()
    opt.binary, opt.work = opt.binary.resolve(), opt.work.resolve()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    report = common.Report()
    for key in opt.keys.split(","):
        began = time.monotonic()
        with servers.Server("kinetail-local", None, opt.binary, opt.work / "servers") as server:
            try:
                found = case(opt, server, key)
            except Exception:
                found = [traceback.format_exc()]
        report.case(f"consume and verify, {opt.kills} kills, 3 reshards, key {key}", found, time.monotonic() - began)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())

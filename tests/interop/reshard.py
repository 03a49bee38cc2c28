"""Reshard storms: a stream is split and merged every few seconds while the agent sends to it, and afterwards everything is read as the KCL reads it.

Of a log that is written all the while, each event has to be there once, in an aggregate that the KCL keeps, and the events of a key in the order in
which they were written: within a shard by its sequence, and from one shard to the next by the time at which they arrived.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import agent as agents
import common
import kcl
import servers

# Keys of the log, as many as would share a shard in practice.
KEYS = 97
# Lines a second, and how many at a time: a service under load, and far below what two shards take.
RATE, BURST = 1000, 20
# A shard is not split below this part of the hash space.
SMALLEST = 1 << 122
FILLER = "x" * 180


class Writer(threading.Thread):
    """Appends numbered lines until it is told to stop."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.count, self.told = path, 0, threading.Event()

    def run(self):
        rng = random.Random(7)
        with open(self.path, "ab", buffering=0) as out:
            began = time.monotonic()
            while not self.told.is_set():
                lines = [json.dumps({"n": n, "k": f"key-{rng.randrange(KEYS)}", "pad": FILLER}) for n in range(self.count, self.count + BURST)]
                out.write(("\n".join(lines) + "\n").encode())
                self.count += BURST
                time.sleep(max(0.0, began + self.count / RATE - time.monotonic()))


def is_open(shard):
    return "EndingSequenceNumber" not in shard["SequenceNumberRange"]


def reshard(client, stream, rng):
    """Splits a shard, or merges two neighbours, whichever there is."""
    shards = sorted((s for s in describe(client, stream) if is_open(s)), key=lambda s: int(s["HashKeyRange"]["StartingHashKey"]))
    if len(shards) > 2 and rng.random() < 0.5:
        at = rng.randrange(len(shards) - 1)
        client.merge_shards(StreamName=stream, ShardToMerge=shards[at]["ShardId"], AdjacentShardToMerge=shards[at + 1]["ShardId"])
        return "merge"
    shard = max(shards, key=lambda s: int(s["HashKeyRange"]["EndingHashKey"]) - int(s["HashKeyRange"]["StartingHashKey"]))
    start, end = (int(shard["HashKeyRange"][k]) for k in ("StartingHashKey", "EndingHashKey"))
    if end - start < SMALLEST:
        return None
    middle = start + (end - start) * rng.randrange(30, 70) // 100
    client.split_shard(StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle))
    return "split"


def describe(client, stream):
    """All shards, open and closed."""
    shards, more = [], {}
    while True:
        page = client.describe_stream(StreamName=stream, **more)["StreamDescription"]
        shards += page["Shards"]
        if not page["HasMoreShards"]:
            return shards
        more = {"ExclusiveStartShardId": shards[-1]["ShardId"]}


def read(client, stream, shard):
    """All records of a shard, in its order."""
    at = client.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    empty = 0
    while at and empty < 3:
        page = client.get_records(ShardIterator=at)
        yield from page["Records"]
        at = page.get("NextShardIterator")
        empty = 0 if page["Records"] else empty + 1


def consume(client, stream):
    """What the KCL hands to an application: (key, number, time of arrival, shard, place in the shard), and what is wrong with the records."""
    events, found = [], []
    for shard in describe(client, stream):
        start, end = (int(shard["HashKeyRange"][k]) for k in ("StartingHashKey", "EndingHashKey"))
        place = 0
        for record in read(client, stream, shard):
            users = kcl.decode(record["Data"])
            kept = kcl.survivors(users, start, end)
            if not kept:
                found.append(f"the KCL throws away {len(users)} events of {shard['ShardId']}")
            for user in kept:
                event = json.loads(user.data)
                place += 1
                events.append((event["k"], event["n"], record["ApproximateArrivalTimestamp"], shard["ShardId"], place))
    return events, found


def verify(client, stream, count, keyed):
    events, found = consume(client, stream)
    numbers = sorted(n for _, n, *_ in events)
    missing = set(range(count)) - set(numbers)
    if missing:
        found.append(f"{len(missing)} of {count} events are lost, the first is {min(missing)}")
    if len(numbers) != len(set(numbers)):
        found.append(f"{len(numbers) - len(set(numbers))} events come twice")
    lanes = {}
    for key, n, when, shard, place in events:
        lanes.setdefault(key if keyed else "", []).append((n, when, shard, place))
    wrong = 0
    for lane in lanes.values():
        lane.sort()
        for (_, when, shard, place), (_, next_when, next_shard, next_place) in zip(lane, lane[1:]):
            wrong += place > next_place if shard == next_shard else when > next_when
    if wrong:
        found.append(f"{wrong} events overtook an earlier one of their key")
    return found


def storm(server, key, opt):
    stream = f"reshard-{server.name}-{'keyed' if '{' in key else key}"
    work = opt.work / stream
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    server.create_stream(stream, 2)
    client = servers.client(server.endpoint)
    writer = Writer(work / "app.log")
    settings = {"PATHS": f"{work}/app.log", "STREAM": stream, "ENDPOINT": server.endpoint, "PARSE": "json", "PARTITION_KEY": key, "START_AT": "beginning"}
    rng, done = random.Random(11), {"split": 0, "merge": 0}
    with agents.Agent([str(opt.binary)], work, settings) as agent:
        agent.wait_ready()
        writer.start()
        end = time.monotonic() + opt.seconds
        while time.monotonic() < end:
            time.sleep(opt.every)
            agent.ended()
            what = reshard(client, stream, rng)
            if what:
                done[what] += 1
                server.wait_active(stream)
        writer.told.set()
        writer.join()
        code = agent.stop()
        if code != 0:
            return [f"exit code {code}: {agent.log_tail()}"]
    if done["split"] < 2 or (opt.seconds > 60 and not done["merge"]):
        return [f"hardly any reshard: {done}"]
    print(f"     {stream}: {writer.count} events, {done['split']} splits, {done['merge']} merges", flush=True)
    return verify(client, stream, writer.count, "{" in key)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", type=Path, required=True)
    p.add_argument("--npm", type=Path, required=True, help="the folder that holds node_modules")
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--servers", default="kinetail-local,kinesalite")
    p.add_argument("--seconds", type=float, default=30, help="how long each storm lasts")
    p.add_argument("--every", type=float, default=5, help="seconds between two reshards")
    opt = p.parse_args()
    opt.work, opt.binary = opt.work.resolve(), opt.binary.resolve()
    report = common.Report()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    for name in opt.servers.split(","):
        with servers.Server(name, opt.npm, opt.binary, opt.work / "servers") as server:
            for key in ("{k}", "source"):
                began = time.monotonic()
                try:
                    found = storm(server, key, opt)
                except Exception:
                    found = [traceback.format_exc()]
                report.case(f"reshard storm {name} {key}", found, time.monotonic() - began)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())

"""What must hold for the Kinesis records that an agent has put: pure checks, each returning its findings as sentences.

An empty list means that all is well. Nothing here talks to a server, so that selftest.py can feed it good and bad records.
"""

import base64
import json
import subprocess
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from aws_kinesis_agg.deaggregator import deaggregate_records

import kcl

# The default of MaxRecordSizeInKiB; the partition key counts.
RECORD_LIMIT = 1 << 20
# Shard counts at which an aggregate must stay on one shard, besides that of the stream it was read from.
SHARD_COUNTS = (1, 2, 4, 16)
HERE = Path(__file__).resolve().parent
SHOWN = 3


@dataclass(frozen=True)
class Shard:
    """A shard and the hash keys that it holds."""

    id: str
    start: int
    end: int


@dataclass(frozen=True)
class Stored:
    """A Kinesis record as GetRecords returned it."""

    shard: str
    key: str
    sequence: str
    data: bytes


@dataclass(frozen=True)
class Event:
    """An event as a consumer sees it, without its newline. `group` is what orders it: its partition key."""

    shard: str
    group: str
    data: bytes


@dataclass(frozen=True)
class Message:
    """An expected event that was no JSON object: it must arrive as {"message": text}."""

    text: str


def brief(value):
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:90]}... ({len(text)} characters)"


def canonical(data):
    """An event in the form in which it is compared: bytes, except for a bare message, whose spelling is free."""
    if data.startswith(b'{"message"'):
        try:
            obj = json.loads(data)
        except ValueError:
            return data
        if list(obj) == ["message"] and isinstance(obj["message"], str):
            return Message(obj["message"])
    return data


def count_events(stored, fmt):
    """How many events these records hold, for waiting. What is no aggregate ends the wait: there is enough to report."""
    n = 0
    for r in stored:
        if fmt == "lines":
            n += r.data.count(b"\n")
        elif fmt == "kpl":
            try:
                n += len(kcl.decode(r.data))
            except kcl.Malformed:
                n += 1 << 30
        else:
            n += 1
    return n


def outer_limits(stored):
    """Size limits and sequence numbers of the Kinesis records."""
    found = []
    last = {}
    for r in stored:
        size = len(r.data) + len(r.key.encode())
        if size > RECORD_LIMIT:
            found.append(f"record of {size} bytes with its key: over {RECORD_LIMIT}")
        if not r.data or not 1 <= len(r.key) <= 256:
            found.append(f"record with {len(r.data)} bytes and key {brief(r.key)}")
        if int(r.sequence) <= last.get(r.shard, -1):
            found.append(f"sequence number {r.sequence} does not grow in {r.shard}")
        last[r.shard] = int(r.sequence)
    return found


def unpack(stored, fmt, shards, npm):
    """The events of these records, and what is wrong with the records themselves."""
    found = outer_limits(stored)
    if fmt == "kpl":
        return _unpack_kpl(stored, {s.id: s for s in shards}, npm, found)
    events = []
    for r in stored:
        if not r.data.endswith(b"\n"):
            found.append(f"record does not end with a newline: {brief(r.data[-40:])}")
        parts = r.data.removesuffix(b"\n").split(b"\n")
        if fmt == "single" and len(parts) != 1:
            found.append(f"{len(parts)} events in one record of format single")
        events += [Event(r.shard, r.key, p) for p in parts]
    return events, found


def _unpack_kpl(stored, shards, npm, found):
    events = []
    by_node = node_deaggregate(stored, npm)
    for r, node in zip(stored, by_node, strict=True):
        try:
            own = kcl.decode(r.data)
        except kcl.Malformed as e:
            found.append(f"not an aggregate ({e}): {brief(r.data[:60])}")
            continue
        python = python_deaggregate(r)
        if python != own:
            found.append(f"aws_kinesis_agg for Python reads {len(python)} user records, expected {len(own)}: "
                         f"{brief(next((a, b) for a, b in _pairs(python, own) if a != b))}")
        if node != own:
            found.append(f"aws-kinesis-agg for Node reads {brief(node) if isinstance(node, str) else len(node)}, expected {len(own)} user records")
        found += aggregate_rules(own, r, shards[r.shard])
        for u in own:
            if not u.data.endswith(b"\n") or b"\n" in u.data[:-1]:
                found.append(f"user record is not one line: {brief(u.data)}")
            events.append(Event(r.shard, u.key, u.data.removesuffix(b"\n")))
    return events, found


def _pairs(a, b):
    longest = max(len(a), len(b))
    return zip(a + [None] * (longest - len(a)), b + [None] * (longest - len(b)))


def aggregate_rules(records, stored, shard):
    """The rules by which an aggregate survives the KCL, here and at other shard counts."""
    found = []
    hash_keys = {u.hash_key for u in records}
    keys = {u.key for u in records}
    if None in hash_keys and len(hash_keys) > 1:
        found.append("explicit hash keys on some user records only")
    if hash_keys == {None} and len(keys) > 1 or len(hash_keys - {None}) > 1:
        found.append(f"user records of one aggregate share neither key nor hash key: {len(keys)} keys, {len(hash_keys)} hash keys")
    if not kcl.survivors(records, shard.start, shard.end):
        found.append(f"the KCL drops all {len(records)} user records of an aggregate read from {shard.id}")
    # The outer explicit hash key cannot be read back. Where one is stamped inside it was set outside as well: the line
    # above would refute it in all but one of as many cases as the stream has shards.
    outer = kcl.key_hash(stored.key) if hash_keys == {None} else records[0].effective_hash()
    for n in SHARD_COUNTS:
        home = kcl.shard_index(outer, n)
        if any(kcl.shard_index(u.effective_hash(), n) != home for u in records):
            found.append(f"with {n} shards the KCL would drop an aggregate of {len(records)} user records")
    return found


def python_deaggregate(stored):
    """Amazon's Python library takes Lambda's form of a record only."""
    event = {"kinesis": {
        "kinesisSchemaVersion": "1.0", "partitionKey": stored.key, "sequenceNumber": stored.sequence,
        "approximateArrivalTimestamp": 0, "data": base64.b64encode(stored.data)}}
    out = []
    for r in deaggregate_records([event]):
        k = r["kinesis"]
        out.append(kcl.UserRecord(k["partitionKey"], k.get("explicitHashKey"), base64.b64decode(k["data"])))
    return out


def node_deaggregate(stored, npm):
    """For each record the user records that Amazon's Node library finds, or its error as text."""
    if not stored:
        return []
    lines = [json.dumps({"key": r.key, "seq": r.sequence, "data": base64.b64encode(r.data).decode()}) for r in stored]
    p = subprocess.run(["node", str(HERE / "deaggregate.mjs"), str(npm)], input="\n".join(lines) + "\n",
                       capture_output=True, text=True, timeout=120)
    if p.returncode != 0:
        raise RuntimeError(f"deaggregate.mjs ended with {p.returncode}: {p.stderr[-500:]}")
    out = []
    for line in p.stdout.splitlines():
        answer = json.loads(line)
        out.append(answer["error"] or [
            kcl.UserRecord(r["key"], r["hash_key"], base64.b64decode(r["data"])) for r in answer["records"]])
    if len(out) != len(stored):
        raise RuntimeError(f"deaggregate.mjs answered {len(out)} of {len(stored)} records")
    return out


def content(events, files):
    """Every expected event exactly once, and no other. `files`: for each file its events in order."""
    want = Counter(e for f in files for e in f)
    got = Counter(canonical(e.data) for e in events)
    found = []
    for name, diff in (("missing", want - got), ("unexpected or twice", got - want)):
        if diff:
            found.append(f"{name}: {diff.total()} events, e.g. {', '.join(brief(e) for e in list(diff)[:SHOWN])}")
    return found


def order(events, files):
    """With one key per file: each key on one shard, its events being exactly one file's, in order."""
    groups, homes = defaultdict(list), defaultdict(set)
    for e in events:
        groups[e.group].append(canonical(e.data))
        homes[e.group].add(e.shard)
    found = [f"key {brief(k)} on shards {sorted(s)}" for k, s in homes.items() if len(s) > 1]
    if len(groups) != len(files):
        found.append(f"{len(groups)} partition keys for {len(files)} files")
    left = [list(f) for f in files]
    for key, got in groups.items():
        if got in left:
            left.remove(got)
        else:
            found.append(f"the {len(got)} events of key {brief(key)} are no file's events in order")
    return found


def spread(stored, shards):
    """With a fresh key per record one shard cannot get them all; by chance 32 records do so on two shards once in 2^31 runs."""
    if len(shards) > 1 and len(stored) >= 32 and len({r.shard for r in stored}) == 1:
        return [f"all {len(stored)} records on one shard, though keys are random"]
    return []


def verify(stored, shards, case, files, npm):
    """All of the above for one case with `.format` and `.key`."""
    events, found = unpack(stored, case.format, shards, npm)
    found += content(events, files)
    if case.key == "source":
        found += order(events, files)
    else:
        found += spread(stored, shards)
    return found[:8] + ([f"... and {len(found) - 8} more findings"] if len(found) > 8 else [])

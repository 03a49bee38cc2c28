#!/usr/bin/env python3
"""Tests the tailing suites themselves, without the agent: what is right must pass, and each kind of fault must be found.

    tail_selftest.py

Records are packed here and given to the sink's ledger; what the storms make of its figures is checked too. The last line is
"N passed, M failed".
"""

import hashlib
import random
import sys
import tempfile
import time
from pathlib import Path

import common
import filesystems
import numbered
import sink
import storm
import tail_scenarios
from storm import Storm


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def aggregate(lines):
    body = field(1, b"key") + b"".join(field(3, b"\x08\x00" + field(3, line)) for line in lines)
    return sink.MAGIC + body + hashlib.md5(body).digest()


def of(src, numbers, span=numbered.SHORT):
    """Whole lines with these numbers."""
    return [numbered.lines(src, n, 1, 1_700_000_000_000_000, numbered.pads(span)) for n in numbers]


def ledger(*records):
    made = sink.Ledger()
    for r in records:
        made.add("key", r)
    return made


def figures(made, total):
    s = made.stats()
    return {k: s[k] for k in ("unique", "duplicates", "torn", "disorder", "bad")} | {"missing": made.missing({"0": total})["0"]}


def right(**other):
    return {"unique": 100, "duplicates": 0, "torn": 0, "disorder": 0, "bad": 0, "missing": []} | other


def same(got, want):
    return [] if got == want else [f"got {got}, expected {want}"]


def ledger_cases():
    good = of(0, range(100))
    half = good[50]
    yield "all there", same(figures(ledger(aggregate(good)), 100), right())
    yield "long lines", same(figures(ledger(aggregate(of(0, range(100), numbered.LONG))), 100), right())
    yield "in many records", same(figures(ledger(*(aggregate(good[i : i + 7]) for i in range(0, 100, 7))), 100), right())
    yield "the fast way is taken", same(ledger(aggregate(good)).slow, 0)
    yield "no aggregate", same(figures(ledger(*good), 100), right())
    yield "the first is missing", same(figures(ledger(aggregate(good[1:])), 100), right(unique=99, missing=[[0, 1]]))
    yield "one is missing", same(figures(ledger(aggregate(good[:50] + good[51:])), 100), right(unique=99, missing=[[50, 51]]))
    yield "the end is missing", same(figures(ledger(aggregate(good[:90])), 100), right(unique=90, missing=[[90, 100]]))
    yield "one came twice", same(figures(ledger(aggregate(good), aggregate(good[7:8])), 100), right(duplicates=1))
    yield "a record came twice", same(figures(ledger(aggregate(good), aggregate(good)), 100), right(duplicates=100))
    yield "twice in a record", same(figures(ledger(aggregate(good + good[:3])), 100), right(duplicates=3))
    yield "records out of order", same(figures(ledger(aggregate(good[50:]), aggregate(good[:50])), 100), right(disorder=50))
    swapped = [*good[:10], good[11], good[10], *good[12:]]
    yield "two lines out of order", same(figures(ledger(aggregate(swapped)), 100), right(disorder=1))
    torn = [*good[:50], half[:30] + b"\n", half[30:], *good[51:]]
    yield "a line in two parts", same(figures(ledger(aggregate(torn)), 100), right(unique=99, torn=2, missing=[[50, 51]]))
    cut = [*good[:50], half[:-10] + b"\n", *good[51:]]
    yield "a line cut off", same(figures(ledger(aggregate(cut)), 100), right(unique=99, torn=1, missing=[[50, 51]]))
    glued = [*good[:50], half[:-1] + good[51], *good[52:]]
    yield "two lines in one", same(figures(ledger(aggregate(glued)), 100), right(unique=98, torn=1, missing=[[50, 52]]))
    no_newline = [*good[:50], half[:-1], *good[51:]]
    yield "no newline", same(figures(ledger(aggregate(no_newline)), 100), right(unique=99, torn=1, missing=[[50, 51]]))
    broken = bytearray(aggregate(good))
    broken[40] ^= 1
    yield "damaged", same(figures(ledger(bytes(broken)), 100), right(unique=0, bad=1, missing=[[0, 100]]))
    yield "another file between", same(figures(ledger(aggregate([*good[:50], *of(1, range(5)), *good[50:]])), 100), right(unique=105))
    random_order = random.Random(3).sample(good, 100)
    yield "any order, all there", same(figures(ledger(aggregate(random_order)), 100)["missing"], [])


def judged(stats, missing, mode="rename", kill=False, **more):
    """The findings of a storm with 100 lines."""
    s = Storm(Path("."), mode, Path("."), kill=kill, rate=100, **more)
    wrote = {"lines": {"0": 100} | ({"1": 10} if mode == "copytruncate" else {}), "seconds": 1, "rotations": 1, "inodes_reused": 0, "bytes": 1}
    base = {"torn": 0, "duplicates": 0, "disorder": 0, "bad": 0, "samples": []}
    killer = storm.Killer(1, 0) if kill else None
    if killer:
        killer.down = [[10.0, 10.2]]
    events = [{"what": "made", "t": 0, "first": 0}, {"what": "unlinked", "t": 5.0, "first": 0, "end": 50},
              {"what": "unlinked", "t": 10.1, "first": 50, "end": 100}]
    return storm.judge(s, wrote, base | stats, missing, killer, events, storm.Meter(), 0, 1.0)[1]


def judge_cases():
    def needs(found, text):
        return [] if (any(text in f for f in found) if text else not found) else [f"found {found}, expected {text}"]

    yield "storm: all well", needs(judged({}, {"0": []}), "")
    yield "storm: lost", needs(judged({}, {"0": [[3, 5]]}), "2 lines lost")
    yield "storm: duplicates", needs(judged({"duplicates": 1}, {"0": []}), "1 duplicates")
    yield "storm: duplicates after a kill", needs(judged({"duplicates": 1}, {"0": []}, kill=True), "")
    yield "storm: torn", needs(judged({"torn": 1, "samples": ["src=00000 seq=00"]}, {"0": []}), "1 torn")
    yield "storm: disorder", needs(judged({"disorder": 1}, {"0": []}, kill=True), "disorder: 1")
    yield "storm: bad", needs(judged({"bad": 1}, {"0": []}), "bad: 1")
    yield "storm: what the rotator lost", needs(judged({"torn": 1, "samples": ["src=00001 seq=0"]}, {"0": [], "1": [[0, 9]]}, "copytruncate"), "")
    yield "storm: lost with copytruncate", needs(judged({}, {"0": [[0, 1]], "1": []}, "copytruncate"), "1 lines lost")
    yield "storm: unlinked while away", needs(judged({}, {"0": [[60, 70]]}, "delete", kill=True), "")
    yield "storm: unlinked long before", needs(judged({}, {"0": [[40, 70]]}, "delete", kill=True), "10 lines lost")
    yield "storm: too slow a machine", needs(judged_slow(), "too busy")


def judged_slow():
    s = Storm(Path("."), "rename", Path("."), rate=1000)
    wrote = {"lines": {"0": 100}, "seconds": 1, "rotations": 1, "inodes_reused": 0, "bytes": 1}
    stats = {"torn": 0, "duplicates": 0, "disorder": 0, "bad": 0, "samples": []}
    return storm.judge(s, wrote, stats, {"0": []}, None, [], storm.Meter(), 0, 1.0)[1]


def copies_case():
    """What is in a copy or in the file is not excused; what is in none is, and parts of lines that lie in a copy."""
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder)
        lines = of(0, range(10))
        (logs / "app.log.1").write_bytes(b"".join(lines[:4]) + lines[4][:40])
        (logs / "app.log").write_bytes(b"".join(lines[8:]))
        s, files = Storm(Path("."), "plain", logs, logs=logs), filesystems.Files()
        excused, torn = files.excused(s), files.excused_torn(s)
        got = ([n for n in range(10) if n in excused], lines[4][:40].decode() in torn, lines[1][:40].decode() in torn)
        yield "copies: what is in none", same(got, ([4, 5, 6, 7], True, False))


class Scene:
    def __init__(self, order, written=None):
        self.scenario, self.written = {"order": order}, written or {}


def scenario_cases():
    def kept(*events, key="k"):
        return [(key, e + b"\n") for e in events]

    def finds(found, some):
        return [] if bool(found) == some else [f"found {found}"]

    compare = tail_scenarios.compare
    yield "scenario: exact", finds(compare(Scene("exact"), [b"a", b"b"], kept(b"a", b"b")), False)
    yield "scenario: exact, swapped", finds(compare(Scene("exact"), [b"a", b"b"], kept(b"b", b"a")), True)
    yield "scenario: set, swapped", finds(compare(Scene("set"), [b"a", b"b"], kept(b"b", b"a")), False)
    yield "scenario: set, twice", finds(compare(Scene("set"), [b"a", b"b"], kept(b"a", b"b", b"b")), True)
    yield "scenario: set, missing", finds(compare(Scene("set"), [b"a", b"b"], kept(b"a")), True)
    files = {"x": b"a\nb\n", "y": b"c\n"}
    both = kept(b"a", b"b") + kept(b"c", key="l")
    yield "scenario: per file", finds(compare(Scene("per_file", files), [b"a", b"b", b"c"], both), False)
    yield "scenario: per file, one key", finds(compare(Scene("per_file", files), [b"a", b"b", b"c"], kept(b"a", b"b", b"c")), True)
    yield "scenario: per file, swapped", finds(compare(Scene("per_file", files), [b"a", b"b", b"c"], kept(b"b", b"a") + kept(b"c", key="l")), True)
    long = tail_scenarios.Truncated(b"x" * 20, 10)
    event = b'{"message":"xxxxxxxxxx","truncated":true}'
    yield "scenario: truncated", finds(compare(Scene("exact"), [long], kept(event)), False)
    yield "scenario: not truncated", finds(compare(Scene("exact"), [long], kept(b"x" * 10)), True)


def main():
    report = common.Report(quiet=True)
    for cases in (ledger_cases, judge_cases, copies_case, scenario_cases):
        for name, found in cases():
            began = time.monotonic()
            report.case(name, found, time.monotonic() - began)
    sys.exit(report.end())


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Tests the suite itself, without the agent: it must pass what is right and fail, for the right reason, what is not.

    selftest.py --npm DIR --work DIR

First the checks alone, on records packed by Amazon's aggregator; then whole cases of consumers.py with fake_agent.py against
moto, once as it should be and once for each of its faults. The last line is "N passed, M failed".
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import checks
import consumers
import corpora
import fake_agent
import kcl
import servers

HERE = Path(__file__).resolve().parent
# How long an event is waited for that the fake agent drops, seconds.
LOST_DEADLINE = 10
# What the suite must say about each fault of the fake agent: format, partition key, a part of the finding.
FAULTS = {
    "drop": ("lines", "random", "missing: 1 events"),
    "twice": ("kpl", "random", "unexpected or twice: 1 events"),
    "altered": ("single", "random", "missing: 1 events"),
    "mixed-keys": ("kpl", "random", "the KCL drops all"),
    "wrong-outer-key": ("kpl", "random", "the KCL drops all"),
    "md5": ("kpl", "random", "not an aggregate (MD5 differs)"),
    "proto3": ("kpl", "source", "a required field is missing"),
    "no-newline": ("kpl", "source", "user record is not one line"),
    "disorder": ("lines", "source", "are no file's events in order"),
    "forgets": ("kpl", "random", "restart with nothing new"),
    "tail": ("lines", "random", "restart with more lines: missing: 3 events"),
    "exit": ("single", "source", "exit code 3"),
    "metrics": ("lines", "random", "promtool check metrics"),
}


def store(records, shards):
    """Routes records as the service does."""
    out = []
    for i, (key, hash_key, data) in enumerate(records):
        h = int(hash_key) if hash_key and hash_key != "None" else kcl.key_hash(key)
        shard = next(s for s in shards if s.start <= h <= s.end)
        out.append(checks.Stored(shard.id, key, str(i), data))
    return out


def moved(record, shard):
    return checks.Stored(shard, record.key, record.sequence, record.data)


def equal_shards(n):
    return [checks.Shard(f"shard-{i}", i << 128 >> n.bit_length() - 1, ((i + 1 << 128) >> n.bit_length() - 1) - 1) for i in range(n)]


def pure_cases(npm):
    """(name, findings, what must be among them or None for none)."""
    shards = equal_shards(4)
    events = [f"event {i} ü".encode() for i in range(2000)] + [b"", b"\xff\x00\r", b"x" * 100_000]
    for fmt in ("kpl", "lines", "single"):
        for key in ("random", "source"):
            case = consumers.Case("none", fmt, key, "raw")
            records = fake_agent.pack(events, fmt, "app.log" if key == "source" else None)
            verify = lambda stored: checks.verify(stored, shards, case, [events], npm)
            good = store(records, shards)
            yield f"good {fmt} {key}", verify(good), None
            yield f"record missing {fmt} {key}", verify(good[:1] + good[2:]), "missing"
            again = checks.Stored(good[-1].shard, good[-1].key, "999999", good[-1].data)
            yield f"record twice {fmt} {key}", verify([*good, again]), "unexpected or twice"
            if key == "source":
                split = [moved(r, "shard-0" if r.shard != "shard-0" else "shard-1") if i % 2 else r for i, r in enumerate(good)]
                yield f"one key on two shards {fmt}", verify(split), "on shards"
                shuffled = [checks.Stored(r.shard, r.key, str(i), r.data) for i, r in enumerate([good[1], good[0], *good[2:]])]
                yield f"out of order {fmt}", verify(shuffled), "in order"
    one = checks.Shard("shard-0", 0, kcl.MAX_HASH)
    mixed = store([fake_agent.aggregate("k", None, [b"a\n", b"b\n", b"c\n"], keys=["k1", "k2", "k3"])], [one])
    found = checks.unpack(mixed, "kpl", [one], npm)[1]
    yield "mixed keys on one shard", found, "with 16 shards the KCL would drop"
    big = [checks.Stored("shard-0", "key", "1", b"x" * (checks.RECORD_LIMIT - 3) + b"\n")]
    yield "over the record limit with its key", checks.unpack(big, "single", shards, npm)[1], "over 1048576"
    yield "sequence numbers", checks.outer_limits([checks.Stored("s", "k", "2", b"a"), checks.Stored("s", "k", "2", b"a")]), "does not grow"
    half = fake_agent.proto3_aggregate("k", [b"a\n"])
    yield "required fields", checks.unpack([checks.Stored("shard-0", "k", "1", half)], "kpl", shards, npm)[1], "a required field"


def summary_cases():
    """How corpora.py reads the summary of a demo."""
    for text, want in (("lost 0, duplicates 0", 0), ("lost: 12", 12), ("0 lost", 0), ("lost=1,234 duplicates=0", 1234), ("nothing", None),
                       ('{"lost":0,"duplicates":3}', 0), ("lost          7\nduplicates    0", 7)):
        got = corpora.stated(text, "lost")
        yield f"summary {text!r}", [] if got == want else [f"read as {got}"], None


def whole_cases(opt):
    """As pure_cases, with the fake agent against a real server."""
    opt.command = [sys.executable, str(HERE / "fake_agent.py")]
    with servers.Server("moto", log_dir=opt.work) as moto:
        for fmt, key, parse in (("kpl", "random", "json"), ("kpl", "source", "raw"), ("lines", "source", "json"), ("single", "random", "raw")):
            os.environ.pop("FAKE_FAULT", None)
            yield f"fake agent {fmt} {key} {parse}", consumers.run_case(consumers.Case("moto", fmt, key, parse), moto, opt), None
        for fault in fake_agent.FAULTS:
            if fault == "metrics" and not opt.promtool:
                continue
            fmt, key, finding = FAULTS[fault]
            os.environ["FAKE_FAULT"] = fault
            # What never arrives is waited for in vain; everything else of the fault takes as long as it takes.
            opt.deadline = LOST_DEADLINE if fault == "drop" else servers.DEADLINE
            case = consumers.Case(f"fault-{fault}", fmt, key, "json")
            yield f"fake agent with fault {fault}", consumers.run_case(case, moto, opt), finding
        os.environ.pop("FAKE_FAULT", None)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--npm", type=Path, required=True)
    p.add_argument("--work", type=Path)
    p.add_argument("--promtool", type=Path)
    p.add_argument("--quiet", action="store_true", help="print failed cases only")
    p.add_argument("--quick", action="store_true", help="the checks alone, without server and fake agent")
    opt = p.parse_args()
    work = opt.work.resolve() if opt.work else Path(tempfile.mkdtemp(prefix="interop-selftest-"))
    opt.work, opt.keep, opt.deadline = work, False, servers.DEADLINE
    consumers.FIRST_LINES, consumers.LATER_LINES, consumers.APPENDED_LINES = 80, 40, 20
    report = consumers.Report(quiet=opt.quiet)
    cases = [*pure_cases(opt.npm), *summary_cases()]
    for name, found, want in cases:
        report.case(name, judge(found, want), 0.0)
    if not opt.quick:
        t = time.monotonic()
        for name, found, want in whole_cases(opt):
            report.case(name, judge(found, want), time.monotonic() - t)
            t = time.monotonic()
    if not report.failed:
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(report.end())


def judge(found, want):
    """A self-test passes when the findings are those that were asked for."""
    if want is None:
        return found
    return [] if any(want in f for f in found) else [f"expected a finding with {want!r}, got {found}"]


if __name__ == "__main__":
    main()

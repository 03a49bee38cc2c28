#!/usr/bin/env python3
"""Runs the file life-cycle scenarios of other agents' tests against ours.

    tail_scenarios.py BIN SCENARIOS.jsonl [--only TEXT] [--keep]

A scenario is a list of steps on files and on the agent, and the records that must arrive, each once; the format is described
beside the scenarios. What differs on purpose is adapted here, each with its reason: see `adapt`. The agent runs with
`parse: raw` and `partition_key: source`; sink.py takes Kinesis' place, so a record is an event without its newline.
The last line is "N passed, M failed, K skipped".
"""

import argparse
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import common
from agent import RUNNING, Agent
from sink import Sink

# Longer than the pauses in the scenarios after which an old file is still written to; short enough to wait for.
ROTATE_WAIT_S = 2
# How long to look for records that must not come, beyond rotate_wait.
SETTLE_S = 1.0
# Each scenario's records come within moments; one that waits in vain need not take minutes.
WAIT_S = 30
# The smallest max_line_bytes that the agent accepts is 1 KiB. Where a scenario has a smaller one, 10 bytes, every character of
# its lines stands for so many: 10 are then 1030, which is the limit, and 11 are over it, as in the scenario.
SCALE, LEAST_MAX_LINE = 103, 1024


class Different(Exception):
    """What came is not what was expected."""


def text_of(record):
    """A record as bytes; long ones are given by what they repeat."""
    return (record["repeat"] * record["len"] if isinstance(record, dict) else record).encode()


def data_of(step, factor=1):
    """The bytes that a step writes. What it repeats is far over any limit as it is, and is not made longer."""
    if step["op"] == "write_repeat":
        return ((step.get("char") or step.get("text")) * step["count"] + step.get("end", "")).encode()
    return "\n".join("".join(c * factor for c in line) for line in step["data"].split("\n")).encode()


class Truncated:
    """Expected in place of a long line: its first bytes and a mark."""

    def __init__(self, line, limit):
        self.line, self.limit = line, limit

    def matches(self, event):
        try:
            o = json.loads(event)
        except ValueError:
            return False
        return o == {"message": self.line[: self.limit].decode(), "truncated": True}

    def __repr__(self):
        return f"<the first {self.limit} of {len(self.line)} bytes, truncated: {self.line[:20]}...>"


def adapt(scenario, has_exclude):
    """(records expected, factor, source settings by start, why it cannot be run)."""
    starts = [s for s in scenario["steps"] if s["op"] == "start"]
    records, factor, settings = [text_of(r) for r in scenario["records"]], 1, []
    for start in starts:
        o = dict(start["options"])
        source = {"start_at": o.pop("read_from", "beginning"), "rotate_wait": f"{ROTATE_WAIT_S}s"}
        if "exclude" in o:
            if not has_exclude:
                return None, 1, [], "this binary has no setting `exclude`"
            source["exclude"] = o.pop("exclude")
        # A read takes what is there, up to a fixed quantum for each file and turn: there is nothing to set, and the order
        # that the scenario checks holds within a file only.
        o.pop("max_read_bytes", None)
        # Lines end with \n; a carriage return before it belongs to the line's end.
        o.pop("line_delimiter", None)
        if "max_line_bytes" in o:
            limit = o.pop("max_line_bytes")
            if limit < LEAST_MAX_LINE:
                factor = SCALE
            source |= {"max_line_bytes": limit * factor, "long_lines": "truncate"}
            # Other agents drop the whole of a long line. Ours sends its beginning and a mark, so that nothing vanishes
            # silently: expected is every line of the file in its order, the long ones like that.
            if o.pop("long_lines", None) == "skip":
                records = with_beginnings(scenario, limit * factor, factor)
        if o:
            return None, 1, [], f"options that we do not have: {', '.join(o)}"
        settings.append(source)
    return records, factor, settings, None


def with_beginnings(scenario, limit, factor):
    written = b"".join(data_of(s, factor) for s in scenario["steps"] if s["op"] in ("write", "write_repeat"))
    lines = written.split(b"\n")[:-1]
    return [line if len(line) <= limit else Truncated(line, limit) for line in lines]


class Scene:
    """A scenario while it runs."""

    def __init__(self, binary, scenario, work, sink, factor, settings):
        self.binary, self.scenario, self.work, self.sink, self.factor = binary, scenario, work, sink, factor
        self.settings, self.handles, self.agent = list(settings), {}, None
        self.written = {}
        self.dir = work / "files" / "logs"
        self.dir.mkdir(parents=True)

    def path(self, name):
        return self.dir / name

    def do(self, step):
        getattr(self, "_" + step["op"])(step)
        time.sleep(self.scenario.get("pace_ms", 0) / 1000)

    def _write(self, step):
        data = data_of(step, self.factor)
        self.written[step["path"]] = self.written.get(step["path"], b"") + data
        with open(self.path(step["path"]), "ab") as f:
            f.write(data)

    _write_repeat = _write

    def _open(self, step):
        flags = os.O_APPEND if step["mode"] == "append" else os.O_TRUNC
        self.handles[step["h"]] = os.open(self.path(step["path"]), os.O_WRONLY | os.O_CREAT | flags, 0o644)

    def _hwrite(self, step):
        os.write(self.handles[step["h"]], data_of(step))

    def _hseek(self, step):
        os.lseek(self.handles[step["h"]], step["pos"], os.SEEK_SET)

    def _close(self, step):
        os.close(self.handles.pop(step["h"]))

    def _rename(self, step):
        os.rename(self.path(step["from"]), self.path(step["to"]))

    def _copy(self, step):
        shutil.copyfile(self.path(step["from"]), self.path(step["to"]))

    def _truncate(self, step):
        os.truncate(self.path(step["path"]), step["size"])

    def _unlink(self, step):
        os.unlink(self.path(step["path"]))

    def _symlink(self, step):
        os.symlink(step["target"], self.path(step["path"]))

    def _symlink_replace(self, step):
        os.symlink(step["target"], self.path(".new-link"))
        os.rename(self.path(".new-link"), self.path(step["path"]))

    def _mkdir(self, step):
        os.mkdir(self.path(step["path"]))

    def _sleep(self, step):
        time.sleep(step["ms"] / 1000)

    def _start(self, step):
        source = dict(self.settings.pop(0))
        globs = [str(self.dir / g) for g in step["include"]]
        if "exclude" in source:
            source["exclude"] = [str(self.dir / g) for g in source["exclude"]]
        there = {os.path.realpath(f) for g in globs for f in glob.glob(g)}
        source |= {"paths": globs, "parse": "raw"}
        kinesis = {"stream": "scenarios", "endpoint": self.sink.endpoint, "partition_key": "source"}
        self.agent = Agent([str(self.binary)], self.work, {"CONFIG": json.dumps({"sources": [source], "kinesis": kinesis})})
        self.agent.wait_ready()
        if source["start_at"] == "end":
            # What is written from now on must count as new, so the agent has to have seen the end of what is there.
            common.wait_for("the agent has opened the files", lambda: self._live() >= len(there), WAIT_S)

    def _live(self):
        m = re.search(r'^kinetail_source_files\{[^}]*state="live"[^}]*\} (\d+)', self.agent.get("/metrics")[1], re.MULTILINE)
        return int(m[1]) if m else 0

    def _stop(self, _):
        code = self.agent.stop()
        self.agent = None
        if code != 0:
            raise Different(f"exit code {code}")

    def _wait_records(self, step, ended=None):
        """`step["n"]` counts the source's records; with beginnings of long lines there are more, and all are waited for at the end."""

        def there():
            self.agent.ended()
            return len(self.sink.ledger.kept) >= step["n"]

        try:
            common.wait_for(f"{step['n']} records", there, WAIT_S)
        except TimeoutError:
            got = [e for _, e in self.sink.ledger.kept]
            raise Different(f"step {self.scenario['steps'].index(step) if step in self.scenario['steps'] else 'end'}: "
                            f"waited {WAIT_S} s for {step['n']} records, {len(got)} came: {shown(got)}") from None

    def close(self):
        if self.agent:
            self.agent.kill()
        for fd in self.handles.values():
            os.close(fd)


def shown(events):
    return [e if len(e) < 60 else e[:40] + b"... %d bytes" % len(e) for e in events][:30]


def agrees(expected, event):
    return expected.matches(event) if isinstance(expected, Truncated) else expected == event


def compare(scene, records, kept):
    """What is wrong with what arrived."""
    events = []
    for _, event in kept:
        if not event.endswith(b"\n"):
            return [f"an event does not end with a newline: {shown([event])}"]
        events.append(event[:-1])
    order = scene.scenario["order"]
    if order == "exact":
        same = len(events) == len(records) and all(agrees(r, e) for r, e in zip(records, events))
    else:
        same = Counter(events) == Counter(records) if not any(isinstance(r, Truncated) for r in records) else as_set(records, events)
    if not same:
        missing = [r for r in records if not any(agrees(r, e) for e in events)]
        extra = [e for e in events if not any(agrees(r, e) for r in records)]
        twice = [e for e, n in Counter(events).items() if n > 1]
        return [f"expected ({order}) {shown_records(records)}", f"came {shown(events)}", f"missing {shown_records(missing)}, "
                f"not expected {shown(extra)}, more than once {shown(twice)}"]
    return per_file(scene, kept) if order == "per_file" else []


def shown_records(records):
    return [r if isinstance(r, Truncated) or len(r) < 60 else r[:40] + b"... %d bytes" % len(r) for r in records][:30]


def as_set(records, events):
    left = list(events)
    for r in records:
        found = next((i for i, e in enumerate(left) if agrees(r, e)), None)
        if found is None:
            return False
        left.pop(found)
    return not left


def per_file(scene, kept):
    """The lines of each file have one partition key and came in their order."""
    by_key = {}
    for key, event in kept:
        by_key.setdefault(key, []).append(event)
    files = {name: data.splitlines(True) for name, data in scene.written.items()}
    return [f"key {key}: {shown(events)} are the lines of no file, in order" for key, events in by_key.items() if events not in files.values()]


def run(binary, scenario, work, has_exclude):
    """(findings, None) or ([], why it was skipped)."""
    records, factor, settings, why = adapt(scenario, has_exclude)
    if why:
        return [], why
    with Sink(keep=True) as sink:
        scene = Scene(binary, scenario, work, sink, factor, settings)
        try:
            for step in scenario["steps"]:
                scene.do(step)
            scene.do({"op": "wait_records", "n": len(records)})
            # Records that come twice, or lines that must not come, may need until old files are let go.
            time.sleep(ROTATE_WAIT_S + SETTLE_S)
            if scene.agent:
                scene.do({"op": "stop"})
            return compare(scene, records, sink.ledger.kept), None
        except Different as e:
            return [str(e), f"expected ({scenario['order']}) {shown_records(records)}"], None
        except (RuntimeError, TimeoutError) as e:
            return [f"{type(e).__name__}: {e}"], None
        finally:
            scene.close()


def end_now(*_):
    for agent in list(RUNNING):
        agent.proc.kill()
    os._exit(143)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("binary", type=Path, metavar="BIN")
    p.add_argument("scenarios", type=Path, metavar="SCENARIOS.jsonl")
    p.add_argument("--only", default="", help="scenarios whose name contains this")
    p.add_argument("--keep", action="store_true", help="keep the folder of failed scenarios")
    opt = p.parse_args()
    signal.signal(signal.SIGTERM, end_now)
    binary, report = opt.binary.resolve(), common.Report()
    schema = subprocess.run([str(binary), "schema"], capture_output=True, text=True, check=True).stdout
    for line in opt.scenarios.read_text().splitlines():
        scenario = json.loads(line)
        if opt.only not in scenario["id"]:
            continue
        began, work = time.monotonic(), Path(tempfile.mkdtemp(prefix="tail-")).resolve()
        found, why = run(binary, scenario, work, '"exclude"' in schema)
        if why:
            report.skip(scenario["id"], why)
        else:
            report.case(scenario["id"], found, time.monotonic() - began)
        if found and opt.keep:
            print(f"     kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    sys.exit(report.end())


if __name__ == "__main__":
    main()

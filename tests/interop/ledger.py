#!/usr/bin/env python3
"""The ledger under load and faults: /metrics is read several times a second, and no sum may ever be wrong.

    ledger.py --binary BIN [--seconds 60] [--every 0.2] [--work DIR]

One agent has six sources: files that are renamed, copied and truncated, deleted, truncated in place, a container's, a Forward server and a FIFO, the last two with
spools that are full and drop. Lines are blank, no JSON, too long, parts of stack traces, repeated, and dropped by every transform that can. The
stream throttles, fails, refuses requests for good so that there are dead letters, and is away for a while. Memory is little.
It runs in two ways: with the agent killed (-9) or told to end every few seconds, and with one life, after which what was counted is compared with what was
written. In each life, at every scrape:

  events_total = kinesis_user_records_total + dropped_events_total + in_flight_events
  source_found_bytes_total = source_settled_bytes_total + source_in_flight_bytes + source_backlog_bytes + abandoned_bytes_total of what was never settled

and no counter falls, no gauge is below zero. Then `source_backlog_seconds` is compared with times that are known.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import sys
import threading
import time
import traceback
import urllib.request
from pathlib import Path

import agent as agents
import common
import servers

STREAM = "ledger"
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# Bytes that were given up without being settled. What was cut off of long lines, and the NULs of holes, belong to lines that were.
UNSETTLED = ("deleted", "truncated", "spool")
SOURCES = ("renamed", "copied", "deleted", "cri", "forward", "fifo")
# A second is told late by so much at most: it is worked out once a second, on a busy machine.
LATE = 2.0


class Scrape:
    """The values of one moment."""

    def __init__(self, text):
        self.values = {}
        for line in text.splitlines():
            if not line.startswith("#") and (m := SAMPLE.match(line)):
                self.values[m[1], m[2] or ""] = float(m[3])

    def total(self, name, **labels):
        want = {f'{k}="{v}"' for k, v in labels.items()}
        return sum(v for (n, l), v in self.values.items() if n == f"kinetail_{name}" and want <= {f'{k}="{x}"' for k, x in LABEL.findall(l)})

    def events(self):
        return self.total("events_total"), self.total("kinesis_user_records_total"), self.total("dropped_events_total"), self.total("in_flight_events")

    def bytes(self):
        abandoned = sum(self.total("abandoned_bytes_total", reason=r) for r in UNSETTLED)
        return self.total("source_found_bytes_total"), self.total("source_settled_bytes_total"), self.total("source_in_flight_bytes"), self.total("source_backlog_bytes"), abandoned

    def by(self, name, label):
        out = {}
        for (n, l), v in self.values.items():
            if n == f"kinetail_{name}":
                key = dict(LABEL.findall(l)).get(label)
                out[key] = out.get(key, 0) + v
        return out


class Scraper(threading.Thread):
    """Reads the metrics of whatever agent there is, and compares each scrape with itself and with the one before it."""

    def __init__(self, every):
        super().__init__(daemon=True)
        self.every, self.agent, self.told, self.found, self.scrapes, self.last = every, None, threading.Event(), [], 0, None
        self.lives, self.peak, self.reasons, self.abandoned, self.events = 0, 0.0, {}, {}, 0.0
        self.peaks = {"in flight": 0.0, "in flight bytes": 0.0, "backlog bytes": 0.0, "behind": 0.0}
        self.lock = threading.Lock()

    def follow(self, agent):
        with self.lock:
            self.close()
            self.agent, self.last, self.lives = agent, None, self.lives + 1

    def close(self):
        if self.last:
            self.events += self.last.total("events_total")
            for into, name in ((self.reasons, "dropped_events_total"), (self.abandoned, "abandoned_bytes_total")):
                for reason, value in self.last.by(name, "reason").items():
                    into[reason] = into.get(reason, 0) + value

    def run(self):
        while not self.told.is_set():
            with self.lock:
                self.look()
            self.told.wait(self.every * random.uniform(0.5, 1.5))

    def look(self):
        status, text = self.agent.get("/metrics") if self.agent else (0, "")
        if status != 200:
            return
        now = Scrape(text)
        self.scrapes += 1
        events, delivered, dropped, in_flight = now.events()
        if events != delivered + dropped + in_flight:
            self.found.append(f"life {self.lives}: {events:.0f} events, {delivered:.0f} delivered, {dropped:.0f} dropped, {in_flight:.0f} in flight")
        found, settled, flying, backlog, abandoned = now.bytes()
        if found != settled + flying + backlog + abandoned:
            self.found.append(f"life {self.lives}: {found:.0f} bytes found, {settled:.0f} settled, {flying:.0f} in flight, {backlog:.0f} unread, {abandoned:.0f} given up")
        below = [k for k, v in now.values.items() if v < 0 and "skew" not in k[0]]
        fallen = [f"{k[0]}{{{k[1]}}} from {v:.0f} to {now.values.get(k, 0):.0f}" for k, v in (self.last.values if self.last else {}).items() if self.is_counter(k) and now.values.get(k, 0) < v]
        if below or fallen:
            self.found.append(f"life {self.lives}: below zero: {below[:3]}; fallen: {fallen[:3]}")
        for name, value in (("in flight", in_flight), ("in flight bytes", flying), ("backlog bytes", backlog), ("behind", max(now.by("source_backlog_seconds", "source").values(), default=0))):
            self.peaks[name] = max(self.peaks[name], value)
        self.last = now

    @staticmethod
    def is_counter(key):
        # A shard that is closed is forgotten; none is here.
        return key[0].endswith("_total") or key[0].endswith("_count") or key[0].endswith("_bucket")


class Writer(threading.Thread):
    """Writes one source's lines until it is told to stop. `lines` and `bytes` are what was written whole."""

    rate = 400

    def __init__(self, work, seed):
        super().__init__(daemon=True)
        self.work, self.rng, self.told, self.lines, self.bytes, self.error = work, random.Random(seed), threading.Event(), 0, 0, None

    def run(self):
        try:
            self.open()
            began = time.monotonic()
            while not self.told.is_set():
                self.burst([self.line() for _ in range(20)])
                time.sleep(max(0.0, began + self.lines / self.rate - time.monotonic()))
            self.end()
        except Exception as e:
            self.error = repr(e)

    def open(self):
        self.out = open(self.path, "ab", buffering=0)

    def write(self, data, lines):
        self.out.write(data)
        self.bytes += len(data)
        self.lines += lines

    def burst(self, lines):
        self.write(b"".join(lines), len(lines))
        if self.out.tell() > self.most:
            self.rotate()

    def end(self):
        self.out.close()


class Renamed(Writer):
    """JSON with everything that transforms drop, blank lines and lines that are no JSON."""

    name, most, rate = "renamed", 300_000, 1500

    def __init__(self, *args):
        super().__init__(*args)
        self.path, self.turn = self.work / "renamed.log", 0

    def line(self):
        kind = self.rng.random()
        if kind < 0.03:
            return b"\n"
        if kind < 0.06:
            return b"no json at all\n"
        level = self.rng.choice(("debug", "info", "warn", "error"))
        return json.dumps({"n": self.lines, "level": level, "status": self.rng.choice((200, 404, 500)), "user": f"u{self.rng.randrange(5)}", "message": f"m{self.rng.randrange(40)}", "pad": "p" * self.rng.randrange(600)}).encode() + b"\n"

    def rotate(self):
        self.turn += 1
        self.out.close()
        self.path.rename(self.work / f"renamed.log.{self.turn}")
        self.open()


class Copied(Writer):
    """Stack traces and lines that are too long, in a file that is copied and truncated."""

    name, most = "copied", 200_000

    def __init__(self, *args):
        super().__init__(*args)
        self.path, self.turn = self.work / "copied.log", 0

    def line(self):
        kind = self.rng.random()
        if kind < 0.02:
            return b"long " + b"y" * 6000 + b"\n"
        if kind < 0.2:
            return b"java.lang.IllegalStateException: %d\n\tat a.b.C.d(C.java:1)\n\tat a.b.C.e(C.java:2)\n" % self.lines
        return b"2026-01-02 03:04:05 INFO line %d of many words\n" % self.lines

    def burst(self, lines):
        self.write(b"".join(lines), b"".join(lines).count(b"\n"))
        if self.out.tell() > self.most:
            self.turn += 1
            shutil.copyfile(self.path, self.work / f"copied.log.{self.turn}")
            self.out.truncate(0)


class Deleted(Writer):
    """Deleted and made again, or truncated in place, with whatever was not read of it."""

    name, most, rate = "deleted", 150_000, 1500

    def __init__(self, *args):
        super().__init__(*args)
        self.path = self.work / "deleted.log"

    def line(self):
        return json.dumps({"n": self.lines, "pad": "q" * self.rng.randrange(900)}).encode() + b"\n"

    def rotate(self):
        if self.rng.random() < 0.5:
            return self.out.truncate(self.rng.choice((0, 0, 75_000)))
        self.path.unlink()
        self.out.close()
        self.open()


class Cri(Writer):
    """What a container runtime writes: two streams in one file, lines in pieces."""

    name, most = "cri", 200_000

    def __init__(self, *args):
        super().__init__(*args)
        self.path, self.turn = self.work / "cri.log", 0

    def line(self):
        stamp, stream = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".123456789Z", self.rng.choice(("stdout", "stderr"))
        tag = "P" if self.rng.random() < 0.2 else "F"
        return f"{stamp} {stream} {tag} piece {self.lines} {'z' * self.rng.randrange(200)}\n".encode()

    def rotate(self):
        self.turn += 1
        self.out.close()
        self.path.rename(self.work / f"cri.log.{self.turn}")
        self.open()


class Forward(Writer):
    """A Forward client whose messages are acknowledged, whether they are kept or dropped."""

    name, rate = "forward", 1200

    def open(self):
        self.path, self.socket, self.chunk = self.work / "fluent.sock", None, 0

    def line(self):
        return b"r" * self.rng.randrange(800)

    def burst(self, lines):
        entries = b"".join(b"\x92\xce" + struct.pack(">I", int(time.time())) + b"\x81\xa3log\xda" + struct.pack(">H", len(x)) + x for x in lines)
        try:
            if not self.socket:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.settimeout(30)
                self.socket.connect(str(self.path))
            self.socket.sendall(b"\x93\xa1t\xdc" + struct.pack(">H", len(lines)) + entries + b"\x81\xa5chunk\xa1c")
            answer = b""
            while not answer.endswith(b"\xa3ack\xa1c"):
                got = self.socket.recv(100)
                if not got:
                    raise OSError("closed")
                answer += got
            self.lines += len(lines)
        except OSError:
            # The agent was killed; the next one listens soon.
            self.socket = None
            time.sleep(0.1)

    def end(self):
        if self.socket:
            self.socket.close()


class Fifo(Writer):
    """Lines for a FIFO; while nobody reads it they are not written."""

    name, rate = "fifo", 1200

    def open(self):
        self.path, self.fd = self.work / "in.fifo", None

    def line(self):
        return b"s" * self.rng.randrange(800) + b".\n"

    def burst(self, lines):
        try:
            if self.fd is None:
                self.fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
                os.set_blocking(self.fd, True)
            data = b"".join(lines)
            while data:
                data = data[os.write(self.fd, data) :]
            self.lines += len(lines)
        except OSError:
            self.fd = None
            time.sleep(0.1)

    def end(self):
        if self.fd is not None:
            os.close(self.fd)


def config(work, endpoint):
    transforms = [
        {"drop": "status == 404"},
        {"keep": 'level != "debug" or exists(pad)'},
        {"sample": {"rate": 0.5, "when": 'level == "debug"'}},
        {"rate_limit": {"events": 60, "per": "1s", "key": "{user}", "when": 'level == "info"'}},
        {"dedupe": {"fields": ["message"], "within": "500ms"}},
    ]
    sources = [
        {"name": "renamed", "paths": [f"{work}/renamed.log"], "parse": "json", "on_parse_error": "dead_letter", "transforms": transforms},
        {"name": "copied", "paths": [f"{work}/copied.log"], "multiline": {"preset": "java", "timeout": "300ms"}, "max_line_bytes": "4KiB", "long_lines": "truncate"},
        {"name": "deleted", "paths": [f"{work}/deleted.log"], "parse": "json", "on_parse_error": "drop", "deleted": {"max_wait": "500ms"}},
        {"name": "cri", "paths": [f"{work}/cri.log"], "format": "cri", "rotate_wait": "1s"},
        {"name": "forward", "type": "forward", "forward": {"unix": f"{work}/fluent.sock", "listen": []}},
        {"name": "fifo", "type": "fifo", "paths": [f"{work}/in.fifo"]},
    ]
    document = {
        "sources": sources,
        "kinesis": {"stream": STREAM, "endpoint": endpoint, "partition_key": "source", "request_timeout": "2s"},
        "memory_limit": "3MiB",
        "shutdown": {"timeout": "2s"},
    }
    return document


def control(server, **plan):
    request = urllib.request.Request(f"{server.endpoint}/_kinetail/faults", data=json.dumps({**plan, "operations": ["PutRecords"]}).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


NOISE = {"throttle": 0.05, "fail_records": 0.02, "close_after": 0.01, "fail_requests": 0.01}
# What the stream does, in turn, each for so many seconds.
WEATHER = (
    (4, NOISE),
    (3, {**NOISE, "fail_requests": 0.5, "fail_requests_code": "ValidationException"}),
    (4, {"fail_requests": 1.0}),
    (4, {"shard_bytes_per_s": 150_000}),
    (3, {"latency_min_ms": 100, "latency_max_ms": 400, "hang": 0.05}),
)


def weather(server, told):
    while True:
        for seconds, plan in WEATHER:
            control(server, **plan)
            if told.wait(seconds):
                return control(server)


def storm(opt, name, kills, policy, found):
    work = opt.work / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with servers.Server("kinetail-local", None, opt.binary, work / "servers") as server:
        server.create_stream(STREAM, 2)
        document = config(work, server.endpoint)
        document["spool"] = {"max_bytes": "1MiB", "segment_bytes": "256KiB", "on_full": policy}
        settings = {"CONFIG": json.dumps(document)}
        start = lambda: agents.Agent([str(opt.binary)], work, settings)
        writers, scraper, told = [kind(work, n) for n, kind in enumerate((Renamed, Copied, Deleted, Cri, Forward, Fifo))], Scraper(opt.every), threading.Event()
        changing = threading.Thread(target=weather, args=(server, told), daemon=True)
        agent, rng = start(), random.Random(3)
        try:
            scraper.follow(agent)
            scraper.start()
            common.wait_for("the socket and the FIFO", lambda: (work / "fluent.sock").exists() and (work / "in.fifo").exists() or agent.ended())
            for thread in (*writers, changing):
                thread.start()
            end = time.monotonic() + opt.seconds
            while time.monotonic() < end:
                time.sleep(min(rng.uniform(2, 7), max(0.0, end - time.monotonic())))
                agent.ended()
                if kills and time.monotonic() < end:
                    if rng.random() < 0.7:
                        agent.kill()
                    elif (code := agent.stop()) != 0:
                        found.append(f"exit code {code}")
                    agent = start()
                    scraper.follow(agent)
            for writer in writers:
                writer.told.set()
            for writer in writers:
                writer.join(60)
                if writer.error:
                    found.append(f"{writer.name}: {writer.error}")
            told.set()
            changing.join()
            quiet(agent, found)
            time.sleep(3 * opt.every)
        finally:
            scraper.told.set()
            scraper.join()
            scraper.close()
            code = agent.stop()
            agent.kill()
        if code != 0:
            found.append(f"exit code {code}")
        found += scraper.found[:5]
        judge(scraper, writers, kills, policy, found)
    return scraper


def quiet(agent, found):
    """Everything is settled, and nothing is in flight."""

    def is_quiet():
        agent.ended()
        now = Scrape(agent.get("/metrics")[1])
        is_quiet.last = now
        return now.values and now.total("in_flight_events") == 0 and now.total("source_in_flight_bytes") == 0 and now.total("source_backlog_bytes") == 0

    try:
        common.wait_for("everything is settled", is_quiet, 120, 0.3)
    except TimeoutError:
        found.append(f"not everything is settled after two minutes: events {is_quiet.last.events()}, bytes {is_quiet.last.bytes()}")


def judge(scraper, writers, kills, policy, found):
    """What was counted in one life is what was written."""
    last, of = scraper.last, {w.name: w for w in writers}
    if not kills:
        for name in ("renamed", "copied", "cri"):
            bytes_ = last.total("source_found_bytes_total", source=name)
            if bytes_ != of[name].bytes:
                found.append(f"{name}: {of[name].bytes} bytes were written and {bytes_:.0f} found")
        if (events := last.total("events_total", source="renamed")) < of["renamed"].lines:
            found.append(f"renamed: {of['renamed'].lines} lines were written, {events:.0f} events made")
        for name in ("forward", "fifo"):
            if (events := last.total("events_total", source=name)) != of[name].lines:
                found.append(f"{name}: {of[name].lines} events were handed over, {events:.0f} are in the ledger")
        if (bytes_ := last.total("source_found_bytes_total", source="deleted")) > of["deleted"].bytes:
            found.append(f"deleted: {of['deleted'].bytes} bytes were written and {bytes_:.0f} found")
    wanted = {"blank", "parse_error", "drop", "sample", "rate_limit", "dedupe", policy}
    if missing := wanted - scraper.reasons.keys():
        found.append(f"nothing was dropped for {', '.join(sorted(missing))}: the run says nothing of that")
    if not scraper.abandoned.keys() & {"deleted", "truncated"} or "long_line" not in scraper.abandoned:
        found.append(f"nothing was given up: {scraper.abandoned}")


def show(name, s):
    print(f"     {name}: {s.scrapes} scrapes of {s.lives} lives, {len(s.found)} wrong; {s.events:.0f} events; at most {s.peaks['in flight']:.0f} events, {s.peaks['in flight bytes']:.0f} bytes in flight, {s.peaks['backlog bytes']:.0f} bytes unread, {s.peaks['behind']:.1f} s behind")
    print("     dropped: " + ", ".join(f"{k} {v:.0f}" for k, v in sorted(s.reasons.items())))
    print("     given up, bytes: " + ", ".join(f"{k} {v:.0f}" for k, v in sorted(s.abandoned.items())), flush=True)


class Behind:
    """`source_backlog_seconds` against times that are known, while the stream takes nothing."""

    def __init__(self, opt):
        self.opt, self.found, self.work, self.rows = opt, [], opt.work / "behind", []
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)

    def run(self):
        with servers.Server("kinetail-local", None, self.opt.binary, self.work / "servers") as server:
            server.create_stream(STREAM, 2)
            sources = [
                {"name": "told", "paths": [f"{self.work}/told.log"], "parse": "json", "timestamp": {"field": "time"}},
                {"name": "plain", "paths": [f"{self.work}/plain.log"]},
                {"name": "cri", "paths": [f"{self.work}/cri.log"], "format": "cri"},
                {"name": "idle", "paths": [f"{self.work}/idle.log"]},
            ]
            settings = {"CONFIG": json.dumps({"sources": sources, "kinesis": {"stream": STREAM, "endpoint": server.endpoint, "partition_key": "source"}, "memory_limit": "1MiB"})}
            start = lambda: agents.Agent([str(self.opt.binary)], self.work, settings)
            for name in ("told", "plain", "cri", "idle"):
                (self.work / f"{name}.log").write_text("")
            with start() as agent:
                agent.wait_ready()
                (self.work / "idle.log").write_text("delivered at once\n")
                common.wait_for("the first event is delivered", lambda: Scrape(agent.get("/metrics")[1]).total("kinesis_user_records_total") == 1)
                control(server, fail_requests=1.0)
                began = time.time()
                self.append("told", began - 3600)
                self.append("plain", began)
                self.append("cri", began)
                self.since = {"told": began - 3600, "plain": began, "cri": began, "idle": None}
                for second in range(6):
                    time.sleep(1)
                    # Newer ones change nothing of the age of the oldest.
                    self.append("told", time.time())
                    self.append("cri", time.time())
                    self.append("plain", time.time())
                    if second > 1:
                        self.compare(agent, "waiting")
                agent.kill()
            time.sleep(2)
            # Of a plain line nothing is known after a restart but when the file was last written.
            self.since["plain"] = (self.work / "plain.log").stat().st_mtime
            with start() as agent:
                common.wait_for("the admin server answers", lambda: agent.get("/startupz")[0] == 200 or agent.ended())
                time.sleep(3)
                self.compare(agent, "after a kill")
                control(server)
                self.since = dict.fromkeys(self.since)
                common.wait_for("all is delivered", lambda: Scrape(agent.get("/metrics")[1]).total("in_flight_events") == 0)
                time.sleep(2.5)
                self.compare(agent, "delivered")
                if (code := agent.stop()) != 0:
                    self.found.append(f"exit code {code}")
        return self.found

    def append(self, name, at):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06d}Z"
        line = {"told": json.dumps({"time": stamp, "m": "x"}), "plain": "x", "cri": f"{stamp} stdout F x"}[name]
        with open(self.work / f"{name}.log", "a") as out:
            out.write(line + "\n")

    def compare(self, agent, when):
        now, at = Scrape(agent.get("/metrics")[1]), time.time()
        told = now.by("source_backlog_seconds", "source")
        for name, since in self.since.items():
            want = 0.0 if since is None else at - since
            # It is never ahead of the time.
            if not want - LATE <= told[name] <= want + 0.3:
                self.found.append(f"{when}: {name} is {told[name]:.2f} s behind by the metric, and {want:.2f} s in truth")
        self.rows.append(f"     {when:13} " + ", ".join(f"{n} {told[n]:.2f} ({0.0 if s is None else at - s:.2f})" for n, s in self.since.items()))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", type=Path, required=True)
    p.add_argument("--seconds", type=float, default=60, help="how long each of the two ways lasts")
    p.add_argument("--every", type=float, default=0.2, help="seconds between two scrapes")
    p.add_argument("--only", default="kills,one life,behind")
    p.add_argument("--work", type=Path, required=True)
    opt = p.parse_args()
    opt.binary, opt.work = opt.binary.resolve(), opt.work.resolve()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    report = common.Report()
    for name, kills, policy in (("kills", True, "drop_oldest"), ("one life", False, "drop_newest")):
        if name not in opt.only.split(","):
            continue
        began, found = time.monotonic(), []
        try:
            show(name, storm(opt, name.replace(" ", "-"), kills, policy, found))
        except Exception:
            found.append(traceback.format_exc())
        report.case(f"the ledger adds up: {name}", found, time.monotonic() - began)
    if "behind" in opt.only.split(","):
        began, behind = time.monotonic(), Behind(opt)
        try:
            behind.run()
        except Exception:
            behind.found.append(traceback.format_exc())
        print("\n".join(behind.rows), flush=True)
        report.case("how far behind, by the metric (in truth)", behind.found, time.monotonic() - began)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""A stand-in for Kinesis that takes PutRecords, takes KPL aggregates apart, and knows of every numbered line how often it came.

    sink.py [--port N]        prints {"port": N} when it listens; ends with SIGTERM

GET /stats: totals. POST /missing {"0": 1000, ...}: for each src with so many lines, the ranges [first, end) that did not come.
POST /control {"delay_ms": 5, "refuse": true}: how it answers from now on. Lines are those of numbered.py; whatever else
comes counts as torn, and with {"wrapped": true} lines within a field of JSON count as lines too. A record is acknowledged only after it was counted. It has no limits of a service: what is tested is the
reader. Used in one process too: Sink(keep=True) keeps every event.
"""

import argparse
import base64
import hashlib
import json
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import common
import numbered

MAGIC = b"\xf3\x89\x9a\xc2"
VARINT = rb"[\x80-\xff]{0,3}[\x00-\x7f]"
# A user record of the aggregate's only key that holds one whole numbered line.
RECORD = re.compile(rb"(?s)(\x1a" + VARINT + rb"\x08\x00\x1a" + VARINT + numbered.SHAPE + rb"\n)")
# A line that is a field's text.
WRAPPED = re.compile(rb'\{.*"' + numbered.SHAPE + rb'".*\}\n', re.DOTALL)
NOT_ZERO = re.compile(rb"[^\0]")
# Strange events of which the text is kept, and how much of each.
SAMPLES, SAMPLE_BYTES = 2000, 200


class Malformed(Exception):
    """Not the KPL's format."""


def varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("a number goes on past its end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """(number, value) of each field of a protobuf message; only the two wire types that the format has."""
    at, out = 0, []
    while at < len(data):
        tag, at = varint(data, at)
        value, at = varint(data, at)
        if tag & 7 == 2:
            if at + value > len(data):
                raise Malformed("a field goes on past its end")
            value, at = data[at : at + value], at + value
        elif tag & 7 != 0:
            raise Malformed(f"wire type {tag & 7}")
        out.append((tag >> 3, value))
    return out


def body_of(data):
    """The protobuf of an aggregate, or None if the record is none."""
    if data[:4] != MAGIC:
        return None
    body = data[4:-16]
    if hashlib.md5(body).digest() != data[-16:]:
        raise Malformed("the MD5 differs")
    return body


def events_of(data):
    """The events of a record: those of an aggregate, or the record itself."""
    body = body_of(data)
    if body is None:
        return [data]
    events = []
    for number, value in fields(body):
        if number == 3:
            events.append(dict(fields(value))[3])
    return events


class Source:
    """What came of one src. `count` has a byte for each seq: how often, up to 255."""

    def __init__(self):
        self.count, self.unique, self.duplicates, self.disorder, self.next = bytearray(), 0, 0, 0, 0

    def add(self, numbers):
        first, end = numbers[0], numbers[-1] + 1
        if max(numbers) >= len(self.count):
            self.count.extend(bytes(max(numbers) + 1 - len(self.count) + 100_000))
        if first >= self.next and end - first == len(numbers) and numbers == list(range(first, end)):
            self.count[first:end] = b"\1" * len(numbers)
            self.unique += len(numbers)
            self.next = end
            return
        for n in numbers:
            if self.count[n]:
                self.duplicates += 1
                self.count[n] = min(255, self.count[n] + 1)
                continue
            self.count[n] = 1
            self.unique += 1
            # Only the first copy counts: a second one, after a kill, may come after later lines.
            self.disorder += n < self.next
            self.next = max(self.next, n + 1)

    def missing(self, total):
        ranges, at, have = [], 0, self.count[:total].ljust(total, b"\0")
        while (start := have.find(b"\0", at)) >= 0:
            found = NOT_ZERO.search(have, start)
            at = found.start() if found else total
            ranges.append([start, at])
        return ranges


class Ledger:
    """Everything that came, in the order in which it was stored."""

    def __init__(self, keep=False):
        self.lock, self.sources, self.kept = threading.Lock(), {}, [] if keep else None
        self.requests = self.records = self.bad = self.torn = self.events = self.bytes = self.slow = 0
        self.samples, self.latencies, self.latencies_from = [], [], None
        self.wrapped = False

    def add(self, key, data):
        self.records += 1
        self.bytes += len(data)
        try:
            body = body_of(data)
            if body is not None and self.kept is None and self._fast(body):
                return
            events = events_of(data)
        except (Malformed, KeyError) as e:
            self.bad += 1
            self._sample(f"bad aggregate: {e}".encode())
            return
        self.slow += 1
        for event in events:
            self._event(key, event)

    def _fast(self, body):
        """A whole aggregate of numbered lines at once; False if anything in it is not that."""
        start = body.find(b"\x1a")
        found = RECORD.findall(body, start)
        if not found or b"".join([f[0] for f in found]) != body[start:]:
            return False
        self.events += len(found)
        by_src = {}
        if found[0][1] == found[-1][1] and len({f[1] for f in found}) == 1:
            by_src[found[0][1]] = found
        else:
            for f in found:
                by_src.setdefault(f[1], []).append(f)
        for src, of_src in by_src.items():
            self._numbers(int(src), [int(f[2]) for f in of_src], of_src)
        return True

    def _event(self, key, event):
        self.events += 1
        if self.kept is not None:
            self.kept.append((key, event))
            return
        m = numbered.LINE.fullmatch(event[:-1]) if event.endswith(b"\n") else None
        if not m and self.wrapped:
            m = WRAPPED.fullmatch(event)
        if not m:
            self.torn += 1
            self._sample(event)
            return
        self._numbers(int(m[1]), [int(m[2])], [(event, m[1], m[2], m[3])])

    def _numbers(self, src, numbers, found):
        self.sources.setdefault(src, Source()).add(numbers)
        if self.latencies_from is not None and src >= self.latencies_from:
            now = time.time()
            self.latencies += [now - int(f[3]) / 1e6 for f in found]

    def _sample(self, text):
        if len(self.samples) < SAMPLES:
            self.samples.append(text[:SAMPLE_BYTES])

    def stats(self):
        with self.lock:
            s = self.sources.values()
            return {"requests": self.requests, "records": self.records, "events": self.events, "bytes": self.bytes, "slow": self.slow,
                    "bad": self.bad, "torn": self.torn, "unique": sum(x.unique for x in s), "duplicates": sum(x.duplicates for x in s),
                    "disorder": sum(x.disorder for x in s), "unique_of": {k: v.unique for k, v in self.sources.items() if k < 10},
                    "duplicates_of": {k: v.duplicates for k, v in self.sources.items() if k < 10},
                    "samples": [t.decode("latin-1") for t in self.samples]}

    def missing(self, totals):
        with self.lock:
            return {src: self.sources.get(int(src), Source()).missing(n) for src, n in totals.items()}


class Handler(socketserver.StreamRequestHandler):
    """HTTP/1.1 by hand: the module for it in Python takes longer for a request than everything else here."""

    disable_nagle_algorithm = True
    wbufsize = -1

    def handle(self):
        try:
            while self._request():
                self.wfile.flush()
        except OSError:
            pass  # Clients are killed in these tests.

    def _request(self):
        start = self.rfile.readline().split()
        if len(start) < 2:
            return False
        headers = {}
        while (line := self.rfile.readline()) not in (b"\r\n", b"\n", b""):
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get(b"content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            return False  # Killed while it wrote: nobody could have stored this.
        target = headers.get(b"x-amz-target", b"").decode().rpartition(".")[2]
        status, answer = self._api(target, body) if target else self._own(start[1].decode(), body)
        self._answer(status, answer)
        return headers.get(b"connection", b"").lower() != b"close"

    def _answer(self, status, answer):
        text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.wfile.write(b"HTTP/1.1 %d X\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: %d\r\n\r\n" % (status, len(text)) + text)

    def _own(self, path, body):
        sink = self.server.sink
        if path == "/stats":
            return 200, sink.ledger.stats()
        if path == "/missing":
            return 200, sink.ledger.missing(json.loads(body))
        if path == "/latencies":
            with sink.ledger.lock:
                return 200, sink.ledger.latencies
        if path == "/control":
            wanted = json.loads(body)
            sink.delay_s = wanted.get("delay_ms", sink.delay_s * 1000) / 1000
            sink.refuse = wanted.get("refuse", sink.refuse)
            sink.ledger.wrapped = wanted.get("wrapped", sink.ledger.wrapped)
            sink.ledger.latencies_from = wanted.get("latencies_from", sink.ledger.latencies_from)
            return 200, {}
        return 404, {}

    def _api(self, target, body):
        sink = self.server.sink
        if target != "PutRecords":
            return 400, {"__type": "AccessDeniedException", "message": f"{target} is not needed here"}
        if sink.delay_s:
            time.sleep(sink.delay_s)
        if sink.refuse:
            return 500, {"__type": "InternalFailure", "message": "refused on request"}
        records = [(r["PartitionKey"], base64.b64decode(r["Data"])) for r in json.loads(body)["Records"]]
        out = []
        with sink.ledger.lock:
            sink.ledger.requests += 1
            for key, data in records:
                sink.ledger.add(key, data)
                out.append('{"SequenceNumber":"%056d","ShardId":"shardId-000000000000"}' % sink.ledger.records)
        return 200, f'{{"FailedRecordCount":0,"Records":[{",".join(out)}]}}'.encode()


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


class Sink:
    """The stand-in in this process; answers until it is closed."""

    def __init__(self, port=0, keep=False):
        self.ledger, self.delay_s, self.refuse = Ledger(keep), 0.0, False
        self.server = Server(("127.0.0.1", port), Handler)
        self.server.sink = self
        self.port = self.server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class SinkProcess:
    """The stand-in as a process of its own, so that neither writer nor test takes its time."""

    def __init__(self):
        command = [sys.executable, str(Path(__file__).resolve())]
        self.proc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=common.die_with_parent)
        self.endpoint = f"http://127.0.0.1:{json.loads(self.proc.stdout.readline())['port']}"

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.endpoint + path, data=data), timeout=60) as r:
            return json.loads(r.read())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--port", type=int, default=0)
    opt = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Sink(opt.port) as sink:
        print(json.dumps({"port": sink.port}), flush=True)
        while True:
            signal.pause()


if __name__ == "__main__":
    main()

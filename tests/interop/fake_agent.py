#!/usr/bin/env python3
"""A stand-in for the agent, written with boto3 and Amazon's own aggregator: it proves that the suite passes what is right.

Takes the agent's environment variables. FAKE_FAULT makes it do one thing wrong, to prove that the suite notices. It is
correct, slow and not fit for anything else: a file is read in whole, nothing is retried.
"""

import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
from glob import glob
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from aws_kinesis_agg.aggregator import RecordAggregator

import checks
import kcl
import logs
import servers

AGGREGATE_BYTES = 51_200
# Few enough that no request comes near a server's limit in bytes, whatever the lines.
REQUEST_RECORDS = 20
FAULTS = ("drop", "twice", "mixed-keys", "wrong-outer-key", "md5", "proto3", "no-newline", "disorder", "forgets", "tail", "exit", "metrics", "altered")


def _field(number, payload):
    """A length-delimited or, for integers, varint protobuf field."""
    def varint(n):
        out = bytearray()
        while n > 127:
            out.append(n & 127 | 128)
            n >>= 7
        return bytes([*out, n])

    if isinstance(payload, int):
        return varint(number << 3) + varint(payload)
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def proto3_aggregate(key, datas):
    """What an encoder makes that leaves out zeros: without the required partition_key_index."""
    message = _field(1, key.encode()) + b"".join(_field(3, _field(3, d)) for d in datas)
    return kcl.MAGIC + message + hashlib.md5(message).digest()


def aggregate(key, hash_key, datas, fault=None, keys=None):
    """(partition key, explicit hash key, data) of one aggregate, by Amazon's library."""
    if fault == "proto3":
        return key, hash_key, proto3_aggregate(key, datas)
    packer = RecordAggregator()
    for i, d in enumerate(datas):
        packer.add_user_record(keys[i] if keys else key, d, hash_key)
    outer_key, outer_hash, data = packer.clear_and_get().get_contents()
    if fault == "md5":
        data = data[:-1] + bytes([data[-1] ^ 1])
    if fault == "wrong-outer-key":
        outer_key, outer_hash = f"other {random.random()}", str(kcl.key_hash(str(random.random())))
    return outer_key, str(outer_hash), data


def pack(events, fmt, key, fault=None):
    """Records of one batch of events. `key`: the source's key, or None for random ones."""
    datas = [e if fault == "no-newline" else e + b"\n" for e in events]
    groups, size = [[]], 0
    for d in datas:
        if groups[-1] and (fmt == "single" or size + len(d) > AGGREGATE_BYTES):
            groups.append([])
            size = 0
        groups[-1].append(d)
        size += len(d)
    out = []
    for g in groups:
        mine = key or f"{random.getrandbits(64):016x}"
        if fmt != "kpl":
            out.append((mine, None, b"".join(g)))
        elif fault == "mixed-keys":
            out.append(aggregate(mine, None, g, keys=[f"{mine}{i}" for i in range(len(g))]))
        else:
            out.append(aggregate(mine, None if key else str(random.getrandbits(128)), g, fault))
    return out


class Fake:
    """Reads, packs, puts, remembers."""

    def __init__(self, env):
        self.get = lambda name: env[f"KINETAIL_{name}"]
        self.fault = env.get("FAKE_FAULT")
        self.kinesis = servers.client(self.get("ENDPOINT"))
        self.state = Path(self.get("STATE_DIR")) / "offsets.json"
        self.state.parent.mkdir(parents=True, exist_ok=True)
        keep = self.state.exists() and self.fault != "forgets"
        self.offsets = json.loads(self.state.read_text()) if keep else {}
        self.sent, self.faulty, self.stopping = 0, bool(self.fault), False

    def event(self, line):
        event = logs.expected(self.get("PARSE"), line)
        return json.dumps({"message": event.text}).encode() if isinstance(event, checks.Message) else event

    def step(self, last=False):
        """Sends what has been added to the files."""
        for path in sorted(glob(self.get("PATHS"))):
            at = self.offsets.get(path, 0)
            data = Path(path).read_bytes()[at:]
            end = len(data) if last and self.fault != "tail" else data.rfind(b"\n") + 1
            if end:
                events = [self.event(line) for line in data[:end].removesuffix(b"\n").split(b"\n")]
                events = [e for e in events if e is not None]
                self.put(self.spoil(events), path)
                self.sent += len(events)
                self.offsets[path] = at + end
                self.state.write_text(json.dumps(self.offsets))

    def spoil(self, events):
        if not self.faulty or len(events) < 3:
            return events
        if self.fault in ("drop", "twice", "disorder", "altered"):
            self.faulty = False
        if self.fault == "drop":
            return events[:1] + events[2:]
        if self.fault == "disorder":
            return [events[1], events[0], *events[2:]]
        if self.fault == "altered":
            return [b" " + events[0], *events[1:]]
        return events + events[:1] if self.fault == "twice" else events

    def put(self, events, path):
        key = Path(path).name if self.get("PARTITION_KEY") == "source" else None
        records = pack(events, self.get("FORMAT"), key, self.fault)
        for at in range(0, len(records), REQUEST_RECORDS):
            entries = [self.entry(*r) for r in records[at : at + REQUEST_RECORDS]]
            answer = self.kinesis.put_records(StreamName=self.get("STREAM"), Records=entries)
            if answer["FailedRecordCount"]:
                raise RuntimeError(f"{answer['FailedRecordCount']} records were refused")

    def entry(self, key, hash_key, data):
        extra = {"ExplicitHashKey": hash_key} if hash_key and hash_key != "None" else {}
        return {"PartitionKey": key, "Data": data, **extra}

    def metrics(self, opened=False):
        """One family of each kind, as text or as OpenMetrics: what kinds are there and what counters and infos are called differs."""
        families = (
            ("kinetail_kinesis_user_records", "_total", "counter", "counter", [("_total{stream=\"s\"}", self.sent)]),
            ("kinetail_build", "_info", "info", "gauge", [("_info{version=\"0\"}", 1)]),
            ("kinetail_files", "", "gauge", "gauge", [("", 1)]),
            ("kinetail_put_seconds", "", "histogram", "histogram",
             [("_bucket{le=\"1.0\"}", 1), ("_bucket{le=\"+Inf\"}", 1), ("_sum", 0.5), ("_count", 1)]),
        )
        text = ""
        for name, end, opened_kind, kind, samples in families:
            family, kind = (name, opened_kind) if opened else (name + end, kind)
            text += f"# HELP {family} What the fake agent says.\n# TYPE {family} {kind}\n"
            text += "".join(f"{name}{sample} {value}\n" for sample, value in samples)
        bad = "kinetail_bad{ 1\n" if self.fault == "metrics" else ""
        return text + bad + ("# EOF\n" if opened else "")


def serve(fake, address):
    class Pages(BaseHTTPRequestHandler):
        def do_GET(self):
            opened = "openmetrics" in self.headers.get("Accept", "")
            body = {"/metrics": fake.metrics(opened), "/status": "{}"}.get(self.path, "ok\n").encode()
            self.send_response(200)
            if self.path == "/metrics":
                kind = "application/openmetrics-text; version=1.0.0" if opened else "text/plain; version=0.0.4"
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    host, port = address.split(":")
    server = ThreadingHTTPServer((host, int(port)), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main():
    fake = Fake(os.environ)

    def stop(*_):
        fake.stopping = True

    signal.signal(signal.SIGTERM, stop)
    serve(fake, os.environ["KINETAIL_ADMIN_LISTEN"])
    while not fake.stopping:
        fake.step()
        time.sleep(0.05)
    fake.step(last=True)
    sys.exit(3 if fake.fault == "exit" else 0)


if __name__ == "__main__":
    main()

"""Kinesis servers for the suites: starts one on loopback, creates streams, reads them back with boto3, and ends it.

Also a command:  servers.py SERVER --npm DIR --binary FILE -- COMMAND...   runs a command while the server is up,
`{endpoint}` in it being replaced by the server's address.
"""

import argparse
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3
from botocore.config import Config

import checks
from common import CREDENTIALS, DEADLINE, REGION, die_with_parent, free_port, wait_for

HERE = Path(__file__).resolve().parent
NAMES = ("kinesalite", "moto", "kinetail-local")


def listening_addresses(port):
    """Local addresses, as /proc spells them, on which something listens at this port."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state = line.split()[:4]
            address, p = local.split(":")
            if state == "0A" and int(p, 16) == port:
                found.add(address)
    return found


class Server:
    """A running server. Start it from the main thread: it dies with the thread that started it."""

    def __init__(self, name, npm=None, binary=None, log_dir=None):
        self.name = name
        log_dir = Path(log_dir or tempfile.mkdtemp(prefix="interop-"))
        log_dir.mkdir(parents=True, exist_ok=True)
        self.log = log_dir / f"{name}.log"
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        with open(self.log, "wb") as log:
            out = subprocess.PIPE if name == "kinetail-local" else log
            self.proc = subprocess.Popen(self._command(npm, binary), stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                                         env=dict(os.environ, **CREDENTIALS), preexec_fn=die_with_parent)
        try:
            self._wait_up()
        except BaseException:
            self.stop()
            raise

    def _command(self, npm, binary):
        port = str(self.port)
        if self.name == "kinesalite":
            return ["node", "-r", str(HERE / "loopback.cjs"), str(Path(npm) / "node_modules/kinesalite/cli.js"), "--port", port,
                    "--shardLimit", "2000", "--createStreamMs", "20", "--deleteStreamMs", "20", "--updateStreamMs", "20"]
        if self.name == "moto":
            return [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", port]
        if self.name == "kinetail-local":
            return [str(binary), "local", "--listen", f"127.0.0.1:{port}", "--stream", "interop:4"]
        raise ValueError(f"no server {self.name}: one of {', '.join(NAMES)}")

    def _wait_up(self):
        if self.name == "kinetail-local":
            ready, _, _ = select.select([self.proc.stdout], [], [], DEADLINE)
            line = self.proc.stdout.readline() if ready else b""
            try:
                self.endpoint = json.loads(line)["endpoint"].rstrip("/")
            except (ValueError, KeyError):
                raise RuntimeError(f"kinetail local: its first line is {line!r}, not an endpoint; {self.log_tail()}") from None
            self.port = int(self.endpoint.rsplit(":", 1)[1])

        def up():
            if self.proc.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.proc.returncode}: {self.log_tail()}")
            return listening_addresses(self.port)

        addresses = wait_for(f"{self.name} listens", up)
        if addresses != {"0100007F"}:
            raise RuntimeError(f"{self.name} listens on {addresses}, not on 127.0.0.1 alone")
        self.client = client(self.endpoint)
        wait_for(f"{self.name} answers", self._answers)

    def _answers(self):
        try:
            self.client.list_streams()
            return True
        except Exception:
            return False

    def log_tail(self):
        return self.log.read_bytes()[-1000:].decode(errors="replace")

    def create_stream(self, name, shards):
        """Creates a stream and returns its shards."""
        self.client.create_stream(StreamName=name, ShardCount=shards)
        self.wait_active(name)
        listed = self._describe(name)["Shards"]
        if len(listed) != shards:
            raise RuntimeError(f"{self.name}: stream {name} has {len(listed)} shards, not {shards}")
        ranges = [(s["ShardId"], s["HashKeyRange"]) for s in listed]
        return [checks.Shard(i, int(r["StartingHashKey"]), int(r["EndingHashKey"])) for i, r in ranges]

    def wait_active(self, name):
        wait_for(f"stream {name} is active", lambda: self._describe(name)["StreamStatus"] == "ACTIVE")

    def _describe(self, name):
        return self.client.describe_stream(StreamName=name)["StreamDescription"]

    def stop(self):
        if self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        if self.proc.stdout:
            self.proc.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def client(endpoint):
    """A boto3 client; not to be created in several threads at once."""
    return boto3.client("kinesis", endpoint_url=endpoint, region_name=REGION,
                        aws_access_key_id="interop", aws_secret_access_key="interop",
                        config=Config(retries={"max_attempts": 10, "mode": "standard"}, read_timeout=60))


class Reader:
    """Reads all shards of a stream from the beginning; each poll continues where the last one ended."""

    def __init__(self, kinesis, stream, shards):
        self.kinesis = kinesis
        self.records = []
        self.iterators = {
            s.id: kinesis.get_shard_iterator(StreamName=stream, ShardId=s.id, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
            for s in shards}

    def poll(self):
        """Reads what there is in all shards; returns all records so far."""
        for shard in self.iterators:
            while self._poll_shard(shard):
                pass
        return self.records

    def _poll_shard(self, shard):
        r = self.kinesis.get_records(ShardIterator=self.iterators[shard])
        self.iterators[shard] = r["NextShardIterator"]
        self.records += [checks.Stored(shard, x["PartitionKey"], x["SequenceNumber"], x["Data"]) for x in r["Records"]]
        return len(r["Records"])


def main():
    at = sys.argv.index("--")
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("server", choices=NAMES)
    p.add_argument("--npm", type=Path)
    p.add_argument("--binary", type=Path)
    opt = p.parse_args(sys.argv[1:at])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Server(opt.server, opt.npm, opt.binary) as server:
        command = [re.sub(r"\{endpoint\}", server.endpoint, a) for a in sys.argv[at + 1 :]]
        sys.exit(subprocess.run(command, env=dict(os.environ, **CREDENTIALS, AWS_DEFAULT_REGION=REGION)).returncode)


if __name__ == "__main__":
    main()

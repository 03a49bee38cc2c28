#!/usr/bin/env python3
"""Writes numbered lines to a file at a rate and rotates it meanwhile, noting exactly what it did.

    writer.py --file F --mode MODE [--rate 50000] [--seconds 60] [--rotate-mb 5]

How it rotates:
  plain         not at all
  rename        F becomes F.1, a new F is made at once
  late          F becomes F.1 and is written to for 100 to 500 ms more, only then a new F is made
  delete        F is unlinked, a new F is made
  copytruncate  F is copied to F.1 and cut to nothing
  reopen        somebody else renames it; F is opened again at SIGHUP

Old files are shifted up to F.20, so that what goes at the end has long been out of the way. With copytruncate, lines that
are written between the end of the copy and the cut are in no file afterwards; they are written as src 1, all others as src 0.
Most writes end with a line, one in ten within one. Ends at SIGTERM, too. At the end it prints one JSON object; `--events`
names a file for one JSON object for each file that was made and unlinked, with times of the monotonic clock.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numbered

MODES = ("plain", "rename", "late", "delete", "copytruncate", "reopen")
KEEP = 20
# How often it writes; at 50,000 lines a second that is 500 lines, in one or more writes.
TICK_S = 0.01
COPY_BYTES = 256 << 10
# Lines between the end of the copy and the cut, at most.
RISK = 500


class Writer:
    """The file, and the numbers so far."""

    def __init__(self, opt):
        self.opt, self.path = opt, Path(opt.file)
        self.rng, self.ends = random.Random(opt.seed), numbered.pads(numbered.LONG if opt.long else numbered.SHORT)
        self.next = {opt.src: 0} | ({opt.src + 1: 0} if opt.mode == "copytruncate" else {})
        self.bytes = self.rotations = self.reused = self.torn_writes = 0
        self.inodes, self.again, self.ended = set(), False, False
        self.events = open(opt.events, "w", buffering=1) if opt.events else None
        self.first = 0
        self._open()

    def _open(self):
        self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        ino = os.fstat(self.fd).st_ino
        self.reused += ino in self.inodes
        self.inodes.add(ino)
        self.first = self.next[self.opt.src]
        self._note("made", ino=ino, first=self.first)

    def _note(self, what, **more):
        if self.events:
            self.events.write(json.dumps({"what": what, "t": time.monotonic(), **more}) + "\n")

    def write(self, count, src=None):
        """So many lines, in one write or, now and then, in two that share a line."""
        src = self.opt.src if src is None else src
        data = numbered.lines(src, self.next[src], count, int(time.time() * 1e6), self.ends)
        self.next[src] += count
        self.bytes += len(data)
        if self.opt.tear and self.rng.random() < 0.1:
            at = self.rng.randrange(1, len(data))
            self._all(data[:at])
            self.torn_writes += 1
            if self.rng.random() < 0.3:
                time.sleep(self.rng.choice((0.0005, 0.002, 0.02)))
            data = data[at:]
        self._all(data)

    def _all(self, data):
        while data:
            data = data[os.write(self.fd, data) :]

    def due(self, count):
        while count > 0:
            n = min(count, self.rng.randint(50, 500))
            self.write(n)
            count -= n

    def rotate(self):
        self.rotations += 1
        getattr(self, "_" + self.opt.mode)()

    def _shift(self):
        """F.1 becomes F.2 and so on; what is at the end goes."""
        for i in range(KEEP, 0, -1):
            old = Path(f"{self.path}.{i}")
            if old.exists():
                old.unlink() if i == KEEP else old.rename(f"{self.path}.{i + 1}")

    def _rename(self):
        self._shift()
        os.rename(self.path, f"{self.path}.1")
        os.close(self.fd)
        self._open()

    def _late(self):
        self._shift()
        os.rename(self.path, f"{self.path}.1")
        self.late_until = time.monotonic() + self.rng.uniform(0.1, 0.5)
        self.paced(lambda: time.monotonic() >= self.late_until)
        os.close(self.fd)
        self._open()

    def _delete(self):
        os.close(self.fd)
        os.unlink(self.path)
        self._note("unlinked", first=self.first, end=self.next[self.opt.src])
        self._open()

    def _copytruncate(self):
        self._shift()
        with open(self.path, "rb") as live, open(f"{self.path}.1", "wb") as copy:
            while os.sendfile(copy.fileno(), live.fileno(), None, COPY_BYTES):
                if self.rng.random() < 0.5:
                    self.write(self.rng.randint(1, 50))
        if (risk := self.rng.choice((0, 1, 50, RISK))) > 0:
            self.write(risk, self.opt.src + 1)
        os.ftruncate(self.fd, 0)
        self._note("cut", first=self.next[self.opt.src])

    def paced(self, done):
        """Writes what is due until it is done."""
        while not done() and not self.ended:
            now = time.monotonic()
            self.due(int((now - self.began) * self.opt.rate) - sum(self.next.values()))
            if self.again:
                self.again = False
                os.close(self.fd)
                self._open()
            time.sleep(max(0.0, TICK_S - (time.monotonic() - now)))

    def run(self):
        self.began = time.monotonic()
        end, rotate_bytes = self.began + self.opt.seconds, int(self.opt.rotate_mb * 1e6)
        rotates = self.opt.mode not in ("plain", "reopen")
        while time.monotonic() < end and not self.ended:
            self.paced(lambda: time.monotonic() >= end or rotates and os.fstat(self.fd).st_size >= rotate_bytes)
            if rotates and time.monotonic() < end and not self.ended:
                self.rotate()
        os.close(self.fd)
        seconds = time.monotonic() - self.began
        return {"lines": self.next, "bytes": self.bytes, "seconds": seconds, "rotations": self.rotations, "inodes_reused": self.reused,
                "torn_writes": self.torn_writes}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--file", type=Path, required=True)
    p.add_argument("--mode", choices=MODES, default="plain")
    p.add_argument("--rate", type=float, default=50_000, help="lines a second")
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--rotate-mb", type=float, default=5)
    p.add_argument("--src", type=int, default=0)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--long", action="store_true", help="lines of 312 bytes on average, not of 100")
    p.add_argument("--no-tear", dest="tear", action="store_false", help="whole lines in every write")
    p.add_argument("--events", type=Path)
    opt = p.parse_args()
    writer = Writer(opt)

    def end(*_):
        writer.ended = True

    def again(*_):
        writer.again = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, again)
    print(json.dumps(writer.run()), flush=True)
    sys.exit(0)


if __name__ == "__main__":
    main()

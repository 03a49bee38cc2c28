#!/usr/bin/env python3
"""Sends every file below a folder through `kinetail demo`: nothing may be lost, doubled or altered, whatever bytes a log holds.

    corpora.py FOLDER --binary target/debug/kinetail

The demo compares what arrived with the file, line by line, and says so by its exit code and in its summary; both are checked.
The last line is "N passed, M failed".
"""

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common

SKIPPED = (".expected.jsonl", ".json", ".md")
# Each demo writes, sends and compares one file; a big one on a busy machine takes some seconds.
TIMEOUT_S = 120
AT_ONCE = 2


def stated(summary, word):
    """The number that a summary gives for a word, whichever way round: "lost 0", "lost: 0", "0 lost", "lost=0"."""
    m = re.search(rf"\b{word}\b\W{{0,20}}?([\d,]+)\b", summary) or re.search(rf"\b([\d,]+)\s+{word}\b", summary)
    return int(m[1].replace(",", "")) if m else None


def check(binary, file, running):
    """What is wrong with the demo of one file."""
    command = [str(binary), "demo", "--file", str(file), "--parse", "raw"]
    with tempfile.TemporaryDirectory(prefix="corpora-") as work:
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=work)
        running.add(p)
        try:
            out = p.communicate(timeout=TIMEOUT_S)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            p.kill()
            return [f"not done after {TIMEOUT_S} s: {p.communicate()[0][-500:].decode(errors='replace')}"]
        finally:
            running.discard(p)
    found = [f"exit code {p.returncode}: {out[-800:]}"] if p.returncode else []
    for word in ("lost", "duplicates"):
        n = stated(out.lower(), word)
        if n != 0:
            found.append(f"the summary says {word}: {n}: {out[-800:]}")
    return found


def files_below(folder):
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    return [f for f in files if not f.name.endswith(SKIPPED)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--binary", type=Path, required=True)
    opt = p.parse_args()
    report, running, binary = common.Report(quiet=True), set(), opt.binary.resolve()

    def end_now(*_):
        for demo in list(running):
            demo.kill()
        sys.exit(143)

    signal.signal(signal.SIGTERM, end_now)

    def one(file):
        t = time.monotonic()
        report.case(str(file.relative_to(opt.folder)), check(binary, file.resolve(), running), time.monotonic() - t)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, files_below(opt.folder)))
    sys.exit(report.end())


if __name__ == "__main__":
    main()

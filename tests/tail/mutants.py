#!/usr/bin/env python3
"""Plants bugs in the file reader, one at a time, and sees that the model (tests/tail.rs) finds each of them.

    tests/tail/mutants.py [--list] [NAME ...]

A mutant is a file in tests/tail/mutants: a line `file: PATH`, lines that say why, and then any number of changes, each

    <<<<
    the text to replace, which occurs exactly once
    ====
    its replacement
    >>>>

The tree (as git lists it) is copied to target/mutants and built in this checkout's target directory. A mutant is found when the test fails
and says that a promise is broken; a mutant that does not compile, or whose text is not there, is an error. Exit code 0: all were found.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MUTANTS = ROOT / "tests/tail/mutants"
COPY = ROOT / "target/mutants"
# What the model says when it fails, and nothing else does.
FINDING = "a promise is broken at seed"
# Far more than a build and the scripts take.
LIMIT_SECONDS = 900
# A planted bug need not be shrunk, and what never comes need not be waited for as long as on a busy machine.
MODEL = {"KINETAIL_TAIL_SHRINK": "0", "KINETAIL_TAIL_DEADLINE": "15"}


class Bad(Exception):
    """A mutant that cannot be planted."""


def parse(path):
    """The file to change, and the pairs of old and new text."""
    text = path.read_text()
    file = re.match(r"file: (\S+)\n", text)
    changes = re.findall(r"^<<<<\n(.*?)\n====\n(.*?)\n?>>>>$", text, re.DOTALL | re.MULTILINE)
    if not file or not changes or text.count("<<<<\n") != len(changes):
        raise Bad(f"{path.name}: it has no file or no change, or one is not closed")
    return file[1], changes


def planted(path):
    """The changed file's path, and its text with the bug."""
    file, changes = parse(path)
    text = (ROOT / file).read_text()
    for old, new in changes:
        count = text.count(old)
        if count != 1:
            raise Bad(f"{path.name}: its text occurs {count} times in {file}, and must once:\n{old}")
        text = text.replace(old, new)
    return file, text


def put(path, content):
    """Writes what differs only, so that nothing is built for nothing."""
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def copy_tree():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout
    files = {name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()}
    for old in [p for p in COPY.rglob("*") if p.is_file()] if COPY.is_dir() else []:
        if str(old.relative_to(COPY)) not in files:
            old.unlink()
    for name in files:
        put(COPY / name, (ROOT / name).read_bytes())


def cargo(*args):
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    env = {name: value for name, value in os.environ.items() if not name.startswith("KINETAIL_")}
    env |= {"CARGO_TARGET_DIR": target, "RUST_BACKTRACE": "0", **MODEL}
    return subprocess.run(
        ["cargo", "test", "--locked", "--test", "tail", *args],
        cwd=COPY,
        env=env,
        timeout=LIMIT_SECONDS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def run(path):
    """What is wrong with the model's answer to a mutant; nothing if it was found."""
    file, text = planted(path)
    original = (ROOT / file).read_bytes()
    try:
        put(COPY / file, text.encode())
        build = cargo("--no-run")
        if build.returncode != 0:
            return "it does not compile:\n" + build.stdout[-3000:]
        began = time.monotonic()
        test = cargo()
        finding = next((line for line in test.stdout.splitlines() if FINDING in line), None)
        if test.returncode == 0:
            return "the model does not notice it"
        if finding is None:
            return "the test fails without a finding of the model:\n" + test.stdout[-3000:]
        print(f"  found in {time.monotonic() - began:.0f} s: {finding.strip()[:160]}", flush=True)
        return None
    finally:
        put(COPY / file, original)


def main():
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    mutants = [p for p in sorted(MUTANTS.glob("*.mutant")) if not wanted or p.stem in wanted]
    if "--list" in sys.argv:
        print("\n".join(p.stem for p in mutants))
        return 0
    if not mutants:
        print("there are no mutants" if not wanted else f"there is no mutant {' '.join(wanted)}")
        return 1
    # All texts first: a mutant that lost its text is told before anything is built.
    bad = []
    for path in mutants:
        try:
            planted(path)
        except Bad as error:
            bad.append(str(error))
    if bad:
        print("\n".join(bad))
        return 1
    if shutil.which("cargo") is None:
        print("cargo is not installed")
        return 1
    copy_tree()
    missed = []
    for path in mutants:
        print(path.stem, flush=True)
        wrong = run(path)
        if wrong:
            missed.append(path.stem)
            print(f"  NOT FOUND: {wrong}", flush=True)
    print(f"{len(mutants) - len(missed)} of {len(mutants)} planted bugs were found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

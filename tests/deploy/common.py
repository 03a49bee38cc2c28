"""What the checks of deploy/ share: where things are, running programs, and what a failed or impossible check raises."""

import os
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
GOLDEN = Path(__file__).resolve().parent / "golden"
REGION = "eu-west-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}
# The longest that anything is waited for; a loaded machine with few cores has to manage it. Seconds.
DEADLINE = 60


class Failed(Exception):
    """Something in deploy/ is wrong."""


class Skipped(Exception):
    """It cannot be checked here, and why."""


@dataclass
class Tools:
    """Where the programs are; what is None could not be had."""

    binary: Path
    work: Path
    bless: bool = False
    found: dict = field(default_factory=dict)

    def need(self, name, reason=None):
        if not self.found.get(name):
            raise Skipped(reason or f"no {name}")
        return str(self.found[name])

    def folder(self, name):
        """An empty folder of this name in the work directory."""
        import shutil

        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


def clean_environment(**more):
    """The environment without what a developer has set for AWS or the agent."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "KINETAIL_", "TF_VAR_"))}
    return {**kept, **CREDENTIALS, **{k: str(v) for k, v in more.items()}}


def run(command, what, accept=(0,), **options):
    """Runs a program to its end and returns its stdout; a code that is not accepted fails the check, with all that it said."""
    options.setdefault("env", clean_environment())
    options.setdefault("timeout", 600)
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, stdin=options.pop("stdin", subprocess.DEVNULL), **options)
    if done.returncode not in accept:
        raise Failed(f"{what}: exit code {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def wait_for(condition, what, deadline=DEADLINE):
    """Waits until the condition holds, and returns what it returned."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {deadline} s in vain: {what}")
        time.sleep(0.1)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A server for the length of a `with`; ended by its id, and killed if that does not help."""

    def __init__(self, command, log, port=None, env=None):
        self.command, self.log, self.port, self.env = [str(c) for c in command], log, port, env or clean_environment()

    def __enter__(self):
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env)
        try:
            if self.port:
                wait_for(lambda: self.alive() and listens(self.port), f"{self.command[0]} listens at {self.port}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def alive(self):
        if self.child.poll() is not None:
            raise Failed(f"{self.command[0]} ended with {self.child.returncode}: {Path(self.log).read_text()[-2000:]}")
        return True

    def stop(self):
        """Ends it as a platform does, and returns its exit code."""
        self.child.terminate()
        try:
            return self.child.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return None

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.stop()
        return False


def golden(tools, name, text):
    """Compares with what lies in golden/, or writes it there if blessed."""
    path = GOLDEN / name
    if tools.bless:
        path.write_text(text)
    elif not path.exists() or path.read_text() != text:
        import difflib

        before = path.read_text() if path.exists() else ""
        diff = "".join(difflib.unified_diff(before.splitlines(True), text.splitlines(True), f"golden/{name}", "now"))
        raise Failed(f"{name} is another than before; if that is right, run with --bless:\n{diff[:4000]}")


def check_config(tools, name, text=None, env=None, args=()):
    """`kinetail check` on a configuration file's text and variables."""
    command = [tools.binary, "check", *args]
    if text is not None:
        file = tools.folder("configs") / "kinetail.yaml"
        file.write_text(text)
        command += ["--config", file]
    return run(command, f"{name}: its configuration", env=clean_environment(**(env or {})))

#!/usr/bin/env python3
"""`kinetail exec` around real programs: every line that was written before the end is delivered, and the exit code is the program's.

    exec.py --binary BIN [--runs 200] [--burst-mb 1024] [--work DIR]

nginx is one of them where it is installed; without it a server of Python's takes its place.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import common
import numbered
from agent import Agent
from sink import Sink, SinkProcess

HERE = Path(__file__).resolve().parent
NGINX = """
daemon off; master_process on; worker_processes 2; pid {work}/nginx.pid; error_log stderr warn;
events {{ worker_connections 256; }}
http {{ access_log /dev/stdout; client_body_temp_path {work}; proxy_temp_path {work}; fastcgi_temp_path {work}; uwsgi_temp_path {work};
  scgi_temp_path {work}; server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }} }}
"""
SERVER = """
import http.server, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
    def log_message(self, form, *args):
        print(form % args, flush=True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", {port}), Handler)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server.serve_forever()
"""
# Numbered lines until it is ended; how many there were is in a file, which is written after each chunk.
TALKER = """
import os, sys, time
sys.path.insert(0, {here!r})
import numbered
ends, at = numbered.pads(), 0
count = os.open({count!r}, os.O_WRONLY | os.O_CREAT)
while True:
    try:
        os.write(1, numbered.lines(0, at, 10, time.time_ns() // 1000, ends))
    except BrokenPipeError:
        os.pwrite(count, b"%012d EPIPE" % at, 0)
        sys.exit(3)
    at += 10
    os.pwrite(count, b"%012d" % at, 0)
    time.sleep(0.002)
"""
BURST = """
import os, sys, time
sys.path.insert(0, {here!r})
import numbered
ends, at, left = numbered.pads(), 0, {bytes}
while left > 0:
    chunk = numbered.lines(0, at, 5000, time.time_ns() // 1000, ends)
    at, left, view = at + 5000, left - len(chunk), memoryview(chunk)
    while view:
        view = view[os.write(1, view):]
open({count!r}, "w").write(str(at))
"""


class Wrapped:
    """A command, an agent around it, and where its lines go."""

    def __init__(self, opt, name, sink, command, flags=("--tee", "false"), spool=None):
        self.work = Path(tempfile.mkdtemp(prefix=f"exec-{name}-", dir=opt.work))
        self.opt, self.sink, self.count = opt, sink, self.work / "count"
        self.command = command(self) if callable(command) else command
        source = {"name": "service", "type": "exec", "add": {"stream": False, "time": False}}
        kinesis = {"stream": "exec", "endpoint": sink.endpoint, "partition_key": "source"}
        self.settings = {"CONFIG": json.dumps({"sources": [source], "kinesis": kinesis, "spool": spool or {}})}
        self.start(flags)

    def start(self, flags=("--tee", "false"), command=None):
        args = ("exec", *flags, "--", *(command or self.command))
        self.agent = Agent([str(self.opt.binary)], self.work, self.settings, args, stdout=subprocess.DEVNULL)

    def end(self, seconds=120):
        return self.agent.proc.wait(seconds)

    def children(self):
        found = subprocess.run(["pgrep", "-f", str(self.count)], capture_output=True, text=True).stdout.split()
        return [int(pid) for pid in found if int(pid) != self.agent.proc.pid]

    def written(self):
        text = self.count.read_text() if self.count.exists() else ""
        return int(text.split()[0]) if text else 0


def talker(wrapped):
    return [sys.executable, "-c", TALKER.format(here=str(HERE), count=str(wrapped.count))]


def texts(sink):
    with sink.ledger.lock:
        return [event.decode(errors="replace").rstrip("\n") for _, event in sink.ledger.kept]


def same(found, what, expected):
    return [] if found == expected else [f"{what} is {found}, and should be {expected}"]


def fast(opt):
    """Commands that exit at once after their last line, which has no newline."""
    found = []
    with Sink(keep=True) as sink:
        wrapped = None
        for run in range(opt.runs):
            command = ["/bin/sh", "-c", f"echo out {run}; printf 'last {run}'; exit {run % 120}"]
            if wrapped is None:
                wrapped = Wrapped(opt, "fast", sink, command)
            else:
                wrapped.start(command=command)
            found += same(wrapped.end(), f"exit code of run {run}", run % 120)
        came = texts(sink)
    expected = [f"{word} {run}" for run in range(opt.runs) for word in ("out", "last")]
    missing = set(expected) - set(came)
    return found + ([f"{len(missing)} lines lost, such as {sorted(missing)[:4]}"] if missing else []) + same(len(came), "lines", len(expected))


def server(opt):
    """A server under load is told to end."""
    port, requests = common.free_port(), 5000

    def command(wrapped):
        nginx = shutil.which("nginx")
        if nginx is None:
            return [sys.executable, "-c", SERVER.format(port=port)]
        (wrapped.work / "nginx.conf").write_text(NGINX.format(work=wrapped.work, port=port))
        # As root it would go on as another user, who may not write to a pipe of root's by its name.
        return [nginx, "-c", str(wrapped.work / "nginx.conf"), "-g", "user root;"]

    def get(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as r:
                return r.status
        except OSError:
            return 0

    with Sink(keep=True) as sink:
        wrapped = Wrapped(opt, "server", sink, command)
        common.wait_for("the server answers", lambda: get("/ready") == 204)
        answered = [n for n in range(requests) if get(f"/request/{n}") == 204]
        wrapped.agent.proc.send_signal(signal.SIGTERM)
        code = wrapped.end()
        came = "\n".join(texts(sink))
    logged = {int(n) for n in re.findall(r"GET /request/(\d+) ", came)}
    return same(code, "exit code", 0) + same(len(set(answered) - logged), "answered requests that are not delivered", 0) + same(len(answered), "requests", requests)


def by_signal(opt, target):
    """The command, or the agent, gets a signal; what was written before it is delivered."""
    with SinkProcess() as sink:
        wrapped = Wrapped(opt, f"signal-{target}", sink, talker)
        common.wait_for("lines", lambda: wrapped.written() > 2000)
        number = {"command-kill": signal.SIGKILL, "command-term": signal.SIGTERM, "agent-term": signal.SIGTERM, "agent-int": signal.SIGINT}[target]
        pid = wrapped.agent.proc.pid if target.startswith("agent") else max(wrapped.children())
        os.kill(pid, number)
        code = wrapped.end()
        written, stats = wrapped.written(), sink.call("/stats")
    # The count is written after the lines.
    few = stats["unique"] < written or stats["unique"] > written + 10
    # Python ends with 1 after SIGINT's KeyboardInterrupt, by the signal itself.
    return same(code, "exit code", 128 + number) + ([f"{written} written, {stats['unique']} delivered"] if few else []) + same(stats["duplicates"] + stats["disorder"], "duplicates and disorder", 0)


def killed(opt, policy):
    """The agent is killed: the command dies, or goes on without a log, and what the spool had is delivered by the next run."""
    found = []
    with SinkProcess() as sink:
        wrapped = Wrapped(opt, f"killed-{policy}", sink, talker, ("--tee", "false", "--orphan", policy))
        common.wait_for("lines", lambda: wrapped.written() > 2000)
        sink.call("/control", {"refuse": True})
        common.wait_for("more lines", lambda: wrapped.written() > 4000)
        children = wrapped.children()
        wrapped.agent.kill()
        if policy == "die":
            common.wait_for("the command dies", lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
        else:
            common.wait_for("the command gets EPIPE", lambda: "EPIPE" in wrapped.count.read_text())
        written = wrapped.written()
        sink.call("/control", {"refuse": False})
        wrapped.start(command=["/bin/true"])
        found += same(wrapped.end(), "exit code of the next run", 0)
        missing = sum(end - first for first, end in sink.call("/missing", {"0": written})["0"])
    # What the pipe held when the agent died: 64 KiB at most, of lines of about 100 bytes.
    print(f"     {policy}: {written} written, {missing} lost that were in the pipe")
    return found + ([f"{missing} lines lost"] if missing > 700 else [])


def fork(opt):
    """What the command leaves behind writes on after its end."""
    script = "(sleep 0.5; echo late) & echo early; exit 7"
    with Sink(keep=True) as sink:
        wrapped = Wrapped(opt, "fork", sink, ["/bin/sh", "-c", script])
        code = wrapped.end()
        return same(code, "exit code", 7) + same(sorted(texts(sink)), "lines", ["early", "late"])


def closes(opt):
    """It closes stdout, works on, and ends."""
    with Sink(keep=True) as sink:
        wrapped = Wrapped(opt, "closes", sink, ["/bin/sh", "-c", "echo before; exec >&-; sleep 1; echo after >&2; exit 9"])
        code = wrapped.end()
        return same(code, "exit code", 9) + same(sorted(texts(sink)), "lines", ["after", "before"])


def burst(opt):
    """As much as it can write at once, through a spool that is smaller."""
    def command(wrapped):
        return [sys.executable, "-c", BURST.format(here=str(HERE), bytes=opt.burst_mb << 20, count=str(wrapped.count))]

    with SinkProcess() as sink:
        wrapped = Wrapped(opt, "burst", sink, command, spool={"max_bytes": "64MiB"})
        # It drains for as long as the writer writes; only what is left at the end has a limit of time.
        code = wrapped.end(900)
        written, stats = wrapped.written(), sink.call("/stats")
    return same(code, "exit code", 0) + same(stats["unique"], "lines", written) + same(stats["duplicates"] + stats["disorder"] + stats["torn"], "duplicates, disorder and torn lines", 0)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", type=Path, required=True)
    p.add_argument("--runs", type=int, default=200)
    p.add_argument("--burst-mb", type=int, default=1024)
    p.add_argument("--work", type=Path)
    opt = p.parse_args()
    opt.binary = opt.binary.resolve()
    if opt.work:
        opt.work.mkdir(parents=True, exist_ok=True)
    # Whoever runs this in the background of a script, or by nohup, has it ignore these, and all that it starts.
    for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(ignored) == signal.SIG_IGN:
            signal.signal(ignored, signal.SIG_DFL)
    report = common.Report()
    cases = [("commands that exit at once", fast), ("a server is told to end", server), ("what a command leaves behind", fork),
             ("a command closes stdout", closes), ("a burst", burst)]
    cases += [(f"a signal, {t}", lambda opt, t=t: by_signal(opt, t)) for t in ("command-kill", "command-term", "agent-term", "agent-int")]
    cases += [(f"the agent is killed, {policy}", lambda opt, policy=policy: killed(opt, policy)) for policy in ("die", "keep")]
    for name, case in cases:
        began = time.monotonic()
        try:
            found = case(opt)
        except Exception as e:  # Whatever it is, it belongs to this case.
            found = [repr(e)]
        report.case(name, found, time.monotonic() - began)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())

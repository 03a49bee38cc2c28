#!/usr/bin/env python3
"""The agent on real file systems, and with what goes wrong with inotify, and with Debian's logrotate. Needs root.

    filesystems.py BIN [--only TEXT] [--seconds 10] [--rate 20000] [--rotations 10] [--dir D]

Mounts ext4, xfs, tmpfs and overlayfs in a mount namespace of its own, so that nothing stays mounted however it ends. On each:
a storm in every mode (storm.py), a file that took an old one's place while the agent was away, and on overlayfs one that
is copied up while it is read. Then, in the folder: a user without inotify instances left, an inotify queue that overflows while
thousands of files come and go, and logrotate in six ways. What cannot be done here is skipped, with the reason.
The last line is "N passed, M failed, K skipped".
"""

import argparse
import contextlib
import ctypes
import gzip
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
import numbered
import storm
from agent import Agent
from sink import SinkProcess
from storm import MODES, Storm

CLONE_NEWNS = 0x00020000
QUEUED_EVENTS = Path("/proc/sys/fs/inotify/max_queued_events")
SMALL_QUEUE = 32
# Files that come, are renamed and go while the agent is stopped.
NOISE = 3000
IN_Q_OVERFLOW, IN_CREATE = 0x4000, 0x100
# Nobody's user; its inotify instances are counted apart from those of root.
LONELY_UID = 64321
IMAGE_BYTES = 1 << 30
libc = ctypes.CDLL(None, use_errno=True)


class Skipped(Exception):
    """It cannot be done here."""


def command(*args):
    p = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    if p.returncode != 0:
        raise Skipped(f"{' '.join(map(str, args))}: {p.stderr.strip()[-200:] or p.returncode}")


def needed(program, package):
    """Installs what is missing, where that is possible."""
    if shutil.which(program):
        return
    subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", package], capture_output=True, stdin=subprocess.DEVNULL)
    if not shutil.which(program):
        raise Skipped(f"no {program}: {package} is not installed and could not be")


def own_mounts():
    """What is mounted from now on is seen by this process and its children only, and is gone when they are."""
    if os.geteuid() != 0:
        raise Skipped("not root")
    if libc.unshare(CLONE_NEWNS) != 0:
        raise Skipped(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    command("mount", "--make-rprivate", "/")


def mount_image(kind, at, work):
    image = work / f"{kind}.img"
    with open(image, "wb") as f:
        f.truncate(IMAGE_BYTES)
    command(*(["mkfs.ext4", "-q", "-F"] if kind == "ext4" else ["mkfs.xfs", "-q", "-f"]), image)
    command("mount", "-o", "loop", image, at)


@contextlib.contextmanager
def mounted(kind, work):
    """A folder on a file system of that kind."""
    at = work / kind
    at.mkdir(parents=True)
    mounts = [at]
    try:
        if kind == "xfs":
            needed("mkfs.xfs", "xfsprogs")
        if kind in ("ext4", "xfs"):
            mount_image(kind, at, work)
        elif kind == "tmpfs":
            command("mount", "-t", "tmpfs", "-o", f"size={IMAGE_BYTES}", "kinetail-test", at)
        else:
            base = work / "base"
            base.mkdir()
            mount_image("ext4", base, work)
            mounts.append(base)
            for d in ("lower", "upper", "work"):
                (base / d).mkdir()
            for n in range(2):
                (base / "lower" / f"below{n}").mkdir()
            command("mount", "-t", "overlay", "-o", f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work", "overlay", at)
        yield at
    finally:
        for m in mounts:
            subprocess.run(["umount", "-l", str(m)], capture_output=True)
        for m in work.glob("*.img"):
            m.unlink()


# --- what is done on each file system --------------------------------------------------------------------------------


def stormy(opt, work, logs, mode, **more):
    """A storm; what is wrong with it. The agent lets old files go early, so that their inodes are free for new ones."""
    s = Storm(opt.binary, mode, work, logs=logs, rate=opt.rate, seconds=opt.seconds, rotate_mb=opt.rate * 104 / 1e6, source={"rotate_wait": "1s"}, seed=opt.seed)
    for k, v in more.items():
        setattr(s, k, v)
    figures, found = storm.run(s)
    print("     " + storm.line(figures), flush=True)
    return figures, found


class Run:
    """An agent on one folder and a sink, started and stopped by hand."""

    def __init__(self, opt, work, logs, sink):
        self.opt, self.work, self.sink, self.file = opt, work, sink, logs / "app.log"
        self.storm = Storm(opt.binary, "plain", work, logs=logs)
        self.us = int(time.time() * 1e6)

    def start(self):
        agent = Agent([str(self.opt.binary)], self.work, storm.settings(self.storm, self.sink.endpoint))
        agent.wait_ready()
        return agent

    def append(self, src, first, count):
        with open(self.file, "ab") as f:
            f.write(numbered.lines(src, first, count, self.us, numbered.pads()))

    def arrive(self, totals):
        def there():
            unique = self.sink.call("/stats")["unique_of"]
            return all(unique.get(src, 0) >= n for src, n in totals.items())

        with contextlib.suppress(TimeoutError):
            common.wait_for("the lines", there, 30)

    def findings(self, totals):
        stats, missing = self.sink.call("/stats"), self.sink.call("/missing", totals)
        found = [f"src {src}: lines {r[:5]} did not come" for src, r in missing.items() if r]
        return found + [f"{word}: {stats[word]} {stats['samples'][:3]}" for word in ("duplicates", "torn", "bad", "disorder") if stats[word]]


def place_taken(opt, work, logs, kill, must_reuse):
    """While the agent is away the file is deleted and another of its name made, longer, and where the file system does so with
    the same inode: all of it must come, and nothing of the old one again."""
    with SinkProcess() as sink:
        run = Run(opt, work, logs, sink)
        run.append(0, 0, 2000)
        with run.start() as agent:
            run.arrive({"0": 2000})
            if kill:
                agent.kill()
            else:
                agent.stop()
        before = run.file.stat().st_ino
        run.file.unlink()
        run.append(1, 0, 3000)
        if must_reuse and run.file.stat().st_ino != before:
            return [f"the inode was not used again: {before}, then {run.file.stat().st_ino}; nothing was tested"]
        with run.start() as agent:
            totals = {"0": 2000, "1": 3000}
            run.arrive(totals)
            time.sleep(storm.SETTLE_S)
            code = agent.stop()
        return run.findings(totals) + ([f"exit code {code}"] if code else [])


def copied_up(opt, work, at, base, empty):
    """A file of the lower layer that the agent has open is written to: a new file lies above it, and the descriptor still shows the old one."""
    name = f"below{int(empty)}"
    with SinkProcess() as sink:
        lower = Run(opt, work, base / "lower" / name, sink)
        lower.append(0, 0, 0 if empty else 1000)
        run = Run(opt, work, at / name, sink)
        with run.start() as agent:
            run.arrive({"0": 0 if empty else 1000})
            common.wait_for("the file is open", lambda: 'state="live"} 1' in agent.get("/metrics")[1], 10)
            first = 0 if empty else 1000
            run.append(0, first, 1000)
            run.append(0, first + 1000, 1000)
            totals = {"0": first + 2000}
            run.arrive(totals)
            time.sleep(storm.SETTLE_S)
            code = agent.stop()
        if not (base / "upper" / name / "app.log").exists():
            return ["nothing was copied up; nothing was tested"]
        return run.findings(totals) + ([f"exit code {code}"] if code else [])


def on(kind, opt, work, report):
    """All cases of one file system."""
    names = [f"{kind} {m}" for m in MODES] + [f"{kind} {m} --kill" for m in ("rename", "copytruncate")] + \
        [f"{kind} place taken after a {w}" for w in ("stop", "kill")]
    if kind == "overlayfs":
        names += [f"{kind} copied up while read", f"{kind} copied up while read, empty"]
    if not any(opt.only in n for n in names):
        return
    try:
        with mounted(kind, work) as at:
            for name in names:
                case(name, opt, report, lambda w, name=name: of_filesystem(kind, name, opt, w, at, work / "base"), logs=at)
    except Skipped as e:
        report.skip(kind, str(e))


def of_filesystem(kind, name, opt, work, at, base):
    if "copied up" in name:
        return copied_up(opt, work, at, base, empty=name.endswith("empty"))
    logs = Path(tempfile.mkdtemp(dir=at))
    if "place taken" in name:
        return place_taken(opt, work, logs, kill=name.endswith("kill"), must_reuse=kind == "ext4")
    figures, found = stormy(opt, work, logs, name.split()[1], kill=name.endswith("--kill"))
    if name == "ext4 delete" and not figures["inodes_reused"]:
        found.append("no inode was used again; ext4 does so at once when it can, so the agent has held on to all of the old files")
    return found


# --- inotify ---------------------------------------------------------------------------------------------------------

TAKE_ALL = """
import ctypes, sys
libc, n = ctypes.CDLL(None), 0
while libc.inotify_init1(0o2000000) >= 0:
    n += 1
print(n, flush=True)
sys.stdin.read()
"""


def watch_mode(agent):
    m = re.search(r'^kinetail_watch_mode\{mode="(\w+)"\} 1', agent.get("/metrics")[1], re.MULTILINE)
    return m[1] if m else None


def expect_mode(wanted):
    def look(s):
        common.wait_for("the agent says how it watches", lambda: watch_mode(s.agent), 10)
        if watch_mode(s.agent) != wanted:
            raise RuntimeError(f"kinetail_watch_mode is {watch_mode(s.agent)}, expected {wanted}")

    return look


def no_instances(opt, work, mode):
    """A user whose inotify instances are all taken: the agent has to notice rotations by looking."""
    if not shutil.which("setpriv"):
        raise Skipped("no setpriv")
    as_lonely = ["setpriv", f"--reuid={LONELY_UID}", f"--regid={LONELY_UID}", "--clear-groups"]
    binary = work / "kinetail"
    shutil.copy(opt.binary, binary)
    for d in (work, work / "logs", work / "state"):
        d.mkdir(exist_ok=True)
        os.chmod(d, 0o755)
    os.chown(work / "state", LONELY_UID, LONELY_UID)
    # The taker needs no more descriptors than there are instances.
    taker = subprocess.Popen([*as_lonely, sys.executable, "-c", TAKE_ALL], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             preexec_fn=common.die_with_parent, cwd="/")
    try:
        taken = int(taker.stdout.readline() or 0)
        if taken < int(Path("/proc/sys/fs/inotify/max_user_instances").read_text()):
            raise Skipped(f"only {taken} inotify instances could be taken")
        # Twice as long between rotations as between looks at the directory.
        _, found = stormy(opt, work, work / "logs", mode, binary=binary, command=as_lonely, first=expect_mode("poll"),
                          rotate_mb=2 * opt.rate * 104 / 1e6)
        return found
    finally:
        taker.kill()
        taker.wait()


class Noise:
    """Stops the agent now and then, and lets far more happen in its directory than its queue holds."""

    def __init__(self):
        self.next, self.times, self.fd = time.monotonic() + 1.5, 0, None

    def watch(self, s):
        """A queue of the same size as the agent's, to see that it does overflow. The setting counts when an instance is made."""
        self.fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        libc.inotify_add_watch(self.fd, str(s.logs).encode(), IN_CREATE)

    def __call__(self, s):
        if time.monotonic() < self.next:
            return
        os.kill(s.agent.proc.pid, signal.SIGSTOP)
        try:
            end = time.monotonic() + 0.5
            for i in range(NOISE):
                path = s.logs / f"noise-{self.times}-{i}"
                path.touch()
                path.rename(f"{path}.tmp")
                os.unlink(f"{path}.tmp")
            time.sleep(max(0.0, end - time.monotonic()))
        finally:
            os.kill(s.agent.proc.pid, signal.SIGCONT)
        self.times += 1
        self.next = time.monotonic() + 1.5

    def overflowed(self):
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.fd, 65536):
                at = 0
                while at < len(data):
                    _, mask, _, size = struct.unpack_from("iIII", data, at)
                    if mask & IN_Q_OVERFLOW:
                        return True
                    at += 16 + size
        return False


def overflow(opt, work, mode):
    """The agent's queue of 32 events overflows while it is stopped: what it missed must be found all the same."""
    before, noise = QUEUED_EVENTS.read_text(), Noise()

    def first(s):
        noise.watch(s)
        QUEUED_EVENTS.write_text(before)
        expect_mode("notify")(s)

    try:
        try:
            QUEUED_EVENTS.write_text(str(SMALL_QUEUE))
        except OSError as e:
            raise Skipped(f"{QUEUED_EVENTS}: {e}") from None
        # A file lives longer than a stop and a look together.
        _, found = stormy(opt, work, work / "logs", mode, first=first, meanwhile=noise, rotate_mb=2 * opt.rate * 104 / 1e6)
    finally:
        QUEUED_EVENTS.write_text(before)
    if not noise.overflowed():
        found.append("the queue did not overflow; nothing was tested")
    os.close(noise.fd)
    return found


# --- logrotate -------------------------------------------------------------------------------------------------------

CONF = """{file} {{
    {how}
    size 1k
    rotate 1000
}}
"""
CREATE = "create 0644 root root\n    postrotate\n        kill -HUP {pid}\n    endscript"
COMPRESS = "\n    compress\n    delaycompress"
# With compress, the inode of a file that was compressed is soon that of a new one. A date down to the second is a name
# that no number follows from.
HOW = {"create": CREATE, "create, compress": CREATE + COMPRESS, "copytruncate": "copytruncate",
       "copytruncate, compress, dateext": "copytruncate\n    dateext\n    dateformat -%s" + COMPRESS}


class Logrotate:
    """Runs it about once a second."""

    def __init__(self, how, most):
        self.how, self.most, self.next, self.times = how, most, time.monotonic() + 1, 0

    def __call__(self, s):
        # The writer takes its time to begin where the machine is busy.
        if time.monotonic() < self.next or self.times >= self.most or not s.file().exists() and self.times == 0:
            return
        conf = s.work / "logrotate.conf"
        conf.write_text(CONF.format(file=s.file(), how=HOW[self.how].format(pid=s.writer.pid)))
        conf.chmod(0o644)
        p = subprocess.run(["logrotate", "-f", "-s", str(s.work / "logrotate.state"), str(conf)], capture_output=True, text=True)
        if p.returncode != 0:
            raise RuntimeError(f"logrotate: {p.stderr[-300:]}")
        self.times += 1
        self.next = time.monotonic() + random.uniform(1.0, 1.3)


class Files:
    """What there is in the file and all its copies: what is in none of them was lost by logrotate."""

    def __init__(self):
        self.numbers = self.fragments = None

    def read(self, s):
        if self.numbers is not None:
            return
        self.numbers, self.fragments = set(), set()
        for path in s.logs.glob("app.log*"):
            data = path.read_bytes()
            for text in (gzip.decompress(data) if path.suffix == ".gz" else data).split(b"\n"):
                m = numbered.LINE.fullmatch(text)
                if m:
                    self.numbers.add(int(m[2]))
                else:
                    self.fragments.add(text.decode("latin-1"))

    def excused(self, s):
        self.read(s)
        return Unless(self.numbers)

    def excused_torn(self, s):
        self.read(s)
        return self

    def __contains__(self, text):
        """A part of a line is all there was if it lies so in a file, or is the beginning of a line that is in none."""
        m = re.match(r"src=\d{5} seq=(\d{10}) ", text)
        return text in self.fragments or bool(m and int(m[1]) not in self.numbers)


class Unless:
    def __init__(self, numbers):
        self.numbers = numbers

    def __contains__(self, n):
        return n not in self.numbers


def logrotate(opt, work, how, kill=False, every=False):
    """`every`: the agent's glob names the old files too, which it must not send again."""
    needed("logrotate", "logrotate")
    # It refuses folders that others may write to.
    work.chmod(0o755)
    files, rotating = Files(), Logrotate(how, opt.rotations)
    more = dict(excused=files.excused, excused_torn=files.excused_torn, tear=False) if "copytruncate" in how else {}
    mode = "plain" if "copytruncate" in how else "reopen"
    if every:
        more["source"] = {"rotate_wait": "1s", "paths": [str(work / "logs" / "app.log*")]}
    _, found = stormy(opt, work, work / "logs", mode, meanwhile=rotating, seconds=max(opt.seconds, opt.rotations * 1.4 + 1), kill=kill, **more)
    if rotating.times < opt.rotations:
        found.append(f"{rotating.times} rotations, not {opt.rotations}")
    return found


# --- the run ---------------------------------------------------------------------------------------------------------


def case(name, opt, report, do, logs=None):
    if opt.only not in name:
        return
    began, work = time.monotonic(), Path(tempfile.mkdtemp(prefix="case-", dir=opt.work)).resolve()
    try:
        found = do(work)
    except Skipped as e:
        report.skip(name, str(e))
        shutil.rmtree(work, ignore_errors=True)
        return
    except (RuntimeError, TimeoutError, OSError) as e:
        found = [f"{type(e).__name__}: {e}"]
    report.case(name, found, time.monotonic() - began)
    if found and opt.keep:
        print(f"     kept: {work}", flush=True)
    else:
        shutil.rmtree(work, ignore_errors=True)
    # A mounted image is not large: what a case wrote on it goes.
    for d in logs.glob("tmp*") if logs else ():
        shutil.rmtree(d, ignore_errors=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("binary", type=Path, metavar="BIN")
    p.add_argument("--only", default="", help="cases whose name contains this")
    p.add_argument("--seconds", type=float, default=10, help="of each storm")
    p.add_argument("--rate", type=float, default=20_000, help="lines a second; the file is rotated about once a second")
    p.add_argument("--rotations", type=int, default=10, help="by logrotate, one a second")
    p.add_argument("--dir", type=Path, help="where images and logs go; default: a temporary folder")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--keep", action="store_true", help="keep the folders of failed cases")
    opt = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    opt.binary, report = opt.binary.resolve(), common.Report()
    if opt.dir:
        opt.dir.mkdir(parents=True, exist_ok=True)
    opt.work = Path(tempfile.mkdtemp(prefix="filesystems-", dir=opt.dir)).resolve()
    opt.work.chmod(0o755)
    try:
        try:
            own_mounts()
            for kind in ("ext4", "xfs", "tmpfs", "overlayfs"):
                on(kind, opt, opt.work / f"on-{kind}", report)
        except Skipped as e:
            report.skip("file systems", str(e))
        if os.geteuid() != 0:
            report.skip("inotify, logrotate", "not root")
        else:
            for mode in MODES:
                case(f"no inotify instances, {mode}", opt, report, lambda w, mode=mode: no_instances(opt, w, mode))
            for mode in MODES:
                case(f"inotify queue overflows, {mode}", opt, report, lambda w, mode=mode: overflow(opt, w, mode))
            for how in HOW:
                case(f"logrotate {how}", opt, report, lambda w, how=how: logrotate(opt, w, how))
                case(f"logrotate {how} --kill", opt, report, lambda w, how=how: logrotate(opt, w, how, kill=True))
            for how in ("create", "copytruncate"):
                case(f"logrotate {how}, old files match", opt, report, lambda w, how=how: logrotate(opt, w, how, every=True))
        code = report.end()
    finally:
        if not opt.keep:
            shutil.rmtree(opt.work, ignore_errors=True)
    sys.exit(code)


if __name__ == "__main__":
    main()

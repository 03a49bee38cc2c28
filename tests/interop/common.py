"""What every suite needs and Python has by itself: ports, waiting for a condition, and a report that can be read and counted."""

import ctypes
import random
import signal
import socket
import struct
import threading
import time

# How long anything may take on a slow and loaded machine before it counts as failed, seconds.
DEADLINE = 90
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "interop", "AWS_SECRET_ACCESS_KEY": "interop"}
REGION = "us-east-1"


def free_port():
    """A port nobody listens on, below those that the kernel hands out to clients, so that none of them takes it meanwhile."""
    for _ in range(1000):
        port = random.randrange(15000, 30000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port between 15000 and 30000")


def wait_for(what, condition, deadline=DEADLINE, every=0.05):
    """Waits until the condition returns something true, and returns that."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {deadline} s")
        time.sleep(every)


def die_with_parent():
    """Runs in a child before exec. PR_SET_PDEATHSIG: a server must not outlive a suite that was killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Report:
    """Prints one line per case (quiet: per failed one), from any thread, and counts."""

    def __init__(self, quiet=False):
        self.lock, self.passed, self.failed, self.skipped, self.quiet = threading.Lock(), 0, 0, 0, quiet

    def case(self, name, found, seconds):
        with self.lock:
            if found or not self.quiet:
                print(f"{'FAIL' if found else 'ok  '} {name} ({seconds:.1f} s)", flush=True)
            for f in found:
                print("     " + str(f).replace("\n", "\n     "), flush=True)
            self.failed += bool(found)
            self.passed += not found

    def skip(self, name, why):
        with self.lock:
            print(f"skip {name}: {why}", flush=True)
            self.skipped += 1

    def end(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{skipped}", flush=True)
        return 1 if self.failed or not self.passed + self.skipped else 0


def send_forward(connection, lines):
    """One message of the Forward protocol with these lines as `log`, up to its acknowledgement."""
    entries = b"".join(b"\x92\xce" + struct.pack(">I", int(time.time())) + b"\x81\xa3log\xda" + struct.pack(">H", len(x)) + x for x in lines)
    connection.sendall(b"\x93\xa1t\xdc" + struct.pack(">H", len(lines)) + entries + b"\x81\xa5chunk\xa1c")
    answer = b""
    while not answer.endswith(b"\xa3ack\xa1c"):
        got = connection.recv(100)
        if not got:
            raise RuntimeError("the connection ended")
        answer += got

"""Runs the agent's binary as a user would: configured by environment alone, watched through its admin server, ended by SIGTERM."""

import os
import subprocess
import urllib.error
import urllib.request

import common

# Every agent that is up, so that a suite which is told to end can take them with it.
RUNNING = set()
KEPT_ENV = ("PATH", "HOME", "LANG", "TMPDIR", "RUST_BACKTRACE", "FAKE_FAULT")


class Agent:
    """One process. Its log is appended to `work/agent.log`."""

    def __init__(self, command, work, settings, args=("run",), stdin=subprocess.DEVNULL, stdout=None):
        self.work = work
        self.admin = f"127.0.0.1:{common.free_port()}"
        env = {k: os.environ[k] for k in KEPT_ENV if k in os.environ}
        env |= common.CREDENTIALS | {f"KINETAIL_{k}": v for k, v in settings.items()}
        env |= {"KINETAIL_ADMIN_LISTEN": self.admin, "KINETAIL_STATE_DIR": str(work / "state"), "KINETAIL_REGION": common.REGION}
        with open(work / "agent.log", "ab") as log:
            out = log if stdout is None else stdout
            self.proc = subprocess.Popen([*command, *args], stdin=stdin, stdout=out, stderr=log, env=env, cwd=work)
        RUNNING.add(self)

    def get(self, path):
        """Status and text of a page of the admin server; (0, "") while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=10) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode(errors="replace")
        except OSError:
            return 0, ""

    def ended(self):
        if self.proc.poll() is not None:
            raise RuntimeError(f"the agent ended by itself with {self.proc.returncode}: {self.log_tail()}")

    def wait_ready(self):
        def ready():
            self.ended()
            return self.get("/readyz")[0] == 200

        common.wait_for("/readyz says 200", ready)

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.proc.terminate()
        try:
            return self.proc.wait(common.DEADLINE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"the agent is still there {common.DEADLINE} s after SIGTERM: {self.log_tail()}") from None

    def log_tail(self):
        return (self.work / "agent.log").read_bytes()[-800:].decode(errors="replace")

    def kill(self):
        RUNNING.discard(self)
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

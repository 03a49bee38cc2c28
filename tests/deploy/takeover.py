"""Taking over from another agent as docs/moving.md has it: both run for a while, nothing is lost, and what comes twice is of that while."""

import json
import threading
import time
import urllib.request

from common import REGION, Failed, Process, clean_environment, free_port, run, wait_for

# Lines a second, while both agents come and go.
PACE = 200


class Writer:
    """A service that logs numbered lines from the beginning to the end of a `with`, and rotates its log now and then."""

    def __init__(self, path):
        self.path, self.count, self.running = path, 0, True
        self.thread = threading.Thread(target=self.write)

    def write(self):
        while self.running:
            with open(self.path, "a") as log:
                for _ in range(PACE):
                    if not self.running:
                        return
                    log.write(f'{{"n":{self.count}}}\n')
                    log.flush()
                    self.count += 1
                    time.sleep(1 / PACE)
            self.path.rename(self.path.with_suffix(f".log.{self.count}"))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.running = False
        self.thread.join()


def check(tools):
    folder, stream, new = tools.folder("takeover"), free_port(), free_port()
    (folder / "log").mkdir()
    base = {"KINETAIL_STREAM": "logs", "KINETAIL_REGION": REGION, "KINETAIL_ENDPOINT": f"http://127.0.0.1:{stream}", "KINETAIL_PATHS": folder / "log/app.log", "KINETAIL_PARSE": "json"}
    before = clean_environment(**base, KINETAIL_STATE_DIR=folder / "before", KINETAIL_ADMIN_LISTEN="off")
    after = clean_environment(**base, KINETAIL_STATE_DIR=folder / "after", KINETAIL_ADMIN_LISTEN=f"127.0.0.1:{new}", KINETAIL_START_AT="end")
    with Process([tools.binary, "local", "--listen", f"127.0.0.1:{stream}", "--stream", "logs:1"], folder / "local.out", stream):
        with Writer(folder / "log/app.log") as writer:
            with Process([tools.binary, "run"], folder / "before.out", env=before) as old:
                wait_for(lambda: old.alive() and writer.count > 3 * PACE, "the old agent to have something to do")
                began = writer.count
                with Process([tools.binary, "run"], folder / "after.out", new, after) as agent:
                    wait_for(lambda: agent.alive() and started(new), "the new agent to know where each file ends")
                    time.sleep(1)
                    if old.stop() != 0:
                        raise Failed("the old agent did not stop in order")
                    ended = writer.count
                    wait_for(lambda: writer.count > ended + 2 * PACE, "the new agent to be alone for a while")
                    writer.__exit__()
                    if agent.stop() != 0:
                        raise Failed("the new agent did not stop in order")
        said = run([tools.binary, "consume", "--stream", "logs", "--until", "now"], "consume", env=clean_environment(**base))
    numbers = sorted(json.loads(line)["n"] for line in said.splitlines())
    if lost := set(range(writer.count)) - set(numbers):
        raise Failed(f"{len(lost)} of {writer.count} lines are lost, such as {min(lost)}; both ran from {began} to {ended}")
    twice = {n for n, following in zip(numbers, numbers[1:]) if n == following}
    if not twice or min(twice) < began or max(twice) > ended + PACE:
        raise Failed(f"both ran from {began} to {ended}, and twice came {len(twice)} lines from {min(twice, default=None)} to {max(twice, default=None)}")


def started(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/startupz", timeout=5).status == 200
    except OSError:
        return False

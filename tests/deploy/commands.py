"""Every shell command that a document shows in a block: it is run here as it stands, but for ports, or the table below says why it cannot be."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import urllib.request
from dataclasses import dataclass

from common import DEADLINE, REGION, ROOT, Failed, Process, clean_environment, free_port, listens, run, wait_for

# What cannot be run here, by its beginning, and why.
CANNOT = {
    "git clone": "where this repository is kept is not known to it",
    "cargo test": "it is a step of .ci/run by itself",
    "KINETAIL_FLEET=all cargo test": "it takes minutes; `cargo test` runs a part of the same file",
    "docker compose": "no images can be built here; the check `compose` has the file's schema and settings",
    "kubectl apply": "there is no cluster; the check `kubernetes` has the manifest",
    "kubectl patch": "there is no cluster; tests/helm has pods with these annotations injected",
    "kubectl label": "there is no cluster",
    "helm test": "there is no cluster; tests/helm renders the test and checks its configuration",
    "sysctl -w": "it changes the machine",
}


@dataclass(frozen=True)
class Run:
    """It ends by itself, with 0, and says this."""

    says: str
    accept: tuple = (0,)


@dataclass(frozen=True)
class Serve:
    """It goes on: what is to be seen of it, until which it is waited for; then it is ended in order."""

    until: str


# How the others are run, by their beginning.
RUN = {
    "cargo run --release -- demo": Run("Every line arrived, byte for byte."),
    "kinetail local": Serve("listens"),
    "export": Run(""),
    "kinetail run": Serve("delivers"),
    "KINETAIL_STREAM=service-logs": Serve("starts"),
    "kinetail consume --stream service-logs --from -1h": Serve("says"),
    "kinetail consume --stream service-logs --out": Run(""),
    "kinetail consume --stream service-logs --until now --meta": Run("no gaps"),
    "kinetail consume --stream logs --idle": Run('"message"'),
    "kinetail verify": Run("no gaps"),
    "kinetail plan --config": Run("choose      "),
    "kinetail plan --from": Run("measured    "),
    "kinetail test deploy/examples": Run(" passed, 0 failed"),
    "time kinetail parse": Run("parse errors: 0"),
    "kubectl kustomize": Run("kind: Deployment"),
    "kubectl get pods": Run("shop/waiting\n"),
    "cd deploy/prometheus && promtool": Run("SUCCESS"),
    "helm dependency build": Run(""),
    "helm install kinetail": Run("kind: "),
    "helm install demo": Run("kind: Job"),
    "helm install injector": Run("kind: MutatingWebhookConfiguration"),
    "helm template demo": Run("restartPolicy: Always"),
    "diff deploy/ecs/firelens": Run('> ', (1,)),
}
# Programs that a machine may lack; then what needs them is left out, and said.
OPTIONAL = ("helm", "jq", "kubectl", "promtool")
# What the pods of a cluster would be, for the command that looks for those that were not injected.
PODS = {"items": [
    {"metadata": {"namespace": "shop", "name": "waiting", "annotations": {"kinetail.dev/inject": "true"}}},
    {"metadata": {"namespace": "shop", "name": "done", "annotations": {"kinetail.dev/inject": "true", "kinetail.dev/status": "injected"}}},
    {"metadata": {"namespace": "shop", "name": "other"}},
]}
CONFIG = "sources: [{paths: [/var/log/app/*.log], parse: json}]\nkinesis: {stream: service-logs, region: eu-west-1}\n"
# Lines of the log that commands read and that agents send.
LINES = 2_000


def documents():
    found = [ROOT / "README.md", ROOT / "ARCHITECTURE.md"]
    for folder in ("deploy", "docs", "helm/kinetail", "helm/kinetail-lib"):
        found += sorted((ROOT / folder).glob("*.md"))
    return found


def blocks(text, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def split(block):
    """A block's commands; those of several lines are one."""
    commands, open_ = [], ""
    for line in block.splitlines():
        open_ += line + "\n"
        try:
            shlex.split(open_, comments=True)
        except ValueError:
            continue
        if not line.endswith("\\"):
            commands.append(open_.strip())
            open_ = ""
    if open_:
        raise Failed(f"a command without an end: {open_}")
    return [c for c in commands if c and not c.startswith("#")]


def how(command):
    """What is done with a command: the longest beginning counts."""
    fits = [name for name in [*RUN, *CANNOT] if command.startswith(name)]
    if not fits:
        raise Failed(f"nothing says how this is run, or why it cannot be: {command}")
    return max(fits, key=len)


def asked(port, path):
    """What an agent answers; nothing if it does not, or with an error."""
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).read().decode()
    except OSError:
        return None


def delivered(port):
    """How many events an agent has delivered."""
    return sum(int(n) for n in re.findall(r"^kinetail_kinesis_user_records_total\{.*\} (\d+)$", asked(port, "/metrics") or "", re.MULTILINE))


class Shell:
    """The folder and the environment that the commands of a block have."""

    def __init__(self, tools, box):
        self.tools, self.folder, self.served = tools, box.folder, []
        self.agent_port, self.stream_port, self.box = free_port(), free_port(), box
        self.env = clean_environment(
            PATH=f"{box.bin}:{os.environ['PATH']}", KINETAIL_ENDPOINT=f"http://127.0.0.1:{box.port}", AWS_REGION=REGION, KINETAIL_STATE_DIR=self.folder / "state",
            KINETAIL_ADMIN_LISTEN=f"127.0.0.1:{self.agent_port}",
        )

    def adapt(self, command):
        """The same on ports that are free here, and shorter."""
        for before, after in {
            "cargo run --release --": "kinetail", "helm install": "helm template", "kinetail local": f"kinetail local --listen 127.0.0.1:{self.stream_port}",
            "127.0.0.1:4567": f"127.0.0.1:{self.stream_port}", "127.0.0.1:9464": f"127.0.0.1:{self.box.agent_port}", "--seconds 60": "--seconds 2",
        }.items():
            command = command.replace(before, after)
        return command.removesuffix("&").strip()

    def bash(self, command):
        return ["bash", "-euo", "pipefail", "-c", command]

    def run(self, name, command, how):
        if name == "export":
            said = run(self.bash(f"{self.adapt(command)}; env -0"), command, env=self.env)
            self.env = dict(e.split("=", 1) for e in said.split("\0") if "=" in e)
            return
        with self.box.moving() if name == "kinetail plan --from" else contextlib.nullcontext():
            done = subprocess.run(self.bash(self.adapt(command)), cwd=self.folder, env=self.env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
        said = done.stdout + done.stderr
        if done.returncode not in how.accept or how.says not in said:
            raise Failed(f"{command}\nexit code {done.returncode}, {how.says!r} was expected:\n{said[-3000:]}")

    def serve(self, name, command, how):
        log = self.folder / f"served-{len(self.served)}.out"
        with open(log, "wb") as out:
            # A group of its own, so that what bash has started ends with it.
            child = subprocess.Popen(self.bash(f"exec env {self.adapt(command)}"), cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self.served.append((command, child, log))

        def is_so():
            if child.poll() is not None:
                raise Failed(f"{command}\nit has ended with {child.returncode}: {log.read_text()[-2000:]}")
            return self.seen(how.until, log)

        wait_for(is_so, f"{command}: {how.until}")

    def seen(self, what, log):
        if what == "listens":
            return listens(self.stream_port)
        if what == "says":
            return b"\n" in log.read_bytes()
        if what == "starts":
            return asked(self.agent_port, "/startupz") is not None
        return delivered(self.agent_port) >= LINES

    def end(self):
        """Ends what still runs, in order, and the last first; each has to end with 0."""
        wrong = []
        for command, child, log in reversed(self.served):
            if child.poll() is None:
                child.send_signal(signal.SIGINT if "consume" in command else signal.SIGTERM)
            try:
                code = child.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                code = child.wait()
            if code != 0:
                wrong.append(f"{command}\nit ended with {code}: {log.read_text()[-1000:]}")
        self.served = []
        if wrong:
            raise Failed("\n".join(wrong))


class Box:
    """A stream with events that have ids, an agent that goes on sending, a log, the programs, and the repository as commands expect it."""

    def __init__(self, tools):
        self.tools, self.folder = tools, tools.folder("commands")
        self.bin, self.port, self.agent_port = self.folder / "bin", free_port(), free_port()
        self.bin.mkdir()
        (self.folder / "more").mkdir()
        for name, program in {"kinetail": tools.binary, **{p: tools.found.get(p) for p in OPTIONAL if p != "kubectl"}}.items():
            if program:
                (self.bin / name).symlink_to(program)
        (self.folder / "deploy").symlink_to(ROOT / "deploy")
        # Helm writes what it fetches beside the chart.
        shutil.copytree(ROOT / "helm", self.folder / "helm", ignore=shutil.ignore_patterns("charts", "*.tgz"))
        (self.folder / "kinetail.yaml").write_text(CONFIG)
        (self.folder / "pods.json").write_text(json.dumps(PODS))
        if tools.found.get("kubectl"):
            self.kubectl()
        lines = "".join(f'{{"message":"line {n}","level":"info"}}\n' for n in range(LINES))
        (self.folder / "app.log").write_text(lines)

    def kubectl(self):
        """kubectl, which answers for a cluster where there is none."""
        stand_in = self.bin / "kubectl"
        real = self.tools.need("kubectl")
        stand_in.write_text(f'#!/bin/sh\nif [ "$1" = get ]; then exec cat "{self.folder}/pods.json"; fi\nexec "{real}" "$@"\n')
        stand_in.chmod(0o755)

    def __enter__(self):
        stream = [self.tools.binary, "local", "--listen", f"127.0.0.1:{self.port}", "--stream", "service-logs:2", "--stream", "logs:1"]
        self.local = Process(stream, self.folder / "local.out", self.port).__enter__()
        config = {"sources": [{"paths": [f"{self.folder}/app.log", f"{self.folder}/more/moving.log"], "parse": "json", "add": {"id": True}}]}
        env = clean_environment(
            KINETAIL_CONFIG=json.dumps(config), KINETAIL_STREAM="service-logs", KINETAIL_REGION=REGION, KINETAIL_ENDPOINT=f"http://127.0.0.1:{self.port}",
            KINETAIL_STATE_DIR=self.folder / "sending", KINETAIL_ADMIN_LISTEN=f"127.0.0.1:{self.agent_port}",
        )
        try:
            self.agent = Process([self.tools.binary, "run"], self.folder / "agent.out", self.agent_port, env).__enter__()
            wait_for(lambda: delivered(self.agent_port) >= LINES, "the events of the log are in the stream")
        except BaseException:
            self.local.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.agent.__exit__()
        return self.local.__exit__()

    @contextlib.contextmanager
    def moving(self):
        """A log that grows meanwhile, and that the agent sends."""
        loop = 'while :; do echo \'{"message":"one more"}\' >> "$0"; sleep 0.05; done'
        writer = subprocess.Popen(["bash", "-c", loop, str(self.folder / "more/moving.log")])
        try:
            yield
        finally:
            writer.kill()
            writer.wait()


def check(tools):
    """Runs them all; those of a block share a folder, an environment, and what goes on."""
    used = set()
    with Box(tools) as box:
        for file in documents():
            for block in blocks(file.read_text(), "sh"):
                used |= check_block(tools, box, block)
            for block in blocks(file.read_text(), "console"):
                check_console(box, str(file.relative_to(ROOT)), block)
    if unused := {*RUN, *CANNOT} - used:
        raise Failed(f"no document has these commands: {sorted(unused)}")


def check_block(tools, box, block):
    shell, used = Shell(tools, box), set()
    shutil.rmtree(shell.folder / "state", ignore_errors=True)
    try:
        for command in split(block):
            name = how(command)
            used.add(name)
            absent = [p for p in OPTIONAL if re.search(rf"\b{p}\b", command) and not tools.found.get(p)]
            kind = None if absent else RUN.get(name)
            began = time.monotonic()
            if isinstance(kind, Serve):
                shell.serve(name, command, kind)
            elif kind:
                shell.run(name, command, kind)
            why = "" if kind else f"  (not run: {CANNOT.get(name) or 'no ' + ', '.join(absent)})"
            print(f"        {time.monotonic() - began:5.1f} s  {command.splitlines()[0][:100]}{why}", flush=True)
    finally:
        shell.end()
    return used


def check_console(box, name, block):
    """Commands with what they say, to the byte."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        env = clean_environment(PATH=f"{box.bin}:{os.environ['PATH']}")
        done = subprocess.run(["bash", "-c", command], cwd=box.folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
        if done.stdout + done.stderr != expected:
            raise Failed(f"{name}: {command}\nsays\n{done.stdout}{done.stderr}\nand not\n{expected}")

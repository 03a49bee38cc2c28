#!/usr/bin/env python3
"""The image, built by the project's Dockerfile and run: what it holds, and what becomes of a pod's logs with it. No registry of images is needed.

    image.py --binary target/debug/kinetail --work DIR      # the Dockerfile from its stage rootfs on, around a binary that is there
    image.py --compile --work DIR                           # the whole Dockerfile, as a release has it: ten minutes of two cores
    image.py --image REF --work DIR                         # one that is there, by another engine's archive or in podman's own storage
    image.py ... --only NAME,...

The first takes any binary: one that needs libraries, as builds for development do, has them below it, and its size is not judged. The base images are
made here: tools of this machine for the stage rootfs; for --compile Debian by mmdebstrap, and this machine's Rust, which is mounted. Images and containers are
kept in the work directory, away from those of the machine. Needs podman and root; without, and where no container can be run in whichever way, everything is
skipped and says why. The last line is "N passed, M failed, K skipped".
"""

import argparse
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import traceback
from pathlib import Path

from common import DEPLOY, ROOT, Failed, Skipped, clean_environment, run, wait_for

# The most that the image of a release may have, and what its base has of that: the files of base-files, netbase, media-types and tzdata of Debian 13 and
# the certificates, which gcr.io/distroless/static is made of, are 1.95 MB in a layer. Of the rest, the binary is all but certificates and licences.
LARGEST = 15 * 1000 * 1000
DEFAULT_BASE = 2 * 1000 * 1000
USER = 65532
STREAM, ENDPOINT = "service-logs:2", "http://localhost:4567"
# What the image is told in every test that sends.
SENDS = {
    "KINETAIL_STREAM": "service-logs", "KINETAIL_REGION": "eu-west-1", "KINETAIL_ENDPOINT": ENDPOINT, "KINETAIL_PARSE": "json",
    "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any",
}
# What a container has under Kubernetes' "restricted".
RESTRICTED = ["--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
TOOLS = ["/bin/sh", "/bin/bash", "/bin/chmod", "/usr/bin/install"]
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
CONFIGURATION = """
[engine]
runtime = "{runtime}"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
log_driver = "k8s-file"
cgroups = "{cgroups}"
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
"""


class Podman:
    """Podman with a storage of its own, in the first way in which it can run anything here."""

    WAYS = [(d, r, c) for d in ("overlay", "vfs") for c in ("enabled", "disabled") for r in ("runc", "crun") if shutil.which(r)]

    def __init__(self, work):
        self.work, self.tried = work, []
        if not shutil.which("podman"):
            raise Skipped("there is no podman (Debian: podman, runc)")
        if os.geteuid() != 0:
            raise Skipped("podman runs here as root alone: volumes of other users than one's own are what is tested")
        archive(work / "probe.tar", closure(["/bin/true"]))
        for way in self.WAYS:
            self.use(*way)
            if self.works():
                print(f"podman: {way[0]}, {way[1]}, cgroups {way[2]}", flush=True)
                return
        raise Skipped("podman can run no container here: " + "; ".join(self.tried))

    def use(self, driver, runtime, cgroups):
        (self.work / "containers.conf").write_text(CONFIGURATION.format(runtime=runtime, cgroups=cgroups))
        self.env = clean_environment(CONTAINERS_CONF=self.work / "containers.conf")
        # One that asks a daemon would not see any of this.
        self.env.pop("CONTAINER_HOST", None)
        self.command = ["podman", "--root", self.work / f"storage-{driver}", "--runroot", self.work / "run", "--storage-driver", driver]
        self.isolation, self.way = ["--isolation", "oci"], f"{driver}, {runtime}, cgroups {cgroups}"

    def works(self):
        try:
            self("import", self.work / "probe.tar", "localhost/probe:1")
            self("run", "--rm", "--network", "none", "localhost/probe:1", "/bin/true", timeout=60)
            return True
        except (Failed, subprocess.TimeoutExpired) as problem:
            self.tried.append(f"{self.way}: {str(problem).strip().splitlines()[-1][:200]}")
            return False

    def __call__(self, *arguments, accept=(0,), **options):
        return run([*self.command, *arguments], f"podman {arguments[0]} {arguments[-1]}", accept, env=self.env, **options)

    def code(self, *arguments):
        return subprocess.run([str(c) for c in (*self.command, *arguments)], env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    def inspect(self, what, *kind):
        return json.loads(self(*kind, "inspect", what))[0]

    def clean(self):
        self.code("pod", "rm", "--all", "--force", "--time", "1")
        self.code("rm", "--all", "--force", "--time", "1", "--volumes")
        self.code("volume", "prune", "--force")


# --- images without a registry ---------------------------------------------------------------------------------------


def closure(programs):
    """The programs, and the libraries that they need."""
    files = set(programs)
    for program in programs:
        said = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        files |= set(re.findall(r"(/\S+) \(0x", said))
    return sorted(files)


def archive(path, files, links=(), folders=()):
    """A tar of this machine's files where they are here, besides links and open folders."""
    with tarfile.open(path, "w") as out:
        for folder, mode in (("tmp", 0o1777), *folders):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            out.addfile(entry)
        for file in files:
            with open(os.path.realpath(file), "rb") as source:
                data = source.read()
            entry = tarfile.TarInfo(str(file).lstrip("/"))
            entry.mode, entry.size = 0o755, len(data)
            out.addfile(entry, io.BytesIO(data))
        for link, target in links:
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            out.addfile(entry)


def tools_image(podman):
    """What stands in for Rust's image where nothing is compiled: a shell, two programs and the certificates."""
    archive(podman.work / "tools.tar", [*closure(TOOLS), CERTIFICATES])
    podman("import", podman.work / "tools.tar", "localhost/tools:1")
    return "localhost/tools:1"


def service_image(podman, libraries):
    """What stands in for a service's image, and for busybox: Debian's static busybox, and what a binary for development needs."""
    from run import debian

    busybox = shutil.which("busybox") or debian(podman.work, "busybox-static", "bin/busybox")
    if not busybox:
        raise Skipped("no busybox (Debian: busybox-static)")
    links = [(f"bin/{name}", "busybox") for name in ("sh", "date", "sleep", "cat", "ls", "seq", "id", "stat", "true")]
    shutil.copy(busybox, podman.work / "busybox")
    with tarfile.open(podman.work / "service.tar", "w"):
        pass
    archive(podman.work / "service.tar", libraries, links)
    with tarfile.open(podman.work / "service.tar", "a") as out:
        out.add(podman.work / "busybox", "bin/busybox")
    podman("import", "--change", "ENV PATH=/bin", podman.work / "service.tar", "localhost/service:1")


def wrapped(podman, binary):
    """The Dockerfile around a binary, which takes the place of its stage `compile`."""
    context = podman.work / "compile"
    shutil.rmtree(context, ignore_errors=True)
    (context / "licenses").mkdir(parents=True)
    # Symbols of a build for development are most of it.
    if subprocess.run(["strip", "-o", context / "kinetail", binary], capture_output=True).returncode != 0:
        shutil.copy(binary, context / "kinetail")
    libraries = [file for file in closure([str(binary)]) if file != str(binary)]
    shutil.copy(ROOT / "LICENSE", context / "licenses/LICENSE")
    (context / "licenses/THIRD-PARTY.txt.gz").write_bytes(gzip.compress(b"Made by deploy/third-party.sh when the whole is built.\n"))
    base = "scratch"
    if libraries:
        base = "localhost/libraries:1"
        archive(podman.work / "libraries.tar", libraries)
        podman("import", podman.work / "libraries.tar", base)
    build(podman, tools_image(podman), base, "--network", "none", "--build-context", f"compile={context}")
    return libraries


def compiled(podman):
    """The whole Dockerfile. Rust's image is Debian with this machine's Rust, for which Debian's mirror and crates.io are asked."""
    if not shutil.which("mmdebstrap"):
        raise Skipped("there is no mmdebstrap for a base image (Debian: mmdebstrap)")
    rust = Path(run(["rustc", "--print", "sysroot"], "rustc", cwd=ROOT).strip())
    debian = podman.work / "debian.tar"
    if not debian.exists():
        packages = "ca-certificates,gcc,g++,make,libc6-dev,binutils"
        run(["mmdebstrap", "--variant=minbase", f"--include={packages}", "bookworm", debian], "mmdebstrap", timeout=1800)
    podman("import", "--change", f"ENV PATH={rust}/bin:/usr/local/bin:/usr/bin:/bin", debian, "localhost/rust:1", timeout=600)
    # The certificates too: the way to the registry may be by a proxy that this machine trusts.
    mounts = ["-v", f"{rust}:{rust}:ro", "-v", "/etc/ssl/certs:/etc/ssl/certs:ro"]
    build(podman, "localhost/rust:1", "scratch", "--network", "host", *mounts)
    return []


def build(podman, rust, base, *options):
    revision = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    arguments = {"RUST": rust, "BASE": base, "VERSION": version(), "REVISION": revision or "unknown", "CREATED": "2026-01-02T03:04:05Z"}
    arguments = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    podman("build", "--pull=never", *podman.isolation, *options, *arguments, "--tag", "localhost/kinetail:1", ROOT, timeout=5000)


def version():
    return re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]


# --- the checks ------------------------------------------------------------------------------------------------------


class Image:
    """The image under test."""

    def __init__(self, podman, name, libraries):
        self.podman, self.name, self.libraries = podman, name, libraries

    def settings(self):
        """What the image says of itself."""
        found = self.podman.inspect(self.name, "image")
        config = found["Config"]
        wanted = {
            "User": f"{USER}:{USER}", "Entrypoint": ["/kinetail"], "Cmd": ["run"], "StopSignal": "SIGTERM", "ExposedPorts": {"9464/tcp": {}},
            "Volumes": {"/var/lib/kinetail": {}, "/var/log/kinetail": {}},
        }
        if wrong := {key: config.get(key) for key, value in wanted.items() if config.get(key) != value}:
            raise Failed(f"it is not as it should be: {wrong}")
        labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
        missing = {"title", "description", "version", "revision", "created", "source", "licenses", "base.name"} - labels.keys()
        if missing or (labels["version"], labels["title"], labels["licenses"]) != (version(), "kinetail", "Apache-2.0"):
            raise Failed(f"its labels are {labels}, without {missing}")
        size = found["Size"]
        base = DEFAULT_BASE if labels["base.name"] == "scratch" else 0
        print(f"the image has {size / 1e6:.2f} MB{', for development, with libraries' if self.libraries else ', with nothing below it' if base else ''}")
        if size + base > LARGEST and not self.libraries:
            raise Failed(f"the image has {size} bytes, and {base} would come below it: more than {LARGEST}")

    def contents(self):
        """Its files: the binary, certificates and licences, and no shell; who owns what, and what may be done with it."""
        container = self.podman("create", self.name).strip()
        exported = self.podman.work / "export.tar"
        self.podman("export", "--output", exported, container)
        with tarfile.open(exported) as archive_:
            found = {"/" + entry.name.rstrip("/"): entry for entry in archive_}
        made_by_podman = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab", "/run/.containerenv"}
        files = {name for name, entry in found.items() if not entry.isdir()} - made_by_podman - set(self.libraries)
        ours = {"/kinetail", CERTIFICATES, "/licenses/LICENSE", "/licenses/THIRD-PARTY.txt.gz"}
        if missing := ours - files:
            raise Failed(f"it has no {missing}")
        if "scratch" in self.podman.inspect(self.name, "image")["Config"]["Labels"]["org.opencontainers.image.base.name"] and files != ours:
            raise Failed(f"it has files that nobody asked for: {files - ours}")
        if shells := [name for name in files if re.search(r"/(ba|da|z|)sh$|/busybox$", name)]:
            raise Failed(f"it has a shell: {shells}")
        wanted = {
            "/kinetail": (0, 0, 0o755), "/tmp": (0, 0, 0o1777), "/var/lib/kinetail": (USER, USER, 0o700), "/var/log/kinetail": (USER, USER, 0o1777),
            CERTIFICATES: (0, 0, 0o644), "/licenses/THIRD-PARTY.txt.gz": (0, 0, 0o644),
        }
        if wrong := {n: (e.uid, e.gid, oct(e.mode)) for n, e in found.items() if n in wanted and (e.uid, e.gid, e.mode & 0o7777) != wanted[n]}:
            raise Failed(f"owners and modes: {wrong}")
        if special := [name for name, entry in found.items() if entry.isfile() and entry.mode & 0o6000]:
            raise Failed(f"files that give rights away: {special}")

    def runs(self):
        """As the user, with nothing to write to and no capability; no program but the one."""
        said = self.podman("run", "--rm", "--network", "none", *RESTRICTED, self.name, "--version").strip()
        if said != f"kinetail {version()}":
            raise Failed(f"it says {said!r}")
        for shell in ("/bin/sh", "/bin/bash", "/busybox/sh"):
            done = self.podman.code("run", "--rm", "--network", "none", "--entrypoint", shell, self.name, "-c", "true")
            if done.returncode not in (126, 127):
                raise Failed(f"{shell}: exit code {done.returncode} {done.stderr}")
        # A setting that is wrong is the exit code 2, and is said on stderr.
        done = self.podman.code("run", "--rm", "--network", "none", *RESTRICTED, self.name)
        if done.returncode != 2 or "stream" not in done.stderr:
            raise Failed(f"without a configuration: exit code {done.returncode} {done.stderr}")

    def pod(self):
        """A service, kinetail beside it and the stream, in one pod: events arrive, a stop drains, health is told."""
        podman = self.podman
        podman("pod", "create", "--name", "logs", "--share", "net", "--network", "none")
        self.stream("logs")
        # The volume gets its owner from the image where it is first mounted, as on ECS; the service may write there, whoever it is.
        agent = {**SENDS, "KINETAIL_PATHS": "/var/log/kinetail/*.log"}
        podman("run", "--detach", "--pod", "logs", "--name", "agent", *RESTRICTED, "--volume", "logs:/var/log/kinetail", "--health-interval", "disable", *environment(agent), self.with_health())
        script = 'trap \'for i in $(seq 1000); do echo "{\\"last\\":$i}"; done >>/var/log/kinetail/web.log; exit 0\' TERM; n=0; while :; do n=$((n+1)); echo "{\\"n\\":$n}" >>/var/log/kinetail/web.log; sleep 0.01; done'
        podman("run", "--detach", "--pod", "logs", "--name", "web", "--user", "10001:10001", *RESTRICTED, "--volume", "logs:/var/log/kinetail", "localhost/service:1", "sh", "-c", script)
        wait_for(lambda: podman.code("healthcheck", "run", "agent").returncode == 0, "the agent's HEALTHCHECK")
        for arguments in ([], ["--live"]):
            podman("exec", "agent", "/kinetail", "healthcheck", *arguments)
        wait_for(lambda: len(self.events("logs")) >= 50, "events arrive in the stream")
        # The service writes as much as it can while it is stopped, and then the agent is.
        podman("stop", "--time", "20", "web")
        started = time.monotonic()
        podman("stop", "--time", "30", "agent")
        state = podman.inspect("agent", "container")["State"]
        if state["ExitCode"] != 0:
            raise Failed(f"stopped, it ends with {state['ExitCode']}:\n{podman.code('logs', 'agent').stderr[-2000:]}")
        written = podman("run", "--rm", "--network", "none", "--volume", "logs:/logs:ro", "localhost/service:1", "cat", "/logs/web.log").splitlines()
        events = [json.dumps(event, separators=(",", ":")) for event in self.events("logs")]
        if sorted(events) != sorted(written) or len(written) < 1050:
            raise Failed(f"{len(written)} lines were written and {len(events)} events arrived, {len(set(written) - set(events))} of the lines not")
        print(f"{len(events)} events of {len(written)} lines; drained in {time.monotonic() - started:.1f} s")
        owner = podman("run", "--rm", "--network", "none", "--volume", "logs:/logs:ro", "localhost/service:1", "stat", "-c", "%u %a", "/logs").strip()
        if owner != f"{USER} 1777":
            raise Failed(f"the volume's owner and mode are {owner}")
        podman("start", "agent")
        podman("kill", "--signal", "KILL", "agent")
        wait_for(lambda: podman.code("exec", "agent", "/kinetail", "healthcheck").returncode != 0, "a dead agent is not healthy")

    def init_container(self):
        """`install` into a volume, as an init container; then the service's own image has `kinetail exec`."""
        podman = self.podman
        podman("pod", "create", "--name", "exec", "--share", "net", "--network", "none")
        self.stream("exec")
        # The owner of an emptyDir is root, and its mode lets all write.
        bin_ = podman.work / "bin"
        shutil.rmtree(bin_, ignore_errors=True)
        bin_.mkdir()
        bin_.chmod(0o777)
        podman("run", "--rm", "--network", "none", *RESTRICTED, "--volume", f"{bin_}:/shared", self.name, "install", "/shared/kinetail")
        if (bin_ / "kinetail").stat().st_mode & 0o7777 != 0o755:
            raise Failed("what was installed has another mode")
        settings = {**SENDS, "KINETAIL_STATE_DIR": "/state"}
        script = "for i in $(seq 500); do echo \"{\\\"n\\\":$i}\"; done; exit 7"
        done = podman.code(
            "run", "--pod", "exec", "--name", "wrapped", "--user", "10001:10001", *RESTRICTED, "--tmpfs", "/state:mode=1777", "--volume", f"{bin_}:/shared:ro", *environment(settings),
            "localhost/service:1", "/shared/kinetail", "exec", "--", "sh", "-c", script,
        )
        if done.returncode != 7 or len(done.stdout.splitlines()) != 500:
            raise Failed(f"kinetail exec: exit code {done.returncode}, {len(done.stdout.splitlines())} lines\n{done.stderr[-2000:]}")
        if len(events := self.events("exec")) != 500:
            raise Failed(f"{len(events)} events of 500 lines arrived")

    def manifest(self):
        """deploy/kubernetes/sidecar.yaml, played: with the stream beside it, and the sidecar as a plain container, since podman has no native ones."""
        podman = self.podman
        file = podman.work / "sidecar.yaml"
        file.write_text(playable((DEPLOY / "kubernetes/sidecar.yaml").read_text(), self.name))
        podman("kube", "play", "--network", "none", file)
        try:
            self.played()
        except Failed as problem:
            said = [podman.code("logs", f"web-pod-0-{name}").stderr[-2000:] for name in ("web", "kinetail")]
            raise Failed("\n".join([str(problem), *said])) from problem

    def played(self):
        podman = self.podman
        wait_for(lambda: len(events := self.events("web-pod-0")) >= 3 and events, "events of the played pod arrive")
        event = self.events("web-pod-0")[0]
        if event.get("message") != "hello" or not event.get("kubernetes", {}).get("pod_name"):
            raise Failed(f"an event is {event}")
        agent = podman.inspect("web-pod-0-kinetail", "container")
        if not agent["HostConfig"]["ReadonlyRootfs"] or agent["Config"]["User"] != f"{USER}:{USER}" or agent["EffectiveCaps"]:
            raise Failed(f"it may do too much: {agent['Config']['User']} {agent['EffectiveCaps']}")
        podman("stop", "--time", "20", "web-pod-0-web")
        podman("stop", "--time", "30", "web-pod-0-kinetail")
        if (code := podman.inspect("web-pod-0-kinetail", "container")["State"]["ExitCode"]) != 0:
            raise Failed(f"stopped, it ends with {code}")

    def with_health(self):
        """An image with README's HEALTHCHECK on top. Kubernetes and ECS do not look at an image's own."""
        line = re.search(r"^HEALTHCHECK .+", (ROOT / "README.md").read_text(), re.M)[0]
        folder = self.podman.work / "health"
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(f"FROM {self.name}\n{line}\n")
        self.podman("build", "--pull=never", "--format", "docker", "--tag", "localhost/health:1", folder)
        return "localhost/health:1"

    def stream(self, pod):
        command = ["local", "--listen", "127.0.0.1:4567", "--stream", STREAM]
        self.podman("run", "--detach", "--pod", pod, "--name", f"{pod}-stream", *RESTRICTED, self.name, *command)

    def events(self, pod):
        """All that the pod's stream has now."""
        settings = {**SENDS, "KINETAIL_PARSE": None}
        arguments = ["consume", "--stream", "service-logs", "--from", "trim_horizon", "--until", "now"]
        done = self.podman.code("run", "--rm", "--pod", pod, *RESTRICTED, *environment(settings), self.name, *arguments)
        if done.returncode != 0:
            raise Failed(f"consume: exit code {done.returncode}\n{done.stderr[-2000:]}")
        return [json.loads(line) for line in done.stdout.splitlines()]


def environment(variables):
    return [part for name, value in variables.items() if value is not None for part in ("--env", f"{name}={value}")]


def playable(text, image):
    """The manifest in what podman plays of Kubernetes."""
    import yaml

    documents = list(yaml.safe_load_all(text))
    deployment = next(d for d in documents if d["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    deployment["spec"]["replicas"] = 1
    # It starts init containers over and over that have restartPolicy: Always, has no downwardAPI volumes, few fields and no
    # probes by HTTP.
    agent = pod.pop("initContainers")[0]
    agent.pop("restartPolicy")
    gone = [volume["name"] for volume in pod["volumes"] if "downwardAPI" in volume]
    pod["volumes"] = [volume for volume in pod["volumes"] if volume["name"] not in gone]
    agent["volumeMounts"] = [mount for mount in agent["volumeMounts"] if mount["name"] not in gone]
    agent["env"] = [v for v in agent["env"] if v["valueFrom"]["fieldRef"]["fieldPath"] in ("metadata.name", "metadata.uid")]
    agent["env"] += [{"name": name, "value": value} for name, value in SENDS.items() if name.startswith("AWS_") or name == "KINETAIL_ENDPOINT"]
    pod["containers"][0]["image"] = "localhost/service:1"
    stream = {"name": "stream", "args": ["local", "--listen", "127.0.0.1:4567", "--stream", STREAM], "securityContext": agent["securityContext"]}
    # Without a network there is nobody to whom a port could be opened.
    agent.pop("ports")
    for probe in ("startupProbe", "livenessProbe"):
        agent.pop(probe)
    for container in (agent, stream):
        container.update(image=image, imagePullPolicy="Never")
    pod["containers"][0]["imagePullPolicy"] = "Never"
    pod["containers"] += [stream, agent]
    # Instead of fsGroup, it gives a volume to the user of the container that happens to be the first to mount it, and to nobody else.
    pod["containers"][0]["securityContext"]["runAsUser"] = USER
    return yaml.safe_dump_all(d for d in documents if d["kind"] != "ServiceAccount")


def made(podman, options):
    """The image under test, and the libraries that it has for a binary that needs some."""
    if options.image:
        if Path(options.image).is_file():
            options.image = podman("load", "--quiet", "--input", options.image).strip().split(": ", 1)[-1]
        return options.image, []
    libraries = compiled(podman) if options.compile else wrapped(podman, options.binary.resolve())
    return "localhost/kinetail:1", libraries


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/debug/kinetail")
    parser.add_argument("--compile", action="store_true", help="build the whole Dockerfile")
    parser.add_argument("--image", help="an archive that `docker save` or `podman save` wrote, or a name in the work directory's storage")
    parser.add_argument("--work", type=Path, default=ROOT / "target/image")
    parser.add_argument("--only", default="", help="names of checks, separated by commas")
    options = parser.parse_args()
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    names = ("settings", "contents", "runs", "pod", "init_container", "manifest")
    only = set(filter(None, options.only.split(","))) or set(names)
    if only - set(names):
        parser.error(f"there are only {', '.join(names)}")
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    podman = None

    def check(name, function):
        start, outcome, said = time.monotonic(), "passed", ""
        try:
            return function()
        except Skipped as reason:
            outcome, said = "skipped", f": {reason}"
        except Failed as problem:
            outcome, said = "failed", f": {problem}"
        except Exception:
            outcome, said = "failed", f":\n{traceback.format_exc()}"
        finally:
            counts[outcome] += 1
            print(f"{outcome:8}{name} ({time.monotonic() - start:.0f} s){said}", flush=True)

    def prepare():
        nonlocal podman
        podman = Podman(options.work)
        podman.clean()
        name, libraries = made(podman, options)
        service_image(podman, libraries)
        return Image(podman, name, libraries)

    try:
        if image := check("image", prepare):
            for name in (name for name in names if name in only):
                check(name, getattr(image, name))
                podman.clean()
    finally:
        if podman:
            podman.clean()
    print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())

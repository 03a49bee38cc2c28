"""What the documents say, against what is: links, the diff that is shown, and in docs/ configurations, commands by their flags, and all that is named
(metrics, settings, variables, messages of the log, lines of doctor). Commands in blocks are run by `commands`."""

import difflib
import json
import re
import shutil
import subprocess
import tomllib

from commands import blocks, documents
from common import DEPLOY, ROOT, Failed, check_config, run

DOCS = ROOT / "docs"
# Words with a program's name before them that are commands, and no messages.
PROGRAMS = ("kinetail", "kubectl", "ausearch", "cargo", "helm")
# What is named beside our own: metrics of others, and what AWS calls things.
FOREIGN = {"container_memory_usage_bytes"}
# The most that systemd's own rating of a service's exposure may be, in tenths, of 100.
EXPOSURE = 25


def anchors(file):
    return {re.sub(r"[^a-z0-9_ -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)}


def pages():
    return sorted(DOCS.glob("*.md"))


def links(tools):
    for document in [DEPLOY / "README.md", DEPLOY / "runbook.md", *pages()]:
        for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
            path, _, anchor = link.partition("#")
            target = (document.parent / path).resolve() if path else document
            if not target.exists():
                raise Failed(f"{document.name}: there is no {link}")
            if anchor and anchor not in anchors(target):
                raise Failed(f"{document.name}: there is no section {link}")
    text = (DEPLOY / "README.md").read_text()
    before, after = ((DEPLOY / "ecs/firelens" / f).read_text().splitlines() for f in ("aws-for-fluent-bit.json", "fargate.json"))
    real = [line[0] + line[2:] for line in difflib.ndiff(before, after) if line[:2] in ("- ", "+ ")]
    for document in (DEPLOY / "README.md", DOCS / "moving.md"):
        for shown in blocks(document.read_text(), "diff"):
            if shown.splitlines() != real:
                raise Failed(f"{document.name} shows another diff than there is: {real}")
    unnamed = [d.name for d in DEPLOY.iterdir() if d.is_dir() and f"({d.name}/" not in text]
    if unnamed:
        raise Failed(f"deploy/README.md does not name {unnamed}")
    readme = (ROOT / "README.md").read_text()
    if unnamed := [p.name for p in pages() if f"(docs/{p.name}" not in readme]:
        raise Failed(f"README.md does not lead to docs/{unnamed}")


# --- configurations ---


def configurations(tools):
    """Every block: `yaml` is a whole configuration of kinetail's, `json`, `toml` and `ini` are one of another agent's, in its own format."""
    count = 0
    for page in pages():
        text = page.read_text()
        for block in blocks(text, "yaml"):
            check_config(tools, page.name, block)
            count += 1
        for block in blocks(text, "json"):
            json.loads(block)
        for block in blocks(text, "toml"):
            vector(page.name, tomllib.loads(block))
        for block in blocks(text, "ini"):
            fluent_bit(page.name, block)
        if other := set(re.findall(r"^```([a-z]+)$", text, re.MULTILINE)) - {"yaml", "json", "toml", "ini", "sh", "console", "diff", "text"}:
            raise Failed(f"{page.name}: nothing checks blocks of {sorted(other)}")
    if count < 4:
        raise Failed(f"only {count} configurations in docs/")


def vector(name, config):
    """Each part has a type, and takes from one that is there."""
    parts = {**config["sources"], **config.get("transforms", {}), **config["sinks"]}
    for part, settings in parts.items():
        if "type" not in settings or set(settings.get("inputs", [])) - parts.keys():
            raise Failed(f"{name}: {part} of Vector's configuration has no type, or takes from nowhere")


def fluent_bit(name, text):
    """Sections with a name, and the parser that an input names."""
    sections, parsers = re.findall(r"^\[(\w+)\]\n((?:[ \t]+\S.*\n|\n)*)", text, re.MULTILINE), set()
    for section, body in sections:
        entries = {k.lower(): v.strip() for k, v in re.findall(r"^[ \t]+(\S+)[ \t]+(.*)$", body, re.MULTILINE)}
        if section != "SERVICE" and "name" not in entries:
            raise Failed(f"{name}: a section [{section}] of Fluent Bit's has no Name")
        parsers |= {entries["name"]} if section == "PARSER" else set()
    if used := set(re.findall(r"^[ \t]+Parser[ \t]+(\S+)", text, re.MULTILINE)) - parsers:
        raise Failed(f"{name}: no parser {used}")


# --- names ---


class Known:
    """All that there is, by README's tables, which tests/readme.rs compares with the code, and by the source itself."""

    def __init__(self, tools):
        readme = (ROOT / "README.md").read_text()

        def table(name, column):
            text = re.search(rf"<!-- begin: {name} -->(.*)<!-- end: {name} -->", readme, re.DOTALL).group(1)
            rows = [re.split(r"(?<!\\)\|", row)[1:-1] for row in text.strip().splitlines()[2:]]
            return {span for row in rows for span in re.findall(r"`([^`]+)`", row[column])}

        self.metrics = table("metrics", 0) | table("injector metrics", 0)
        self.labels = table("metrics", 2) | table("injector metrics", 2)
        self.settings = table("settings", 0)
        self.variables = table("settings", 1) | {"KINETAIL_CONFIG"}
        self.annotations = table("annotations", 0)
        self.leaves = {part for setting in self.settings for part in re.split(r"\.|\[\]", setting) if part}
        self.doctor = {s for row in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ", self.section(readme, "### Before it runs"), re.MULTILINE) for s in re.findall(r"`(\w+)`", row)}
        self.literals = "\n".join(self.texts(path.read_text()) for path in sorted((ROOT / "src").rglob("*.rs")))
        self.reasons = set(re.findall(r"[a-z][a-z_]+", self.literals))
        self.help, self.wrong = {}, []
        self.binary = tools.binary

    @staticmethod
    def section(text, heading):
        return re.split(r"^#", text.split(heading, 1)[1], maxsplit=1, flags=re.MULTILINE)[0]

    @staticmethod
    def texts(source):
        """The string literals of a file of Rust, each on a line."""
        found = re.findall(r'"((?:[^"\\]|\\.|\\\n)*)"', source, re.DOTALL)
        return "\n".join(re.sub(r"\\\n\s*", "", text).replace('\\"', '"') for text in found)

    def is_setting(self, name):
        """In full, from a source on, or the beginning of some."""
        return any(s == n or s.startswith((f"{n}.", f"{n}[")) for n in (name, f"sources[].{name}", f"sources[].transforms[].{name}") for s in self.settings)

    def flags(self, command):
        """The words of --help of a subcommand; none if there is no such command."""
        if command not in self.help:
            done = subprocess.run([self.binary, command, "--help"], capture_output=True, text=True)
            self.help[command] = set(re.findall(r"--[a-z-]+", done.stdout)) if done.returncode == 0 else None
        return self.help[command]


def names(tools):
    known = Known(tools)
    wrong = known.wrong
    for document in documents():
        prose = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
        for span in re.findall(r"`([^`\n]+)`", prose):
            command_line(known, document.name, span)
    for page in pages():
        text = page.read_text()
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        for metric in re.findall(r"\bkinetail_[a-z_]+", text):
            if metric not in known.metrics:
                known.wrong.append(f"{page.name}: there is no metric {metric}")
        for variable in re.findall(r"\bKINETAIL_[A-Z_]+", text):
            if variable not in known.variables:
                known.wrong.append(f"{page.name}: there is no variable {variable}")
        for annotation in re.findall(r"\bkinetail\.dev/[a-z-]+", text):
            if annotation not in known.annotations:
                known.wrong.append(f"{page.name}: there is no annotation {annotation}")
        for span in re.findall(r"`([^`\n]+)`", prose):
            setting(known, page.name, span.replace("\\|", "|"))
    ours(known)
    symptoms(known)
    if wrong:
        raise Failed("\n".join(wrong))


def command_line(known, name, span):
    """A command of kinetail's: it exists, and its flags do."""
    found = re.match(r"kinetail ([a-z]+)(?: (.*))?$", span)
    if not found:
        return
    flags = known.flags(found.group(1))
    if flags is None:
        return known.wrong.append(f"{name}: there is no command {span}")
    own = (found.group(2) or "").split(" -- ")[0]
    if wrong := set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", own)) - flags:
        known.wrong.append(f"{name}: {span} has no {sorted(wrong)}")


def setting(known, name, span):
    """A setting by its path, perhaps with a value."""
    found = re.match(r"((?:sources\[\]|kinesis|admin|spool|checkpoint|shutdown|log|deleted)(?:\.[a-z_]+|\[\])+)(?::.*)?$", span)
    if found and not found.group(1).endswith((".json", ".json.corrupt", ".jsonl", ".yaml")) and not known.is_setting(found.group(1)):
        known.wrong.append(f"{name}: there is no setting {span}")


def ours(known):
    """The second column of the tables of options in moving.md: what they are called here."""
    rows = re.findall(r"^\| ((?:[^|\n]|\\\|)*) \| ((?:[^|\n]|\\\|)*) \| (?:[^|\n]|\\\|)* \|$", (DOCS / "moving.md").read_text(), re.MULTILINE)
    checked = 0
    for _, cell in rows:
        for span in re.findall(r"`([^`]+)`", cell):
            word = re.match(r"[A-Za-z_.\[\]]+", span)
            name = word.group(0).rstrip(".") if word else ""
            known_name = known.is_setting(name) or name in known.leaves | known.variables or name.startswith("AWS_") or name in known.reasons
            checked += 1
            if word and not known_name and not span.startswith('["CMD"'):
                known.wrong.append(f"moving.md: kinetail has nothing that is called {span}")
    if checked < 70:
        known.wrong.append(f"moving.md: only {checked} options in its tables")


def symptoms(known):
    """troubleshooting.md: messages are in the source as they stand, doctor has the lines, and what has an underscore is something."""
    text = (DOCS / "troubleshooting.md").read_text()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for line in re.findall(r"doctor `(\w+)`", prose) + re.findall(r"^\| `(\w+)`: ", prose, re.MULTILINE):
        if line not in known.doctor:
            known.wrong.append(f"troubleshooting.md: doctor has no line {line}")
    messages = 0
    for span in re.findall(r"`([^`\n]+)`", prose):
        is_message = " " in span and span[0].islower() and not span.startswith(PROGRAMS) and not re.search(r"[{}=\[\]:]", span)
        if is_message:
            messages += 1
            if span not in known.literals:
                known.wrong.append(f"troubleshooting.md: nothing says {span!r}")
        elif re.fullmatch(r"[a-z]+(_[a-z]+)+", span) and span not in known.metrics | known.leaves | known.doctor | known.reasons | FOREIGN:
            known.wrong.append(f"troubleshooting.md: nothing is called {span}")
    if messages < 25:
        known.wrong.append(f"troubleshooting.md: only {messages} messages")
    # Sections and the table of symptoms belong together.
    sections = set(re.findall(r"^## (.*)$", text, re.MULTILINE))
    linked = set(re.findall(r"\]\(#([a-z-]+)\)", text))
    if unlinked := [s for s in sections if re.sub(r"[^a-z0-9_ -]", "", s.lower()).replace(" ", "-") not in linked]:
        known.wrong.append(f"troubleshooting.md: nothing leads to {unlinked}")


# --- systemd ---


def systemd(tools):
    """The unit, by systemd itself, and its configuration."""
    analyze = tools.need("systemd-analyze")
    folder = tools.folder("systemd")
    unit = (DEPLOY / "systemd/kinetail.service").read_text()
    file = folder / "kinetail.service"
    file.write_text(unit.replace("/usr/local/bin/kinetail", str(tools.binary)))
    run([analyze, "verify", file], "the unit")
    run([analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", file], "the unit's exposure")
    config = (DEPLOY / "systemd/kinetail.yaml").read_text()
    said = check_config(tools, "systemd/kinetail.yaml", config)
    state, stop = re.search(r"^state_dir: \"?(\S+?)\"?$", said, re.MULTILINE), re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    if state.group(1) != "/var/lib/kinetail" or "StateDirectory=kinetail" not in unit or int(stop.group(1)) < 30:
        raise Failed("systemd: the state is elsewhere than the unit has it, or the time to stop is less than the agent's")
    shutil.rmtree(folder)

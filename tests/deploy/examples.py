"""The example configurations: each is checked, its tests pass, and they would fail if they, or the configuration, were others."""

import copy
import re
import subprocess

import yaml

from common import DEPLOY, Failed, clean_environment

EXAMPLES = DEPLOY / "examples"
# Fewer inputs than this say little of a service.
LEAST_CASES = 8
# Transforms that tests cannot see, since they change no event of their few lines.
UNSEEN = {"metric", "truncate", "sample", "rate_limit"}
RESULT = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)


def kinetail(tools, *args):
    return subprocess.run([tools.binary, *map(str, args)], capture_output=True, text=True, env=clean_environment(), timeout=60)


def counts(done):
    """How many cases have passed and failed."""
    found = RESULT.search(done.stdout)
    if not found:
        raise Failed(f"kinetail test ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return int(found.group(1)), int(found.group(2))


def check(tools):
    folders = sorted(f for f in EXAMPLES.iterdir() if f.is_dir())
    listed, unnoticed = (DEPLOY / "README.md").read_text(), []
    for folder in folders:
        if f"(examples/{folder.name}/kinetail.yaml)" not in listed:
            raise Failed(f"deploy/README.md has no link to examples/{folder.name}/kinetail.yaml")
        config = folder / "kinetail.yaml"
        if (done := kinetail(tools, "check", "--config", config)).returncode != 0:
            raise Failed(f"{config}: {done.stdout}{done.stderr}")
        sources = {s["name"] for s in yaml.safe_load(config.read_text())["sources"]}
        for file in sorted(folder.glob("*.test.yaml")):
            unnoticed += [f"{file.relative_to(DEPLOY)} passes though {name}" for name in one_file(tools, config, file)]
            sources.discard(yaml.safe_load(file.read_text())["source"])
        if sources:
            raise Failed(f"{folder.name}: no test of the sources {', '.join(sorted(sources))}")
    if unnoticed:
        raise Failed("\n".join(unnoticed))


def one_file(tools, config, file):
    done, suite = kinetail(tools, "test", file), yaml.safe_load(file.read_text())
    passed, failed = counts(done)
    if failed or done.returncode != 0 or passed != len(suite["cases"]):
        raise Failed(f"{file}: {done.stdout}")
    if file.name == "kinetail.test.yaml" and passed < LEAST_CASES:
        raise Failed(f"{file} has only {passed} cases")
    work = tools.folder(f"examples/{file.parent.name}")
    for name, changed in mutated_suites(suite):
        changed["config"] = str(config)
        (work / "mutant.test.yaml").write_text(yaml.safe_dump(changed, allow_unicode=True, width=10_000))
        done = kinetail(tools, "test", work / "mutant.test.yaml")
        passed, failed = counts(done)
        if passed or failed != len(changed["cases"]) or done.returncode != 1:
            raise Failed(f"{file}: {passed} cases pass though {name}, exit code {done.returncode}")
        if "\n  " not in done.stdout or not re.search(r"expected|is missing|^ +[-+] ", done.stdout, re.MULTILINE):
            raise Failed(f"{file}: with {name}, no difference is shown: {done.stdout[:500]}")
    unnoticed = []
    for name, changed in mutated_configs(yaml.safe_load(config.read_text()), suite["source"]):
        (work / "mutant.yaml").write_text(yaml.safe_dump(changed, allow_unicode=True, width=10_000))
        (work / "mutant.test.yaml").write_text(yaml.safe_dump(suite | {"config": "mutant.yaml"}, allow_unicode=True, width=10_000))
        if counts(kinetail(tools, "test", work / "mutant.test.yaml"))[1] == 0:
            unnoticed.append(name)
    return unnoticed


def mutated_suites(suite):
    """The same cases with other expectations, each of which is wrong."""

    def all_cases(change):
        cases = [case for case in copy.deepcopy(suite["cases"]) if change(case) is not False]
        return {**suite, "cases": cases}

    def other_value(case):
        if not case.get("expect"):
            return False
        event = case["expect"][-1]
        name = next(iter(event))
        event[name] = [event[name]]
        return True

    def one_less(case):
        return bool(case.get("expect")) and bool(case["expect"].pop() or True)

    def another_field(case):
        if not case.get("expect"):
            return False
        case["expect"][0]["no_such_field"] = 1
        return True

    def other_fate(case):
        if case.pop("expect", None) is not None:
            case.pop("error", None)
            case["dropped"] = True
        else:
            case["dropped"] = not case["dropped"]

    def refused(case):
        case["error"] = not case.get("error", False)

    for name, change in (("a value is another", other_value), ("an event less is expected", one_less), ("a field more is expected", another_field),
                         ("what is dropped is expected, and what is not is not", other_fate), ("a refusal is expected", refused)):
        yield name, all_cases(change)


def mutated_configs(config, wanted):
    """The configuration without one thing after the other, of which the tests have to know."""
    at = next(index for index, source in enumerate(config["sources"]) if source["name"] == wanted)
    for key in ("timestamp", "level", "multiline"):
        if key in config["sources"][at]:
            changed = copy.deepcopy(config)
            del changed["sources"][at][key]
            yield f"{key} is left out", changed
    for index, transform in enumerate(config["sources"][at]["transforms"]):
        if next(iter(transform)) not in UNSEEN:
            changed = copy.deepcopy(config)
            del changed["sources"][at]["transforms"][index]
            yield f"{transform} is left out", changed
    if isinstance(config["sources"][at]["parse"], list):
        for index, parser in enumerate(config["sources"][at]["parse"]):
            changed = copy.deepcopy(config)
            del changed["sources"][at]["parse"][index]
            if parser != "raw":
                yield f"the parser {parser} is left out", changed

#!/usr/bin/env python3
"""What independent readers make of /metrics: promtool of the text format, prometheus_client's strict parser of OpenMetrics; and that both say the same.

   openmetrics.py URL [--promtool PATH]
"""

import argparse
import subprocess
import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as text_families

# What moves between two scrapes of an agent that has nothing to do.
MOVING = ("buffer_", "file_scans", "age_seconds", "backlog_seconds", "kinesis_shard_rate")
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def scrape(url, accept):
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def samples(families, without):
    """By name and labels; bounds as numbers, since the two formats write them in two ways."""
    found = {}
    for family in families:
        for sample in family.samples:
            labels = tuple(sorted((k, float(v) if k == "le" else v) for k, v in sample.labels.items()))
            if not any(word in sample.name for word in without):
                found[sample.name, labels] = sample.value
    return found


def check(url, promtool=None):
    """What is wrong, as a list of texts; of an agent that has nothing to do, since it is scraped twice."""
    found = []
    kind, opened = scrape(url, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    if kind != OPENMETRICS:
        found.append(f"OpenMetrics comes as {kind}")
    plain_kind, plain = scrape(url, "text/plain")
    if not (plain_kind or "").startswith("text/plain; version=0.0.4"):
        found.append(f"the text format comes as {plain_kind}")
    try:
        families = list(open_families(opened))
        a, b = samples(families, MOVING), samples(text_families(plain), MOVING)
    except ValueError as error:
        return found + [f"cannot be read: {error}"]
    for key in sorted(set(a) | set(b), key=str):
        if a.get(key) != b.get(key):
            found.append(f"{key}: {a.get(key)} in OpenMetrics, {b.get(key)} as text")
    kinds = {family.type for family in families}
    if not {"counter", "gauge", "histogram", "info"} <= kinds:
        found.append(f"families are of types {sorted(kinds)}")
    if promtool:
        said = subprocess.run([promtool, "check", "metrics"], input=plain, text=True, capture_output=True, timeout=60)
        if said.returncode or said.stdout or said.stderr:
            found.append(f"promtool: {said.stdout}{said.stderr}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--promtool")
    args = parser.parse_args()
    problems = check(args.url, args.promtool)
    print("\n".join(problems) or "ok")
    sys.exit(bool(problems))

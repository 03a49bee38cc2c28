#!/usr/bin/env python3
"""Reads the JSON that the bench harness wrote: a smoke test of correctness under faults, not of speed.

    bench_smoke.py RESULTS.json

Every run must be complete, with nothing lost and no aggregate that is damaged or outside its shard. Duplicates are allowed
only where the agent was killed, since what was in flight then is sent again. The last line is "N passed, M failed".
"""

import json
import sys

import common

KILLED = ("crash", "crash-in-outage")


def findings(run):
    found = [f"{k} is {run.get(k)}, expected {v}" for k, v in (("complete", True), ("lost", 0), ("kpl_bad", 0), ("kpl_outside_shard", 0), ("exit", 0))
             if run.get(k) != v]
    if run.get("duplicates") and run["workload"] not in KILLED:
        found.append(f"{run['duplicates']} duplicates")
    return found + ([str(run.get("agent_log_tail"))] if found else [])


def main():
    report = common.Report()
    with open(sys.argv[1]) as f:
        for run in json.load(f)["runs"]:
            report.case(f"{run['workload']}: {run['lines']} lines, duplicates {run.get('duplicates')}", findings(run), run["wall_s"])
    sys.exit(report.end())


if __name__ == "__main__":
    main()

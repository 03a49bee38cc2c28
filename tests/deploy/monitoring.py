"""Alerts, dashboard and the composed demonstration: promtool's tests, and every query against a Prometheus that has scraped a running agent."""

import json
import re
import sys
import time
import urllib.parse
import urllib.request

import yaml

import documents
from common import DEPLOY, REGION, ROOT, Failed, Process, check_config, clean_environment, free_port, run, wait_for

ALERTS = DEPLOY / "prometheus/alerts.yaml"
DASHBOARD = DEPLOY / "grafana/kinetail.json"
METRIC = re.compile(r"\bkinetail_[a-z_]+")
SERIES = re.compile(r"\b(kinetail_[a-z_]+)\{([^}]*)\}")
# The label of an exporter's own are in README's table; these come from Prometheus.
SCRAPED = {"job", "instance", "namespace", "pod", "le"}


def metrics_table():
    """The labels of each metric, by README's generated tables: the agent's and the injector's."""
    readme = (ROOT / "README.md").read_text()
    table = "".join(re.search(rf"<!-- begin: {name} -->(.*)<!-- end: {name} -->", readme, re.DOTALL).group(1) for name in ("metrics", "injector metrics"))
    found = {}
    for name, kind, labels in re.findall(r"^\| `(kinetail_\w+)` \| (\w+) \| ([^|]*) \|", table, re.MULTILINE):
        for suffix in ("_bucket", "_count", "_sum") if kind == "histogram" else ("",):
            found[name + suffix] = set(re.findall(r"`(\w+)`", labels))
    if len(found) < 30:
        raise Failed("README's table of metrics cannot be read")
    return found


def check_names(name, expr, table):
    if unknown := set(METRIC.findall(expr)) - table.keys():
        raise Failed(f"{name}: no metric {', '.join(sorted(unknown))} in README")
    for metric, matchers in SERIES.findall(expr):
        if wrong := set(re.findall(r"(\w+)\s*[=!]", matchers)) - table[metric] - SCRAPED:
            raise Failed(f"{name}: {metric} has no label {', '.join(sorted(wrong))}")
    every = set().union(*(table[m] for m in METRIC.findall(expr)))
    for by in re.findall(r"\bby \(([^)]*)\)", expr):
        if wrong := {label.strip() for label in by.split(",")} - every - SCRAPED:
            raise Failed(f"{name}: by {', '.join(sorted(wrong))}, which none of its metrics has")


def alerts(tools):
    promtool = tools.need("promtool")
    run([promtool, "check", "rules", ALERTS], "the alerts")
    run([promtool, "test", "rules", DEPLOY / "prometheus/alerts.test.yaml"], "the alerts' tests")
    rules = [r for g in yaml.safe_load(ALERTS.read_text())["groups"] for r in g["rules"]]
    table, tested = metrics_table(), (DEPLOY / "prometheus/alerts.test.yaml").read_text()
    anchors = documents.anchors(DEPLOY / "runbook.md")
    for rule in rules:
        check_names(rule["alert"], rule["expr"], table)
        file, anchor = rule["annotations"]["runbook_url"].split("#")
        if file != "deploy/runbook.md" or anchor not in anchors:
            raise Failed(f"{rule['alert']}: there is no {rule['annotations']['runbook_url']}")
        if not {"summary", "description"} <= rule["annotations"].keys() or rule["alert"] not in tested:
            raise Failed(f"{rule['alert']}: no summary, no description or no test")


def expressions():
    found = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        found += [(panel["title"], t["expr"], t["legendFormat"]) for t in panel.get("targets", [])]
    if len(found) < 20:
        raise Failed(f"only {len(found)} queries in the dashboard")
    return found


def dashboard(tools):
    """Names by README, then each query on data of a real agent: a series that the agent has must show."""
    board = json.loads(DASHBOARD.read_text())
    if run([sys.executable, DEPLOY / "grafana/generate.py"], "generate.py") != DASHBOARD.read_text():
        raise Failed("kinetail.json is not what generate.py writes")
    ids = [p["id"] for p in board["panels"]]
    if len(set(ids)) != len(ids):
        raise Failed("two panels have one id")
    spots = [(x, y) for p in board["panels"] for g in [p["gridPos"]] for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])]
    if len(set(spots)) != len(spots) or max(x for x, _ in spots) > 23:
        raise Failed("two panels lie upon each other, or one beyond the edge")
    table = metrics_table()
    for title, expr, legend in expressions():
        check_names(title, expr, table)
        if wrong := [w for w in re.findall(r"{{(\w+)}}", legend) if w not in expr]:
            raise Failed(f"{title}: its legend names {wrong}, which the query does not keep")
    with_agent(tools)


def with_agent(tools):
    folder = tools.folder("dashboard")
    prometheus = tools.need("prometheus")
    stream, admin, web = free_port(), free_port(), free_port()
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "kinetail", "static_configs": [{"targets": [f"127.0.0.1:{admin}"]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    log = folder / "app.log"
    log.write_text("not json\n")
    env = clean_environment(
        KINETAIL_STREAM="service-logs", KINETAIL_REGION=REGION, KINETAIL_ENDPOINT=f"http://127.0.0.1:{stream}", KINETAIL_PATHS=log, KINETAIL_PARSE="json",
        KINETAIL_STATE_DIR=folder / "state", KINETAIL_ADMIN_LISTEN=f"127.0.0.1:{admin}",
    )
    server = [tools.binary, "local", "--listen", f"127.0.0.1:{stream}", "--stream", "service-logs:2"]
    scraper = [prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{web}"]
    with Process(server, folder / "local.log", stream), Process([tools.binary, "run"], folder / "agent.log", admin, env), Process(scraper, folder / "prometheus.log", web):
        written = 0

        def scraped():
            nonlocal written
            with log.open("a") as f:
                f.writelines(json.dumps({"n": written + n}) + "\n" for n in range(50))
            written += 50
            delivered = query(web, "min_over_time(kinetail_kinesis_user_records_total[5s]) and count_over_time(kinetail_kinesis_user_records_total[30s]) > 5")
            return delivered and float(delivered[0]["value"][1]) > 0

        # It listens before it answers: a query too early gets a 503.
        wait_for(lambda: ready(web), "Prometheus is ready")
        wait_for(scraped, "Prometheus has scraped the agent several times")
        present = {s["__name__"] for s in get(web, "series", "match[]", '{__name__=~"kinetail_.*"}')}
        for title, expr, _ in expressions():
            # What an agent has that is not in trouble has to show; anything else has to be a query that Prometheus understands.
            found = query(web, expr.replace("$__rate_interval", "20s").replace("$job", ".*").replace("$instance", ".*"))
            if not found and set(METRIC.findall(expr)) <= present:
                raise Failed(f"{title}: nothing to show though its metrics are there: {expr}")
        if len(present) < 20:
            raise Failed(f"the agent has only {sorted(present)}")


def ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=30) as answer:
            return answer.status == 200
    except urllib.error.HTTPError:
        return False


def get(port, what, key, value):
    # A POST, since a query may be long.
    data = urllib.parse.urlencode({key: value, **({"time": time.time()} if what == "query" else {})}).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{what}", data, timeout=30) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as e:
        raise Failed(f"{value}: {e.read().decode()}") from e


def query(port, expr):
    return get(port, "query", "query", expr)["result"]


def compose(tools):
    import jsonschema

    folder = DEPLOY / "compose"
    document = yaml.safe_load((folder / "compose.yaml").read_text())
    schema = json.loads(open(tools.need("compose schema")).read())
    # The schema is older than the project's name.
    document.pop("name")
    problems = [f"{'/'.join(map(str, e.path))}: {e.message}" for e in jsonschema.Draft7Validator(schema).iter_errors(document)]
    if problems:
        raise Failed("compose.yaml: " + "; ".join(problems))
    for name, service in document["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if not ((folder / source).is_file() if source.startswith(".") else source in document["volumes"]):
                raise Failed(f"{name}: there is no {source}")
        if away := set(service.get("depends_on", [])) - document["services"].keys():
            raise Failed(f"{name} depends on {away}")
        if any(not port.startswith("127.0.0.1:") for port in service.get("ports", [])):
            raise Failed(f"{name} is open to the network")
    agent = document["services"]["kinetail"]
    check_config(tools, "compose.yaml", env={k: v for k, v in agent["environment"].items() if k.startswith("KINETAIL_")})
    stream = document["services"]["stream"]["command"]
    help_ = run([tools.binary, "local", "--help"], "kinetail local")
    if unknown := [w for w in stream if w.startswith("--") and w not in help_]:
        raise Failed(f"compose.yaml: kinetail local has no {unknown}")
    config = tools.folder("compose")
    for source in (folder / "prometheus.yml", ALERTS):
        (config / source.name).write_text(source.read_text())
    run([tools.need("promtool"), "check", "config", config / "prometheus.yml"], "prometheus.yml")
    for file in ("datasource.yaml", "dashboards.yaml"):
        if yaml.safe_load((folder / "grafana" / file).read_text())["apiVersion"] != 1:
            raise Failed(f"{file}: no provisioning of Grafana's")

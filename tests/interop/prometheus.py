"""A real Prometheus that scrapes each second, and what it answers."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import common


class Prometheus:
    """One with these jobs, each with its targets; its data and its log are in `work`. It is there when this returns, and ends with its block."""

    def __init__(self, binary, work, jobs):
        self.port = common.free_port()
        scrapes = [{"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in jobs.items()]
        # JSON is YAML.
        (work / "prometheus.yml").write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": scrapes}))
        command = [binary, f"--config.file={work}/prometheus.yml", f"--storage.tsdb.path={work}/data", f"--web.listen-address=127.0.0.1:{self.port}"]
        with open(work / "prometheus.log", "wb") as log:
            self.proc = subprocess.Popen(
                [str(c) for c in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=work, preexec_fn=common.die_with_parent
            )
        common.wait_for("Prometheus is ready", self.ready)

    def ready(self):
        if self.proc.poll() is not None:
            raise RuntimeError(f"Prometheus ended with {self.proc.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=10) as r:
                return r.status == 200
        except OSError:
            return False

    def ask(self, path, **asked):
        """The data of an answer of its API."""
        data = urllib.parse.urlencode(asked).encode()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", data, timeout=30) as r:
                return json.load(r)["data"]
        except urllib.error.HTTPError as e:
            raise RuntimeError(f"{asked}: {e.read().decode()}") from e

    def query(self, expr, at):
        """Labels and value of each series."""
        return [(s["metric"], float(s["value"][1])) for s in self.ask("query", query=expr, time=at)["result"]]

    def samples(self, series, window, at):
        """The times and values of the first series that a query over so many seconds rests on."""
        found = self.ask("query", query=f"{series}[{window}s]", time=at)["result"]
        return [(float(t), float(v)) for t, v in found[0]["values"]] if found else []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.kill()
        self.proc.wait()

#!/usr/bin/env python3
"""A thousand secrets of each kind go through the real agent, and none may be anywhere that it writes to or tells of.

    redaction.py --binary BIN [--each 1000] [--seed 2026] [--work DIR]

They stand in ordinary lines of six sources, in all the ways in which services write them (planted.py): some lines are refused by a parser, some by the
stream, some are too long; one source is a FIFO, whose spool is looked at while the stream takes nothing. Looked at are what is delivered, the
dead letters and every other file of the state directory, the agent's own log at the level debug, both formats of the metrics, /status and the
page. The same eyes look at the input first, where they have to see every secret.
"""

import argparse
import base64
import html
import http.client
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

import common
import planted
from agent import Agent
from common import REGION, Report, wait_for

MAX_LINE = 4096
# A line that the stream refuses has this in it.
POISON = b"poisoned"
REFUSAL = "ValidationException"
# How often text is unpacked before it is looked at: JSON in JSON, percent signs in percent signs.
READINGS = 6
UNIT = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-7][0-9a-fA-F])|(.))", re.DOTALL)
PLAIN = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def unescaped(text):
    def one(match):
        unit, byte, other = match.groups()
        return chr(int(unit or byte, 16)) if other is None else PLAIN.get(other, other)

    return UNIT.sub(one, text)


def readings(text):
    """All that somebody could make of a text."""
    found = [text]
    for read in (unescaped, urllib.parse.unquote, urllib.parse.unquote_plus, *([html.unescape] if text.startswith("<") else [])):
        at = text
        for _ in range(READINGS):
            after = read(at)
            if after == at:
                break
            found.append(at := after)
    # URLs within JSON.
    at = text
    for _ in range(READINGS):
        at = unescaped(at)
        found += [urllib.parse.unquote_plus(at), urllib.parse.unquote_plus(urllib.parse.unquote_plus(at)), unescaped(urllib.parse.unquote_plus(urllib.parse.unquote_plus(at)))]
    return dict.fromkeys(found)


class Eyes:
    """Sees secrets in text, whatever they are wrapped in. grep looks for all of them at once."""

    def __init__(self, secrets, work):
        self.file, self.work, self.secrets = work / "secrets.txt", work, set(secrets)
        self.file.write_text("\n".join(self.secrets) + "\n")

    def see(self, texts):
        seen = set()
        place = self.work / "looked-at.txt"
        with open(place, "w", errors="surrogateescape") as out:
            for text in texts:
                for reading in readings(text):
                    out.write(reading.replace("\0", "") + "\n")
        found = subprocess.run(["grep", "-aoFf", self.file, place], capture_output=True, text=True, errors="replace", env=os.environ | {"LC_ALL": "C"})
        seen.update(found.stdout.splitlines())
        place.unlink()
        return seen & self.secrets


class Refusing(http.server.ThreadingHTTPServer):
    """Stands before a stream, takes nothing while it is closed, and refuses what is poisoned as the service would: with a sentence that quotes."""

    daemon_threads = True

    def __init__(self, behind):
        self.behind, self.is_open, self.refused, self.failed = behind, threading.Event(), 0, 0
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def endpoint(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("X-Amz-Target", "").endswith("PutRecords"):
            if not self.server.is_open.is_set():
                return self.answer(503, {"__type": "ServiceUnavailable", "message": "not now"})
            bad = [r for r in json.loads(body)["Records"] if POISON in base64.b64decode(r["Data"])]
            if bad:
                self.server.refused += 1
                said = f"1 validation error: value '{bad[0]['PartitionKey']}' at 'partitionKey', data {base64.b64decode(bad[0]['Data'])[:2000]!r}"
                return self.answer(400, {"__type": REFUSAL, "message": said})
        connection = http.client.HTTPConnection(self.server.behind, timeout=60)
        connection.request("POST", self.path, body, dict(self.headers))
        answer = connection.getresponse()
        self.reply(answer.status, answer.read(), dict(answer.getheaders()))
        return None

    def answer(self, status, said):
        self.server.failed += 1
        self.reply(status, json.dumps(said).encode(), {"Content-Type": "application/x-amz-json-1.1"})

    def reply(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def redact(**more):
    return {"redact": {"presets": list(planted.PRESETS), **more}}


def settings(work, endpoint):
    def source(name, parse, transforms, **more):
        return {"name": name, "paths": [str(work / f"{name}.log")], "parse": parse, "transforms": transforms, "add": {"id": True}, **more}

    hashed = redact(**{"with": "hash", "salt": "nobody knows it"})
    counts = {"metric": {"name": "seen_total", "labels": {"who": "{who}"}, "max_series": 50}}
    spread = {"metric": {"name": "took_ms", "type": "histogram", "value": "{n}", "labels": {"who": "{who}"}, "max_series": 50, "when": "exists(who)"}}
    sources = [
        source("json", "json", [redact(), counts, spread], max_line_bytes=MAX_LINE, on_parse_error="dead_letter"),
        source("refused", "json", [redact(), counts]),
        source("nested", {"field": "log", "as": ["json", "raw"]}, [redact(), {"dedupe": {"fields": ["message"], "within": "1s"}}], timestamp={}, level={}),
        source("text", "raw", [redact()]),
        source("traces", "raw", [redact()], multiline={"start": "^\\d{4}-"}),
        source("logfmt", ["logfmt", "raw"], [hashed], timestamp={}, level={}),
        source("nginx", ["nginx", "nginx_error", "raw"], [redact(), {"set": {"seen": "{path|request}"}}], timestamp={}),
        {"name": "pipe", "type": "fifo", "paths": [str(work / "pipe")], "parse": ["json", "raw"], "transforms": [redact(), counts], "add": {"stream": False}},
    ]
    kinesis = {"stream": "redacted", "endpoint": endpoint, "region": REGION, "partition_key": "{who|user.note|@source}", "hot_key_share": 0.000001}
    config = {"sources": sources, "kinesis": kinesis, "log": {"level": "debug"}}
    return {"CONFIG": json.dumps(config)}


class Planted:
    """The lines of each source, the secrets in them, and the marks by which lines are found again."""

    def __init__(self, seed, each):
        self.maker, self.lines, self.secrets, self.marks = planted.Maker(seed), {}, [], set()
        self.number = 0
        for preset in planted.PRESETS:
            for _ in range(each):
                self.plant(*self.maker.secret(preset))
        self.hot()

    def add(self, source, text):
        self.lines.setdefault(source, []).append(text)

    def plant(self, text, parts):
        self.number += 1
        self.secrets += parts
        number = self.number
        draw = self.maker.random
        shape = planted.JSON_SHAPES[number % len(planted.JSON_SHAPES)]
        self.add("logfmt", f"time=2026-11-28T23:36:08.928Z level=debug msg=mark{number} took=3ms")
        self.marks.add(f"mark{number}")
        way = draw.randrange(12)
        if way < 3:
            self.add("json", planted.json_line(text, number, shape))
        elif way == 3:
            # Whose label and whose partition key it would be.
            self.add("json", json.dumps({"n": number, "who": text, "message": "hello"}))
        elif way == 4:
            # Refused by the parser, or by the stream.
            if self.number % 8:
                self.add("json", f"no JSON for {' '.join(text.splitlines())}")
            else:
                self.add("refused", json.dumps({"n": number, "message": f"{POISON.decode()} {text}", "who": f"{text} r{number}"}))
        elif way == 5:
            # Too long, and the secret in the first part or the last.
            pad = "x y " * 1500
            self.add("json", json.dumps({"n": number, "message": f"{text} {pad}" if number % 2 else f"{pad} {text}"}))
        elif way == 6:
            self.add("nested", json.dumps({"log": planted.json_line(text, number, shape)}))
        elif way == 7:
            self.add("text", f"2026-11-28 23:36:08 INFO n={number} seen {text}" if number % 2 else f"n={number} it was {text}\nwent on")
        elif way == 8:
            self.add("traces", f"2026-11-28 23:36:08 ERROR n={number} it failed\n{text}\n\tat Shop.main(Shop.java:17)")
        elif way == 9:
            self.add("logfmt", planted.logfmt_line(text, number))
        elif way == 10:
            self.add("nginx", planted.nginx_line(text, number))
        else:
            self.add("pipe", planted.json_line(text, number, shape) if number % 3 else f"n={number} plain {' '.join(text.splitlines())}")

    def hot(self):
        """Somebody whose events are most of all."""
        mail, parts = self.maker.email()
        self.secrets += parts
        for n in range(400):
            self.add("json", json.dumps({"n": n, "who": mail, "message": "hot " * 40}))

    def texts(self):
        return ["\n".join(lines) for lines in self.lines.values()]


def text_of(path):
    return path.read_bytes().decode(errors="replace")


class Run:
    """One run of the agent, and all that was to be seen of it."""

    def __init__(self, opt, work):
        self.opt, self.work, self.seen = opt, work, {}
        self.planted = Planted(opt.seed, opt.each)
        self.eyes = Eyes(self.planted.secrets, work)

    def look(self, agent):
        """What the agent shows, and all that it has in its directory."""
        for path, headers in (("/metrics", {}), ("/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"}), ("/status", {}), ("/", {})):
            request = urllib.request.Request(f"http://{agent.admin}{path}", headers=headers)
            with urllib.request.urlopen(request, timeout=30) as answer:
                self.seen.setdefault(path, []).append(answer.read().decode())
        for file in (self.work / "state").rglob("*"):
            try:
                if file.is_file():
                    texts = self.seen.setdefault(f"state_dir: {file.name}", [])
                    now = text_of(file)
                    # A file that has grown says all that it said.
                    if texts and now.startswith(texts[-1]):
                        texts[-1] = now
                    else:
                        texts.append(now)
            except FileNotFoundError:
                pass

    def go(self):
        planted_seen = self.eyes.see(self.planted.texts())
        if missed := set(self.planted.secrets) - planted_seen:
            return [f"the eyes miss {len(missed)} of the planted secrets, such as {sorted(missed)[:5]}"]
        common_env = os.environ | common.CREDENTIALS
        port = common.free_port()
        log = open(self.work / "local.log", "wb")
        local = subprocess.Popen([self.opt.binary, "local", "--listen", f"127.0.0.1:{port}", "--stream", "redacted:2", "--no-limits"], stdout=log, stderr=log, env=common_env)
        try:
            wait_for("the stream", lambda: b"endpoint" in (self.work / "local.log").read_bytes())
            return self.through(Refusing(f"127.0.0.1:{port}"), port)
        finally:
            local.send_signal(signal.SIGTERM)
            local.wait(30)

    def through(self, proxy, port):
        for name, lines in self.planted.lines.items():
            if name not in ("pipe", "refused"):
                (self.work / f"{name}.log").write_text("\n".join(lines) + "\n")
        os.mkfifo(self.work / "pipe")
        with Agent([self.opt.binary], self.work, settings(self.work, proxy.endpoint())) as agent:
            wait_for("the admin server", lambda: agent.ended() or agent.get("/metrics")[0] == 200)
            with open(self.work / "pipe", "w") as pipe:
                pipe.write("\n".join(self.planted.lines["pipe"]) + "\n")
            # All of it is in the spool, since the stream takes nothing.
            wait_for("refusals", lambda: proxy.failed > 3)
            time.sleep(1)
            self.look(agent)
            if not any(name.startswith("state_dir: current.log") and any(texts) for name, texts in self.seen.items()):
                return [f"the spool is empty: {list(self.seen)}"]
            proxy.is_open.set()
            lines = sum(text.count("\n") + 1 for text in self.planted.texts()) - len(self.planted.lines["refused"])
            self.wait_until_read(agent, lines)
            # Alone: what is refused takes with it all that is in the same record.
            (self.work / "refused.log").write_text("\n".join(self.planted.lines["refused"]) + "\n")
            self.wait_until_read(agent, lines + len(self.planted.lines["refused"]))
            self.look(agent)
            agent.stop()
        self.seen["the agent's log"] = [text_of(self.work / "agent.log")]
        for file in (self.work / "state").rglob("*"):
            if file.is_file():
                self.seen[f"state_dir, at the end: {file.name}"] = [text_of(file)]
        consumed = subprocess.run(
            [self.opt.binary, "consume", "--stream", "redacted", "--endpoint", f"http://127.0.0.1:{port}", "--region", REGION, "--idle", "2s", "--meta"],
            capture_output=True, text=True, errors="replace", env=os.environ | common.CREDENTIALS, timeout=120,
        )
        self.seen["what is delivered"] = [consumed.stdout]
        return self.judge(proxy, consumed)

    def wait_until_read(self, agent, lines):
        before = None

        def is_done():
            nonlocal before
            agent.ended()
            self.look(agent)
            metrics = self.seen["/metrics"][-2]
            counted = lambda name: sum(float(n) for n in re.findall(rf"^kinetail_{name}(?:{{[^}}]*}})? (\S+)$", metrics, re.MULTILINE))
            now = (counted("source_read_lines_total"), counted("events_total"), counted("kinesis_user_records_total"))
            done, before = now[0] >= lines and now == before and not counted("in_flight_events"), now
            return done

        wait_for(f"all of {lines} lines are read and delivered or set aside", is_done, every=0.5)

    def judge(self, proxy, consumed):
        found = []
        if missed := {m for m in self.planted.marks if f"{m}" not in consumed.stdout}:
            found.append(f"{len(missed)} of {len(self.planted.marks)} ordinary lines are not delivered, such as {sorted(missed)[:3]}: {consumed.stderr[-400:]}")
        letters = next((texts[0] for name, texts in self.seen.items() if name == "state_dir, at the end: dead_letters.jsonl"), "")
        reasons = {json.loads(line)["reason"] for line in letters.splitlines()}
        if reasons != {"parse_error", REFUSAL} and len(reasons) < 2:
            found.append(f"dead letters are of {reasons}, and not of both a parser's refusal and the stream's")
        if "partial_message" not in consumed.stdout:
            found.append("no line was too long")
        if not any(re.search(r'"partition_key":\s*"\*\*\*"', text) for text in self.seen["/status"]):
            found.append("/status never showed a covered secret as a hot key")
        if not any("seen_total{" in text for text in self.seen["/metrics"]):
            found.append("/metrics never showed a label of a field")
        for place, texts in self.seen.items():
            leaked = self.eyes.see(dict.fromkeys(texts))
            print(f"     {place}: {sum(map(len, texts)) / 1e3:.0f} kB looked at, {len(leaked)} of {len(self.eyes.secrets)} secrets", flush=True)
            if leaked:
                found.append(f"{place}: {len(leaked)} secrets, such as {self.show(leaked, texts)}")
        return found

    def show(self, leaked, texts):
        """Some of them, each with what stands around it."""
        shown = []
        for secret in sorted(leaked)[: self.opt.show]:
            around = next((r[max(0, at - 90) : at + 90] for t in dict.fromkeys(texts) for line in t.split("\n") for r in readings(line) if (at := r.find(secret)) >= 0), "")
            shown.append(f"{secret!r} in …{around!r}…")
        return "\n".join(shown)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--each", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--show", type=int, default=5)
    parser.add_argument("--work", type=Path)
    opt = parser.parse_args()
    opt.binary = str(opt.binary.resolve())
    if opt.work:
        opt.work.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="redaction-", dir=opt.work))
    report, began = Report(), time.monotonic()
    try:
        found = Run(opt, work).go()
    except (OSError, RuntimeError, TimeoutError) as error:
        found = [f"{type(error).__name__}: {error}"]
    report.case(f"redaction of {opt.each} secrets of each of {len(planted.PRESETS)} kinds, seed {opt.seed}", found, time.monotonic() - began)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())

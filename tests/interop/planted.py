"""Secrets made from a seed, of every kind that `redact` has a preset for, and the many ways in which services write them."""

import base64
import json
import random
import string
import urllib.parse

ALNUM = string.ascii_letters + string.digits
BASE64 = ALNUM + "+/"
# What Base32 has, of which the ids of AWS' keys are made.
ID = string.ascii_uppercase + "234567"
# The first digits of issuers' numbers, and how many digits these have.
CARDS = [("4", 16), ("4", 13), ("4", 19), ("51", 16), ("2720", 16), ("34", 15), ("37", 15), ("6011", 16), ("3530", 16), ("36", 14), ("62", 16)]
GROUPS = {13: (4, 3, 3, 3), 14: (4, 6, 4), 15: (4, 6, 5), 16: (4, 4, 4, 4), 19: (4, 4, 4, 4, 3)}


class Maker:
    """Each method returns what is written, and the list of what of it nobody may see."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self, letters, length):
        return "".join(self.random.choices(letters, k=length))

    def aws_keys(self):
        key, ident = self.mixed(BASE64, 40), self.random.choice(["AKIA", "ASIA"]) + self.text(ID, 16)
        return self.random.choice([
            (ident, [ident]),
            (f"aws_secret_access_key = {key}", [key]),
            (f"AWS_ACCESS_KEY_ID={ident} AWS_SECRET_ACCESS_KEY={key}", [ident, key]),
            (f"SecretAccessKey: {key}", [key]),
            (f"session_token={self.text(BASE64, 120)}", None),
        ])

    def mixed(self, letters, length):
        """With a large letter and a small one, as all but every billionth key has."""
        return self.random.choice("ABCDEF") + self.text(letters, length - 2) + self.random.choice("ghijkl")

    def bearer(self):
        token, pair = self.mixed(ALNUM, 32), f"{self.text(ALNUM, 8)}:{self.text(ALNUM, 12)}"
        jwt = ".".join(["eyJ" + self.text(ALNUM + "-_", 33), "eyJ" + self.text(ALNUM + "-_", 80), self.text(ALNUM + "-_", 43)])
        basic = base64.b64encode(pair.encode()).decode()
        return self.random.choice([
            (f"Authorization: Bearer {token}", [token]),
            (f"bearer {token}", [token]),
            (jwt, [jwt]),
            (f"Bearer {jwt}", [jwt]),
            (f"Basic {basic}", [basic]),
        ])

    def email(self):
        local = self.text(string.ascii_lowercase + string.digits, 9) + self.random.choice(["", ".x", "+tag", "_y", "-z"])
        mail = f"{local}@{self.text('abcdefghijk', 9)}.{self.random.choice(['com', 'co.uk', 'io', 'museum'])}"
        return mail, [mail]

    def card(self):
        start, length = self.random.choice(CARDS)
        digits = start + self.text(string.digits, length - 1 - len(start))
        doubled = [int(d) * (2 - at % 2) for at, d in enumerate(reversed(digits))]
        digits += str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)
        parts, at = [], 0
        for size in GROUPS[length]:
            parts.append(digits[at : at + size])
            at += size
        card = self.random.choice(["", "-", " "]).join(parts)
        return card, [card]

    def ip(self):
        groups = [self.random.randrange(0x1000, 0xFFFF) for _ in range(8)]
        address = self.random.choice([
            ":".join(f"{g:x}" for g in groups),
            f"2001:db8:{groups[0]:x}::{groups[1]:x}",
            ".".join(str(self.random.randrange(100, 224)) for _ in range(4)),
            ".".join(str(self.random.randrange(100, 224)) for _ in range(4)),
        ])
        return address, [address]

    def private_key(self):
        kind = self.random.choice(["RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED "])
        lines = [self.text(BASE64, 64) for _ in range(self.random.randrange(3, 9))]
        head = ["Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC,2AF1"] if kind == "RSA " and self.random.random() < 0.5 else []
        key = "\n".join([f"-----BEGIN {kind}PRIVATE KEY-----", *head, *lines, f"-----END {kind}PRIVATE KEY-----"])
        return key, lines

    def tokens(self):
        before = self.random.choice(["ghp_", "gho_", "github_pat_", "glpat-", "xoxb-1", "sk_live_", "npm_"])
        token = before + self.text(ALNUM, 36)
        return token, [token]

    def passwords(self):
        password = self.mixed(ALNUM + "!$.-_", 14)
        return self.random.choice([
            (f"postgres://app:{password}@db.internal:5432/orders", [password]),
            (f"DB_PASSWORD={password}", [password]),
            (f'password: "{password}"', [password]),
            (f"https://x.example/z?api_key={password}&a=b", [password]),
            (json.dumps({"user": "joe", "password": password}), [password]),
        ])

    def secret(self, preset):
        text, parts = getattr(self, preset)()
        return text, parts if parts is not None else [text.split("=", 1)[1]]


PRESETS = ("aws_keys", "bearer", "email", "card", "ip", "private_key", "tokens", "passwords")


def encoded(text, number):
    """As forms write it, or as URLs do."""
    return urllib.parse.quote_plus(text) if number % 2 else urllib.parse.quote(text, safe="")


def nested(text, number):
    return {"n": number, "level": "info", "user": {"note": [f"seen {text}, ok"], "deep": {"a": [{"b": text}]}}}


def in_text(text, number):
    return {"n": number, "message": f"GET /api/orders took 12ms for {text}; status=200"}


def in_json_text(text, number):
    inner = json.dumps({"n": number, "message": f"for {text} it was"})
    return {"n": number, "log": json.dumps({"log": inner + "\n", "stream": "stdout"})}


def in_headers(text, number):
    name, _, value = text.partition(": ")
    headers = {name.lower(): value} if name == "Authorization" else {"x-note": text}
    return {"n": number, "req": {"method": "GET", "headers": {"host": "shop.example", **headers}}}


def in_query(text, number):
    return {"n": number, "url": f"https://shop.example/orders?q={encoded(text, number)}&page=2", "status": 200}


def in_url_in_url(text, number):
    inner = "https://shop.example/a?filter=" + encoded(json.dumps({"q": text}), 0)
    return {"n": number, "referer": f"https://x.example/go?to={encoded(inner, number)}"}


def in_name(text, number):
    return {"n": number, "counts": {text: 1}, "status": 200}


def escaped(text, number):
    """All of it as escapes."""
    units = text.encode("utf-16-be").hex()
    every = "".join("\\u" + units[at : at + 4] for at in range(0, len(units), 4))
    return '{"n":%d,"message":"for %s"}' % (number, every)


JSON_SHAPES = (nested, in_text, in_json_text, in_headers, in_query, in_url_in_url, in_name, escaped)


def json_line(text, number, shape):
    made = shape(text, number)
    return made if isinstance(made, str) else json.dumps(made)


def logfmt_line(text, number):
    return f"time=2026-11-28T23:36:08.928Z level=info n={number} msg={json.dumps(f'seen {text} there')}"


def nginx_line(text, number):
    """In the query, in the referrer, or in the agent."""
    query, referer, agent = encoded(text, number), "-", "curl/7.88.1"
    if number % 3 == 1:
        query, referer = "1", f"https://shop.example/?q={query}"
    if number % 3 == 2:
        query, agent = "1", text.replace('"', "\\x22").replace("\n", "\\x0A")
    return f'127.0.0.1 - - [28/Nov/2026:23:29:49 +0000] "GET /orders/{number}?q={query} HTTP/1.1" 200 3 "{referer}" "{agent}"'

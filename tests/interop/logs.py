"""The logs that the suites write: the same bytes every time, with what log files really hold.

A log is a list of lines without their newlines; `expected` says what must arrive for each of them.
"""

import json
import random

from checks import Message

TEXTS = ("", "ok", "naïve café", "日本語のログ", "🚀 launched", 'quote " and \\ backslash', "\u0000\u001f\u007f", "\u2028\u2029", "a" * 300)
# Below, around and above the 51,200 bytes at which an aggregate is closed by default.
LONG = (9_000, 51_100, 51_200, 51_300, 70_000, 100_000)
BLANKS = b" \t\r\n\x0c"
# What parse = json sends as it is but for the blanks around it, as {"message": line}, with bytes replaced, or not at all.
NOT_CLEAN = (
    b"plain text", b"{broken", b'{"a": 1', b'tab\there "quoted" \\ and \xc3\xbcn\xc3\xafcode \xf0\x9f\x9a\x80', b"{} trailing", b"[1]", b'"text"', b"12",
    b"null", b'  {"blanks": "around"}\t', b'{"windows": true}\r', b"windows text\r", b'{"invalid": "\xff\xc3("}', b"invalid \xe2\x82 text", b"", b" \r",
    b'{"same":1,"same":2}', b"{}", b'{ "spaced" : [ ] }', b"{'a':1}", b"\xef\xbb\xbf{}", b"nul \x00 in text", b'{"lone": "\\ud800"}')
RAW = (
    b"", b" ", b"\t", b"\r", b"windows line\r", b"pro\rgress\rbar", b"nul \x00 inside", b"\x00", b"\xff\xfe invalid", b"\xc3",
    b"latin-1 caf\xe9", b"\xed\xa0\x80 surrogate", b"\xf3\x89\x9a\xc2 like an aggregate", b"\x1b[31mred\x1b[0m", b"\x80" * 3000,
)


def write_lines(parse, file, first, count):
    """`count` lines of a log, numbered from `first`; the special lines are at the same places in every log."""
    rng = random.Random(f"{file} {first}")
    lines = []
    for i in range(first, first + count):
        lines.append(_json_line(rng, file, i))
        if parse == "raw" and i % 20 == 7:
            lines.append(RAW[i // 20 % len(RAW)])
        if parse == "json" and i % 20 == 7:
            lines.append(NOT_CLEAN[i // 20 % len(NOT_CLEAN)])
    return lines


def _json_line(rng, file, i):
    event = {"file": file, "seq": i, "level": rng.choice(("info", "warn", "")), "msg": rng.choice(TEXTS)}
    if i % 3 == 0:
        event["nested"] = {"list": [1, 2.5, -0.0, 1e300, None, True, ""], "empty": {}, "big": 12345678901234567890123}
    if i % 5 == 0:
        event[rng.choice(("", "ключ", "a.b", "with space"))] = rng.choice(TEXTS)
    if i % 150 == 11:
        event["long"] = rng.choice(("x", "é", "\\n")) * 8
        event["pad"] = "y" * (LONG[i // 150 % len(LONG)] - 400)
    # Half of the lines spell other than ASCII characters as escapes: both spellings must come through as they are.
    return json.dumps(event, ensure_ascii=i % 2 == 0, separators=(",", ":")).encode()


def expected(parse, line):
    """What arrives for a line: bytes, a Message, or None for nothing."""
    # NULs at a line's start are a hole in the file, and a carriage return at its end belongs to the line's end.
    line = line.lstrip(b"\0")
    if parse == "raw":
        return line.removesuffix(b"\r")
    stripped = line.strip(BLANKS).decode(errors="replace")
    if not stripped:
        return None
    try:
        if isinstance(json.loads(stripped), dict):
            return stripped.encode()
    except ValueError:
        pass
    return Message(line.removesuffix(b"\r").decode(errors="replace"))

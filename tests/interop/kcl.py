"""The KPL aggregate as Amazon's Kinesis Client Library reads it: an own strict decoder and the client's rule.

The two public de-aggregation libraries do not look at hash keys; the KCL does, and throws away a whole aggregate when one
of its user records hashes outside the shard that the aggregate was read from. This file holds that rule, and no I/O.
"""

import hashlib
from dataclasses import dataclass

MAGIC = b"\xf3\x89\x9a\xc2"
DIGEST_BYTES = 16
HASH_BITS = 128
MAX_HASH = (1 << HASH_BITS) - 1


class Malformed(Exception):
    """The bytes are not an aggregate that every reader accepts."""


@dataclass(frozen=True)
class UserRecord:
    """One user record of an aggregate."""

    key: str
    hash_key: str | None
    data: bytes

    def effective_hash(self):
        """Where this record belongs: its explicit hash key, else the MD5 of its partition key."""
        return key_hash(self.key) if self.hash_key is None else int(self.hash_key)


def key_hash(key):
    """The hash by which the service routes a partition key."""
    return int.from_bytes(hashlib.md5(key.encode()).digest(), "big")


def shard_index(hash_key, shards):
    """Which of so many equal shards holds a hash key; exact for powers of two."""
    return hash_key * shards >> HASH_BITS


def looks_aggregated(data):
    return data[:4] == MAGIC


def decode(data):
    """The user records of an aggregate, or Malformed. Stricter than the KCL: what it tolerates is refused here too."""
    if not looks_aggregated(data):
        raise Malformed("no magic")
    if len(data) <= len(MAGIC) + DIGEST_BYTES:
        raise Malformed(f"only {len(data)} bytes")
    message, digest = data[4:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if hashlib.md5(message).digest() != digest:
        raise Malformed("MD5 differs")
    keys, hash_keys, raw = [], [], []
    for field, value in _fields(message):
        if field not in (1, 2, 3) or not isinstance(value, bytes):
            raise Malformed(f"unexpected field {field}")
        (keys, hash_keys, raw)[field - 1].append(value)
    if not raw:
        raise Malformed("no user record")
    keys = [k.decode() for k in keys]
    hash_keys = [h.decode() for h in hash_keys]
    for h in hash_keys:
        if not h.isascii() or not h.isdigit() or str(int(h)) != h or int(h) > MAX_HASH:
            raise Malformed(f"explicit hash key {h!r}")
    return [_user_record(r, keys, hash_keys) for r in raw]


def _user_record(raw, keys, hash_keys):
    fields = {}
    for field, value in _fields(raw):
        if field not in (1, 2, 3) or isinstance(value, bytes) != (field == 3) or field in fields:
            raise Malformed(f"unexpected field {field} in a user record")
        fields[field] = value
    if 1 not in fields or 3 not in fields:
        raise Malformed("a required field is missing")
    if fields[1] >= len(keys) or fields.get(2, 0) >= max(1, len(hash_keys)) or (2 in fields and not hash_keys):
        raise Malformed("an index points outside its table")
    return UserRecord(keys[fields[1]], hash_keys[fields[2]] if 2 in fields else None, fields[3])


def survivors(user_records, start, end):
    """What the KCL hands to the application of an aggregate read from a shard with this hash key range: all or nothing."""
    kept = all(start <= r.effective_hash() <= end for r in user_records)
    return user_records if kept else []


def _fields(buf):
    at = 0
    while at < len(buf):
        tag, at = _varint(buf, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(buf, at)
        elif kind == 2:
            size, at = _varint(buf, at)
            value, at = buf[at : at + size], at + size
            if at > len(buf):
                raise Malformed("truncated")
        else:
            raise Malformed(f"wire type {kind}")
        yield tag >> 3, value


def _varint(buf, at):
    value = shift = 0
    while True:
        if at >= len(buf) or shift > 63:
            raise Malformed("bad varint")
        byte = buf[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at

"""Stored values as versioned bytes; golden bytes in the tests pin the format, a change needs a new version.

offset  size  what
0       2     "SC"
2       1     format version
3       1     flags: 1 = the body is zlib-compressed
4       4     CRC-32 of everything after it
8       16    binding: digest of namespace, record and variant, so that a misplaced value is noticed
24      8x3   fetched at, fresh until, stale until: epoch milliseconds
48      2     HTTP status
50      4     length of the plain body
54      4     length of the kept headers
58      4     length of the embedded records with their generations
62      -     headers, embedded records, body
"""

from __future__ import annotations

import struct
import zlib

from stripe_cache.core.entry import Entry, Stored
from stripe_cache.core.errors import CorruptEntryError

MAGIC = b"SC"
VERSION = 1
MAX_BODY_BYTES = 8 * 1024 * 1024
"""No answer of Stripe's API comes near it; a header that claims more is an attack on our memory."""

_COMPRESSED = 1
_HEADER = struct.Struct(">2sBBI16sQQQHIII")
_CHECKED_FROM = 8
_COMPRESS_FROM = 256
"""Below this many bytes zlib saves less than a Redis allocation class."""
_FIELD, _ROW = "\x1f", "\x1e"
_STORED = frozenset({200, 404})
"""Statuses of answers that are ever kept: another one served as a hit would be an error that Stripe never said."""


def encode(stored: Stored, binding: bytes) -> bytes:
    """Return the value's bytes; the body is compressed where that makes it smaller."""
    entry = stored.entry
    body, flags = entry.body, 0
    if len(body) >= _COMPRESS_FROM:
        smaller = zlib.compress(body, 1)
        if len(smaller) < len(body):
            body, flags = smaller, _COMPRESSED
    headers = _ROW.join(f"{name}{_FIELD}{value}" for name, value in entry.headers).encode()
    embeds = _ROW.join(map(_FIELD.join, zip(entry.embeds, stored.generations, strict=True))).encode()
    times = (_milliseconds(entry.fetched_at), _milliseconds(entry.fresh_until), _milliseconds(entry.stale_until))
    lengths = (len(entry.body), len(headers), len(embeds))
    head = _HEADER.pack(MAGIC, VERSION, flags, 0, binding, *times, entry.status, *lengths)
    rest = b"".join((head[_CHECKED_FROM:], headers, embeds, body))
    return b"".join((MAGIC, bytes((VERSION, flags)), zlib.crc32(rest).to_bytes(4, "big"), rest))


def decode(raw: bytes, binding: bytes) -> Stored:
    """Read a value back; raises CorruptEntryError, and nothing else, for bytes that are no value of this slot."""
    try:
        magic, version, flags, crc, bound, fetched, fresh, stale, status, size, headers_size, embeds_size = (
            _HEADER.unpack_from(raw)
        )
    except struct.error:
        raise CorruptEntryError(f"{len(raw)} bytes are too few for an entry") from None
    if magic != MAGIC or version != VERSION:
        raise CorruptEntryError(f"no entry of format version {VERSION}")
    if flags & ~_COMPRESSED or size > MAX_BODY_BYTES or status not in _STORED:
        raise CorruptEntryError("the entry's header is impossible")
    if zlib.crc32(memoryview(raw)[_CHECKED_FROM:]) != crc:
        raise CorruptEntryError("the entry's checksum is wrong")
    if bound != binding:
        raise CorruptEntryError("the entry belongs to another slot")
    headers_end = _HEADER.size + headers_size
    body_start = headers_end + embeds_size
    body = _inflate(raw[body_start:], size) if flags & _COMPRESSED else raw[body_start:]
    if len(body) != size:
        raise CorruptEntryError("the entry's body has another length than its header says")
    try:
        headers = tuple(zip(*_columns(raw[_HEADER.size : headers_end]), strict=True))
        embeds, generations = _columns(raw[headers_end:body_start])
    except ValueError:
        raise CorruptEntryError("the entry's headers or embedded records do not parse") from None
    entry = Entry(
        status=status,
        headers=headers,
        body=body,
        fetched_at=fetched / 1000,
        fresh_until=fresh / 1000,
        stale_until=stale / 1000,
        embeds=embeds,
    )
    return Stored(entry, generations)


def _inflate(compressed: bytes, size: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        # One byte more than announced is asked for, so that a bomb shows itself without being inflated.
        return inflater.decompress(compressed, size + 1)
    except zlib.error:
        raise CorruptEntryError("the entry's body does not inflate") from None


def _columns(raw: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split rows of two fields into two columns; raises ValueError if they are not that."""
    if not raw:
        return (), ()
    fields = raw.decode().replace(_ROW, _FIELD).split(_FIELD)
    if len(fields) % 2:
        raise ValueError("a field is missing")
    return tuple(fields[::2]), tuple(fields[1::2])


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))

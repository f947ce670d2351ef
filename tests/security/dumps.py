"""Everything two stores hold, as one string of bytes with compressed and sealed parts made readable where possible."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from local.dynamodb import DynamoDB


def redis_dump(url: str, namespace: str) -> bytes:
    """Read every key of a namespace with all its fields."""
    client = redis.Redis.from_url(url, protocol=2)
    parts: list[bytes] = []
    for name in client.scan_iter(match=f"*{namespace}*"):
        parts.append(name)
        for field, value in client.hgetall(name).items():
            parts += [field, value, inflated(value)]
    client.close()
    return b"\n".join(parts)


def table_dump(server: DynamoDB, table: str) -> bytes:
    """Read every item of a table with all its attributes."""
    client = server.client(timeout=10)
    parts: list[bytes] = []
    for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            parts += _flattened(item)
    client.close()
    return b"\n".join(parts)


def inflated(value: bytes) -> bytes:
    """Inflate whatever zlib stream begins somewhere in the value; empty if there is none."""
    for marker in (b"\x78\x01", b"\x78\x9c", b"\x78\xda"):
        start = value.find(marker)
        while start >= 0:
            try:
                return zlib.decompressobj().decompress(value[start:])
            except zlib.error:
                start = value.find(marker, start + 1)
    return b""


def _flattened(value: Any) -> list[bytes]:
    if isinstance(value, dict):
        return [part for name, item in value.items() for part in (name.encode(), *_flattened(item))]
    if isinstance(value, list):
        return [part for item in value for part in _flattened(item)]
    if isinstance(value, bytes):
        return [value, inflated(value)]
    return [str(value).encode()]

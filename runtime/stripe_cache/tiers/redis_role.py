"""Whether the server behind a plain `redis://` is still the master.

A replica answers reads, and so does a master that was demoted while a connection to it stood: its generations may be
dead ones. A cluster's nodes refuse by `MOVED`; a server without a cluster says nothing, and must be asked. The question
goes out in front of a connection's first commands, and again in front of those that come `EVERY` seconds later, so it
costs no round trip. Who cannot be asked (no right to `INFO`, a proxy) is taken for a master and not asked again.
"""

from __future__ import annotations

import redis

QUESTION = ("INFO", "replication")
EVERY = 1.0
"""Seconds for which a connection goes by what it was told: for as long a demoted master may be read from."""


class DemotedError(redis.ConnectionError):
    """The server is a replica: its name may by now lead to another one, which only a new connection tells."""


def is_known(reply: object) -> bool:
    """Tell whether the server has said which it is; raises DemotedError if it is a replica."""
    if not isinstance(reply, bytes):
        return False
    lines = reply.split(b"\r\n")
    if b"role:slave" in lines or b"role:replica" in lines:
        raise DemotedError("the server is a replica, and what a replica holds may be old")
    return b"role:master" in lines

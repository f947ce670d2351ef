"""Telling a connection that was dead already from every other failure, whichever HTTP library found it so."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEAD_SOCKET = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED})
# httpx and aiohttp raise classes of their own for a peer that hung up, without an OSError beneath them.
_DEAD_SOCKET_NAMES = frozenset({"RemoteProtocolError", "ServerDisconnectedError"})
_DEEPEST_CAUSE = 12


def is_dead_socket(error: BaseException) -> bool:
    """Tell whether the connection turned out to be closed: no timeout, no refusal, no failed name or certificate."""
    return any(
        (isinstance(one, OSError) and one.errno in _DEAD_SOCKET)
        or isinstance(one, (ConnectionResetError, BrokenPipeError, ConnectionAbortedError))
        or type(one).__name__ in _DEAD_SOCKET_NAMES
        for one in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk down an exception: causes, contexts, and exceptions that urllib3 and requests carry as arguments."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _DEEPEST_CAUSE:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        below = (one.__cause__, one.__context__, *one.args)
        waiting += [other for other in below if isinstance(other, BaseException)]

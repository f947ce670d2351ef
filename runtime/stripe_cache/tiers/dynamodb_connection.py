"""A DynamoDB client that fails fast. Importing this module imports boto3: do it on first use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from stripe_cache.tiers import aws_deadline

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_IDLE = 300.0
"""Seconds of silence after which connections are replaced unasked: NAT gateways forget them after 350 s, and a peer
that is gone without a word would answer at the deadline only. What a peer has closed properly, urllib3 sees itself."""


def connect(timeout: float, bounded: Callable[[float], float] | None = None) -> Any:
    """Return a client whose every call ends within `timeout` seconds of connecting and as many of the whole exchange.

    Both count by the clock, however slowly bytes come in (see aws_deadline.py); no retries. `bounded` shrinks the time
    of the exchange as the time of a Lambda invocation ends. Region, credentials and endpoint
    (AWS_ENDPOINT_URL_DYNAMODB) are boto3's own affair.
    """
    config = Config(
        connect_timeout=timeout,
        read_timeout=timeout,
        # botocore's back-off sleeps up to a second; the next tier, or Stripe itself, is nearer than that.
        retries={"total_max_attempts": 1},
        max_pool_connections=32,
        tcp_keepalive=True,
    )
    # A session of our own: boto3's default session must not be shared while it is being made by two threads.
    client = aws_deadline.bounded(boto3.session.Session().client("dynamodb", config=config))
    client.meta.events.register("before-send.dynamodb", _Attendant(client, timeout, bounded).prepare)
    return client


class _Attendant:
    """Looks at each request before it is sent."""

    def __init__(self, client: Any, timeout: float, bounded: Callable[[float], float] | None) -> None:
        self._client = client
        self._timeout = timeout
        self._bounded = bounded
        self._used = _now()

    def prepare(self, request: Any, **_: Any) -> None:
        """Drop connections that were idle for too long, and give the answer the time that is left."""
        used, self._used = self._used, _now()
        # By the clock that saw more: a sandbox that was paused may have lost one of them.
        if max(now - then for now, then in zip(self._used, used, strict=True)) > LONGEST_IDLE:
            # It empties the pools, and leaves alone what other threads are using.
            self._client.close()
        if self._bounded is not None:
            seconds = self._bounded(self._timeout)
            if seconds < self._timeout:
                request.context["read_timeout"] = seconds


def _now() -> tuple[float, float]:
    return time.monotonic(), time.time()

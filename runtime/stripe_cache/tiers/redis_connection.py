"""Connections to Redis that fail fast: redis-py's own defaults let a silent server hold a Lambda for 59 s."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.connection import SSLConnection
from redis.retry import Retry

from stripe_cache.tiers.redis_bounded import Bounded
from stripe_cache.tiers.redis_cluster_wire import ClusterWire
from stripe_cache.tiers.redis_wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.credentials import CredentialProvider

    from stripe_cache.tiers.redis_url import RedisAddress

MAX_CONNECTIONS = 32
"""Connections per process and node. A Lambda needs one; a threaded server gets one per thread that reads at once."""
LONGEST_LIFE = 11 * 3600.0
"""Seconds that a connection opened with an IAM token is used: ElastiCache cuts it after 12 hours."""
LOGIN_SECONDS = 0.25
"""Least time for a server to check a login: with IAM it takes up to 100 ms, and TLS has shown by then that it lives."""


class TlsConnection(Bounded, SSLConnection):
    """A connection with TLS; `context` is shared, because loading the system's authorities takes 20 ms each time."""

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:
        self._context = context
        super().__init__(**options)

    def _connect(self) -> ssl.SSLSocket:
        sock = super()._connect()
        try:
            return self._wrap_socket_with_ssl(sock)
        except BaseException:
            sock.close()
            raise

    def _wrap_socket_with_ssl(self, sock: Any) -> ssl.SSLSocket:
        # The handshake is part of connecting, and bounded by the same deadline at each of its reads.
        sock.settimeout(self.socket_connect_timeout)
        return self._context.wrap_socket(sock, server_hostname=self.host)


def connect(
    address: RedisAddress, timeout: float, bounded: Callable[[float], float] | None = None
) -> Wire | ClusterWire:
    """Return what speaks to Redis; connects on first use. Raises redis.RedisError then.

    `timeout` (seconds) bounds connecting, and each exchange; `bounded` shrinks it near the end of an invocation.
    """
    wire = partial(_wire, address, timeout, bounded or _as_set)
    return ClusterWire(address.seeds, wire) if address.cluster else wire(address.host, address.port)


def _wire(address: RedisAddress, timeout: float, bounded: Callable[[float], float], host: str, port: int) -> Wire:
    tls: dict[str, Any] = {}
    if address.tls:
        context = ssl.create_default_context(cafile=address.ca_certs or None)
        tls = {"context": context, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
    make = partial(
        TlsConnection if address.tls else Bounded,
        failures={},
        host=host,
        port=port,
        db=address.database,
        timeout=timeout,
        bounded=bounded,
        longest_life=LONGEST_LIFE if address.iam_user else float("inf"),
        login=LOGIN_SECONDS if address.iam_user else 0.0,
        asks_role=not address.cluster,
        # None: redis-py would send the same bytes again, and what it sends may have to differ (see RedisTier._send).
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        # Two round trips less, with commands that ElastiCache Serverless does not list.
        driver_info=None,
        credential_provider=_credentials(address),
        **tls,
    )
    return Wire(make, MAX_CONNECTIONS, partial(bounded, timeout))


def _credentials(address: RedisAddress) -> CredentialProvider | None:
    if address.iam_user:
        from stripe_cache.tiers.redis_iam import IamCredentials

        return IamCredentials(address)
    if address.username or address.password:
        return redis.UsernamePasswordCredentialProvider(address.username or None, address.password or None)
    return None


def _as_set(seconds: float) -> float:
    return seconds

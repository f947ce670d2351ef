"""A redis-py client that fails fast: redis-py's own defaults let a silent server hold a Lambda for 59 s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from redis.credentials import CredentialProvider

    from stripe_cache.tiers.redis_url import RedisAddress

MAX_CONNECTIONS = 32
"""Connections per process. A Lambda needs one; a threaded server gets one per thread that reads at the same time."""


def connect(address: RedisAddress, timeout: float) -> Any:
    """Return a client for the address; `timeout` (seconds) bounds connecting and each reply. Connects on first use."""
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
        # None: redis-py would send the same bytes again, and what it sends may have to differ (see RedisTier._send).
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "credential_provider": _credentials(address),
    }
    if address.tls:
        options |= {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
        if address.ca_certs:
            options["ssl_ca_certs"] = address.ca_certs
    if address.cluster:
        # A cluster that lacks some slots still serves the others.
        return redis.RedisCluster(host=address.host, port=address.port, require_full_coverage=False, **options)
    return redis.Redis(
        host=address.host, port=address.port, db=address.database, max_connections=MAX_CONNECTIONS, **options
    )


def _credentials(address: RedisAddress) -> CredentialProvider | None:
    if address.iam_user:
        from stripe_cache.tiers.redis_iam import IamCredentials

        return IamCredentials(address)
    if address.username or address.password:
        return redis.UsernamePasswordCredentialProvider(address.username or None, address.password or None)
    return None

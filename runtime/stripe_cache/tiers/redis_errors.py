"""What Redis's errors mean for a cache, and what is done about each.

| error | meaning | what is done |
|---|---|---|
| closed connection that had answered before | a thaw, a restart, an idle limit | one retry on a new connection |
| refused, reset, timed out, no TLS | the server is away or slow | a failure; the breaker decides |
| CERTIFICATE_VERIFY_FAILED | unknown authority, or another's name | configuration: said once, with the remedy |
| READONLY | a master that was replaced | its connections are closed, so that the name is looked up again |
| "is a replica" (`redis_role.py`) | the same, seen before its values | the same; one retry as for a closed connection |
| MOVED, ASK in a cluster | the slot is elsewhere | sent there once, and the map is read again |
| all connections in use by other threads | nothing about the server | this call fails; the breaker does not count it |
| MOVED without a cluster | `redis://` where it must be `redis+cluster://` | configuration |
| refused, timed out, of a cluster's node that was away already | others answer | a failure of that node alone |
| CLUSTERDOWN of one slot | it has no master, for now | the same; the map is read again |
| CLUSTERDOWN, TRYAGAIN, MASTERDOWN | slots without a master, for now | a failure; the map is read again |
| LOADING | the server has just started | a failure; the connection is closed |
| OOM | full, and nothing may be evicted | nothing is added, hits go on; voids and the counter work (redis_scripts) |
| NOAUTH, WRONGPASS, NOPERM | wrong user, password or rules; with IAM expired credentials too | configuration |
| max number of clients | too many processes | a failure; tried again when the breaker says so |

A configuration error is logged once per outage. All of them count as failures of the tier, none is ever retried on the
spot but the first, and Redis is used again as soon as it answers.
"""

from __future__ import annotations

import redis

from stripe_cache.core.errors import (
    ConfigurationError,
    SettingError,
    TierBusyError,
    TierError,
    TierFullError,
    TierPartError,
)
from stripe_cache.tiers.redis_cluster_wire import AwayError
from stripe_cache.tiers.redis_wire import BusyError

_MOST_SAID = 200
_ONE_SLOT = "Hash slot not served"
_SETTING = "STRIPE_CACHE_REDIS_URL"
_SAYS = {
    "CERTIFICATE_VERIFY_FAILED": (
        f"the server's certificate is not trusted; correct the host of {_SETTING}, or name its ca_certs"
    ),
    "cluster support disabled": f"this server is no cluster; use redis:// or rediss:// in {_SETTING}",
    "AWS credentials": "give the process a role, and credentials that have not expired",
}
_IS: dict[type[redis.RedisError], str] = {
    redis.exceptions.MovedError: f"this is part of a cluster; use redis+cluster:// or rediss+cluster:// in {_SETTING}",
    redis.exceptions.NoPermissionError: f"the user of {_SETTING} lacks a right that the cache needs",
    redis.AuthenticationError: f"correct user and password in {_SETTING}, or with IAM the role's elasticache:Connect",
}
"""What the operator can do; nothing is said where waiting helps."""


def translate(error: Exception) -> TierError | ConfigurationError:
    """Make an error of our own of what a Redis client raised; never with an argument of a command in it."""
    if not isinstance(error, redis.RedisError):
        return TierError(f"redis: {type(error).__name__}")
    # The server repeats the arguments of a command it does not know, and those may be an entry.
    said = str(error).partition(", with args")[0][:_MOST_SAID]
    remedies = [remedy for words, remedy in _SAYS.items() if words in said]
    remedies += [remedy for kind, remedy in _IS.items() if isinstance(error, kind)]
    if remedies:
        return SettingError(f"redis: {said}: {remedies[0]}")
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return TierFullError(f"redis: {said}")
    if isinstance(error, BusyError):
        return TierBusyError(f"redis: {said}")
    is_part = isinstance(error, AwayError) or (
        isinstance(error, redis.exceptions.ClusterDownError) and _ONE_SLOT in said
    )
    return (TierPartError if is_part else TierError)(f"redis: {type(error).__name__}: {said}")

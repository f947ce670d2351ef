"""Redis addresses as one value, checked before anything connects."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from stripe_cache.core.errors import SettingError

SETTING = "STRIPE_CACHE_REDIS_URL"
_SCHEMES = {
    "redis": (False, False),
    "rediss": (True, False),
    "redis+cluster": (False, True),
    "rediss+cluster": (True, True),
}
_PORT = 6379
_OPTIONS = frozenset({"iam_user", "cache_name", "serverless", "region", "ca_certs"})


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is and how to get in. `iam_user` and `cache_name` ask for IAM authentication to ElastiCache.

    `others` are more nodes of a cluster, host and port, any of which can tell of all the others.
    """

    host: str
    port: int
    tls: bool
    cluster: bool
    database: int
    username: str = ""
    password: str = field(default="", repr=False)
    iam_user: str = ""
    cache_name: str = ""
    serverless: bool = False
    region: str = ""
    ca_certs: str = ""
    others: tuple[tuple[str, int], ...] = ()

    @property
    def seeds(self) -> tuple[tuple[str, int], ...]:
        """All nodes that are named, in the order in which they are."""
        return (self.host, self.port), *self.others


def parse(url: str) -> RedisAddress:
    """Read a Redis URL of one of the four schemes; raises SettingError, which never shows a password.

    A cluster's may name several hosts, separated by commas: redis+cluster://h1:7000,h2:7000,h3:7000
    """
    shown = repr(_masked(url))
    try:
        one, more = _apart(url)
        parts = urlsplit(one)
        port = parts.port or _PORT
        others = [_node(host) for host in more]
        options = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    except ValueError as error:
        raise SettingError(f"{SETTING} is {shown}, which is no URL ({error}): use redis://host:6379/0") from None
    if parts.scheme not in _SCHEMES:
        raise SettingError(f"{SETTING} is {shown}: its scheme must be one of {', '.join(_SCHEMES)}")
    if not parts.hostname:
        raise SettingError(f"{SETTING} is {shown}: it names no host; use {parts.scheme}://host:6379/0")
    tls, cluster = _SCHEMES[parts.scheme]
    if more and not cluster:
        raise SettingError(f"{SETTING} is {shown}: only a cluster has several hosts; use {parts.scheme}+cluster://")
    database = parts.path.strip("/") or "0"
    if not (database.isascii() and database.isdigit()):
        raise SettingError(f"{SETTING} is {shown}: the path must be a database number such as /0")
    if cluster and database != "0":
        raise SettingError(f"{SETTING} is {shown}: a cluster has database 0 only")
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise SettingError(
            f"{SETTING} is {shown}: unknown option {unknown[0]!r}, known are {', '.join(sorted(_OPTIONS))}"
        )
    if bool(options.get("iam_user")) != bool(options.get("cache_name")):
        raise SettingError(f"{SETTING} is {shown}: IAM authentication needs both iam_user and cache_name")
    if options.get("iam_user") and not tls:
        raise SettingError(f"{SETTING} is {shown}: IAM authentication needs TLS: use rediss:// or rediss+cluster://")
    return RedisAddress(
        host=parts.hostname,
        port=port,
        tls=tls,
        cluster=cluster,
        database=int(database),
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        iam_user=options.get("iam_user", ""),
        cache_name=options.get("cache_name", ""),
        serverless=options.get("serverless", "") not in {"", "0", "false"},
        region=options.get("region", ""),
        ca_certs=options.get("ca_certs", ""),
        others=tuple(dict.fromkeys(node for node in others if node != (parts.hostname, port))),
    )


def _apart(url: str) -> tuple[str, list[str]]:
    """Return the URL with the first of its hosts alone, and the others: a URL has one host for urlsplit.

    Raises ValueError.
    """
    start = url.find("://") + 3
    if start < len("://"):
        return url, []
    end = min((place for place in (url.find(mark, start) for mark in "/?#") if place >= 0), default=len(url))
    user, at, hosts = url[start:end].rpartition("@")
    if "+cluster" in url[:start] and "@" in user and "," in user:
        raise ValueError("user and password go before the first host only, and an @ in them is written %40")
    first, *more = hosts.split(",")
    return f"{url[:start]}{user}{at}{first}{url[end:]}", more


def _node(text: str) -> tuple[str, int]:
    """Return host and port; raises ValueError."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a host is missing behind a comma")
    return parts.hostname, parts.port or _PORT


def _masked(url: str) -> str:
    before, at, after = url.rpartition("@")
    if not at:
        return url[:200]
    scheme = before.partition("://")[0] if "://" in before else ""
    return f"{scheme}://***@{after[:200]}"

"""Servers for the tests of the Redis tier: one to be maltreated, TLS, and real clusters."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from fake_dynamodb import FakeDynamoDB

from local.process import LocalServerError
from local.redis_cluster import RedisCluster
from local.redis_tls import Authority, TlsRedis, binary
from local.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCESS = Path(__file__).resolve().parents[2] / "infra" / "stripe_cache_cdk" / "constructs" / "redis_access.py"
# What ElastiCache Serverless lacks, as far as a server knows the word at all.
# (https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/SupportedCommands.html)
LACKING = (
    "-client -keys -object -memory -slowlog -latency -monitor -wait -move -swapdb -psubscribe -punsubscribe -function "
    "-fcall -fcall_ro -config -debug -watch -unwatch -script|kill -acl -readonly -replicaof -failover -shutdown"
)


def access_string(name: str) -> str:
    """Return an ACL string of the constructs, without the import of aws_cdk that would come with them."""
    found: dict[str, Any] = {}
    for node in ast.parse(ACCESS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Constant, ast.JoinedStr)):
            exec(compile(ast.Module([node], []), str(ACCESS), "exec"), found)  # noqa: S102 (our own constants)
    return str(found[name])


def serverless_rules(name: str = "READ_WRITE") -> str:
    """Return the rules of a user who may do what both the constructs and ElastiCache Serverless allow."""
    return f"{access_string(name)} {LACKING}"


@pytest.fixture
def server() -> Iterator[Valkey]:
    """Start a server of the test's own, to be maltreated."""
    with Valkey() as made:
        yield made


@pytest.fixture
def admin(server: Valkey) -> Iterator[redis.Redis]:
    """Connect to it past everything under test."""
    with redis.Redis.from_url(server.url, protocol=2) as client:
        yield client


@pytest.fixture(scope="session")
def tls_binary() -> Path:
    """Return a server with TLS; without one the test is skipped."""
    try:
        return binary()
    except LocalServerError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def authority(tls_binary: Path) -> Iterator[Authority]:
    del tls_binary
    with Authority() as made:
        yield made


@pytest.fixture(scope="session")
def tls_redis(authority: Authority) -> Iterator[TlsRedis]:
    with TlsRedis(authority) as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """Start a cluster without TLS, for what is done to it."""
    with RedisCluster() as made:
        yield made


@pytest.fixture
def purger(serverless: RedisCluster) -> str:
    """Return the URL of a user who may search and erase."""
    serverless.set_user("purger", serverless_rules("PURGE"))
    return serverless.url_of("purger")


@pytest.fixture(scope="module")
def serverless(authority: Authority) -> Iterator[RedisCluster]:
    """Start what comes nearest to ElastiCache Serverless: a cluster, TLS, and a user with its commands and ours."""
    with RedisCluster(tls=authority, user_rules=serverless_rules()) as made:
        yield made


@pytest.fixture
def fake_dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDynamoDB]:
    """Lead boto3 to a server that refuses."""
    with FakeDynamoDB() as server:
        settings = {
            "AWS_ENDPOINT_URL_DYNAMODB": server.url,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_DEFAULT_REGION": "eu-west-1",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        yield server

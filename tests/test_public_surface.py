from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import stripe_cache

if TYPE_CHECKING:
    from world import World

HEAVY = ("stripe", "redis", "boto3", "botocore", "requests", "httpx", "orjson", "aws_lambda_powertools")


def fresh(program: str, *arguments: str, **environ: str) -> Any:
    """Run a program in a new interpreter and return the JSON it prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environ}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


LOADED = f"print(json.dumps(sorted(name for name in {HEAVY!r} if name in sys.modules)))"


def test_the_exported_names_are_sorted_and_exist() -> None:
    assert stripe_cache.__all__ == sorted(stripe_cache.__all__)
    assert all(hasattr(stripe_cache, name) for name in stripe_cache.__all__)


def test_importing_the_package_imports_no_vendor() -> None:
    assert fresh(f"import json, sys, stripe_cache; {LOADED}") == []


def test_constructing_connects_to_nothing() -> None:
    program = f"""
import json, socket, sys
def refuse(*_): raise AssertionError("connected")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = refuse
from stripe_cache import StripeCache
StripeCache.from_env()
{LOADED}
"""
    loaded = fresh(
        program,
        STRIPE_CACHE_NAMESPACE="acct_1",
        STRIPE_CACHE_REDIS_URL="redis://192.0.2.1:6379/0",
        STRIPE_CACHE_TABLE="no-such-table",
    )
    assert set(loaded) <= {"redis"}


@pytest.mark.parametrize("tier", ["redis", "dynamodb"])
def test_a_plain_read_that_hits_imports_only_what_that_tier_needs(world: World, tier: str) -> None:
    path, key = f"/v1/customers/{world.seed()['customers'][0]}", world.key()
    world.cache().get(path, api_key=key)
    program = f"""
import json, sys
from stripe_cache import StripeCache
cache = StripeCache.from_env()
tiers = [cache.get(sys.argv[1], api_key=sys.argv[2]).status.tier for _ in range(2)]
assert tiers == [{tier!r}, "memory"], tiers
{LOADED}
"""
    environ = {
        "STRIPE_CACHE_NAMESPACE": world.account,
        "STRIPE_CACHE_API_BASE": world.fake.url,
        "STRIPE_CACHE_TABLE": world.table,
        "STRIPE_CACHE_REDIS_TIMEOUT": "20",
        "STRIPE_CACHE_DYNAMODB_TIMEOUT": "20",
    }
    if tier == "redis":
        environ["STRIPE_CACHE_REDIS_URL"] = world.valkey.url
    loaded = fresh(program, path, key, **environ)
    assert loaded == (["redis"] if tier == "redis" else ["boto3", "botocore"])

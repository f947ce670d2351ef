"""How long a lookup of a host name may wait: what the constructs say, and what the C library makes of it."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from functions import plain
from synthesis import of_function, render, resources

from stripe_cache_cdk import PurgeFunction, Reconciler, StripeCache
from stripe_cache_cdk.constructs import environment as env

if TYPE_CHECKING:
    import aws_cdk as cdk

# The first two fields of glibc's `struct __res_state`: seconds for each attempt, and attempts.
READ = """
import ctypes
state = ctypes.create_string_buffer(4096)
assert ctypes.CDLL(None).__res_ninit(state) == 0
print(*(ctypes.c_int * 2).from_buffer(state))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library of Lambda's runtimes is glibc")
def test_glibc_gives_up_when_it_is_told_to() -> None:
    for options, expected in ((env.RESOLVER_GIVES_UP, "1 2"), ("timeout:3 attempts:4", "3 4")):
        found = subprocess.run(
            [sys.executable, "-c", READ], env={env.RESOLVER: options}, capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == expected


def test_every_function_of_a_cache_is_told(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", refresh=True, monitoring=False)
    PurgeFunction(stack, "Purge", cache=cache)
    Reconciler(stack, "Reconciler", cache=cache)
    cache.attach(plain(stack))
    functions = resources(render(stack), "AWS::Lambda::Function").values()
    told = [function["Properties"]["Environment"]["Variables"][env.RESOLVER] for function in functions]
    assert told == [env.RESOLVER_GIVES_UP] * 6


def test_what_a_function_says_itself_stays(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", monitoring=False)
    cache.attach(plain(stack, "Before", environment={env.RESOLVER: "attempts:3"}))
    after = plain(stack, "After")
    cache.attach(after)
    after.add_environment(env.RESOLVER, "timeout:2")
    template = render(stack)
    told = {name: of_function(template, name)["Environment"]["Variables"][env.RESOLVER] for name in ("Before", "After")}
    assert told == {"Before": "attempts:3", "After": "timeout:2"}

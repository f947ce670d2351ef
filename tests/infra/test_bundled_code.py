"""Packages for the wrong Python or processor, and what cannot be bundled at all: said with the function's path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from functions import plain
from synthesis import CONTEXT, of_function, render

from stripe_cache_cdk import Architecture, Bundle, ConstructError, Events, StripeCache

if TYPE_CHECKING:
    from pathlib import Path

ARM, INTEL = lambda_.Architecture.ARM_64, lambda_.Architecture.X86_64


def test_what_fits_is_attached_and_what_does_not_is_refused(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", events=Events.NONE, monitoring=False)
    intel = Bundle(architecture=Architecture.X86_64)
    cache.attach(plain(stack, "Fits", code=Bundle().code(), architecture=ARM))
    cache.attach(plain(stack, "FitsToo", code=intel.code()))
    cache.attach(plain(stack, "TheirOwnPackage", runtime=lambda_.Runtime.PYTHON_3_12))
    for name, bundle, props, told in (
        # Forgotten: Lambda's own default is the other processor.
        (
            "Forgot",
            Bundle(),
            {},
            r"for Python 3\.13 on arm64, and it runs python3\.13 on x86_64.*PYTHON_3_13 and .*ARM_64",
        ),
        (
            "Intel",
            intel,
            {"architecture": ARM},
            r"for Python 3\.13 on x86_64, and it runs python3\.13 on arm64.*X86_64",
        ),
        (
            "Older",
            Bundle(),
            {"architecture": ARM, "runtime": lambda_.Runtime.PYTHON_3_12},
            r"for Python 3\.13 on arm64, and it runs python3\.12 on arm64, where importing the package fails: make",
        ),
    ):
        misfit = plain(stack, name, code=bundle.code(), **props)
        with pytest.raises(ConstructError, match=rf"^Test/{name}: its Bundle is {told}"):
            cache.attach(misfit)
    with pytest.raises(RuntimeError, match=r"\[Test/Forgot/Resource\] its Bundle is for Python 3\.13 on arm64") as said:
        render(stack)
    assert all(f"[Test/{name}/Resource]" in str(said.value) for name in ("Intel", "Older"))
    assert "Fits" not in str(said.value)


def test_one_code_may_serve_several_functions(stack: cdk.Stack) -> None:
    cache, code = StripeCache(stack, "Cache", events=Events.NONE, monitoring=False), Bundle().code()
    for name in ("First", "Second"):
        cache.attach(plain(stack, name, code=code, architecture=ARM))
    third = plain(stack, "Third", code=code)
    with pytest.raises(ConstructError, match=r"^Test/Third: its Bundle is for"):
        cache.attach(third)


def test_a_bundle_that_cannot_seal_is_refused_by_a_cache_that_seals(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache", entry_key=kms.Key(stack, "Key"), events=Events.NONE, monitoring=False)
    with pytest.raises(ConstructError, match=r"^Test/Plain: the cache at Test/Cache seals.*: make it with extras="):
        cache.attach(plain(stack, "Plain", code=Bundle().code(), architecture=ARM))
    cache.attach(plain(stack, "Sealing", code=Bundle(extras=("encryption",)).code(), architecture=ARM))
    assert of_function(render(stack), "Sealing")["Architectures"] == ["arm64"]


def test_what_cannot_be_bundled_is_said_of_any_function_by_its_path(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("stripe==16.1.0\n", encoding="utf-8")  # Without a hash.
    stack = cdk.Stack(cdk.App(analytics_reporting=False, outdir=str(tmp_path / "out"), context=CONTEXT), "Test")
    told = r"^Test/Mine: stripe==16\.1\.0 of requirements\.txt could not be installed for Python 3\.13 on arm64"
    with pytest.raises(RuntimeError, match=told) as said:
        plain(stack, code=Bundle(requirements=lock).code(), architecture=ARM)
    assert "jsii" not in str(said.value)

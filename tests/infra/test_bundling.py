"""The Lambda zip: what is in it, that it is the same every time, and what happens without the right interpreter."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import aws_cdk as cdk
import pytest
from synthesis import CONTEXT, ROOT

from stripe_cache_cdk import ConstructError, FunctionOptions, InfrastructureError, RuntimeFunction
from stripe_cache_cdk.config import Architecture
from stripe_cache_cdk.constructs import bundling, interpreters
from stripe_cache_cdk.constructs.bundling import Bundle, runtime_requirements, runtime_source

if TYPE_CHECKING:
    from pathlib import Path

# The version that runs the tests is always here, so byte code is always compiled in these tests.
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    Bundle(python=HERE).build(folder)
    return folder


def test_the_zip_holds_the_runtime_its_requirements_and_nothing_of_this_machine(built: Path) -> None:
    names = {path.name for path in built.iterdir()}
    assert {"stripe_cache", "stripe", "redis", "hiredis", "aws_lambda_powertools"} <= names
    assert not names & {"boto3", "botocore", "aws_cdk", "stripe_cache_cdk", "local", "bin", ".lock"}
    assert (built / "stripe_cache" / "core" / "errors.py").exists()
    traces = (str(built).encode(), str(ROOT).encode())
    assert not [path for path in built.rglob("*") if path.is_file() and any(t in path.read_bytes() for t in traces)]


def test_native_code_is_for_the_target_and_not_for_this_machine(built: Path) -> None:
    libraries = sorted(built.rglob("*.so"))
    assert libraries
    # Bytes 18 and 19 of an ELF file name its processor: 183 is aarch64.
    assert {int.from_bytes(path.read_bytes()[18:20], "little") for path in libraries} == {183}


def test_byte_code_is_there_and_is_never_checked_against_sources(built: Path) -> None:
    compiled = list(built.rglob("*.pyc"))
    sources = list(built.rglob("*.py"))
    assert len(compiled) == len(sources)
    # PEP 552: flags 0b01 in bytes 4 to 7 mean hash-based and unchecked.
    assert {path.read_bytes()[4:8] for path in compiled} == {b"\x01\x00\x00\x00"}


def test_two_builds_are_equal_byte_for_byte(built: Path, tmp_path: Path) -> None:
    Bundle(python=HERE).build(tmp_path)
    assert digests(tmp_path) == digests(built)


def test_sources_of_yours_go_beside_the_runtime(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "__pycache__").mkdir(parents=True)
    (mine / "app.py").write_text("def handler(event, context): return event\n")
    (mine / "__pycache__" / "old.pyc").write_bytes(b"old")
    empty = tmp_path / "requirements.txt"
    empty.write_text("")
    output = tmp_path / "out"
    output.mkdir()
    Bundle(python=HERE, sources=(mine,), requirements=empty).build(output)
    assert (output / "app.py").exists()
    assert not (output / "__pycache__" / "old.pyc").exists()


def test_the_digest_follows_what_goes_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "stripe_cache"
    shutil.copytree(runtime_source(), copy)
    base = Bundle().digest()
    monkeypatch.setattr(bundling, "runtime_source", lambda: copy)
    assert Bundle().digest() == base
    assert Bundle(python="3.12").digest() != base
    assert Bundle(architecture=Architecture.X86_64).digest() != base
    (copy / "core" / "errors.py").write_text("changed = True\n")
    bundling._folder_digest.cache_clear()
    assert Bundle().digest() != base
    bundling._folder_digest.cache_clear()


def test_what_is_not_pinned_by_hash_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("stripe==16.1.0\n")
    output = tmp_path / "out"
    output.mkdir()
    with pytest.raises(InfrastructureError, match=r"for Python 3\.13 on arm64 could not be installed"):
        Bundle(requirements=lock).build(output)


def test_the_checkout_has_sources_and_requirements() -> None:
    assert runtime_source() == ROOT / "runtime" / "stripe_cache"
    assert runtime_requirements() == ROOT / "runtime" / "requirements.txt"


def test_an_interpreter_must_be_of_the_very_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    liar = tmp_path / "python3.99"
    liar.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    liar.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    interpreters.find_python.cache_clear()
    assert interpreters.find_python("3.99") is None
    found = interpreters.find_python(HERE)
    interpreters.find_python.cache_clear()
    assert found is not None
    told = subprocess.run([found, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, check=True)
    assert told.stdout.decode().strip() == str(sys.version_info[:2])


def test_without_an_interpreter_synthesis_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundling, "find_python", lambda _version: None)
    empty = tmp_path / "requirements.txt"
    empty.write_text("")
    app = cdk.App(analytics_reporting=False, outdir=str(tmp_path / "out"), context=CONTEXT)
    stack = cdk.Stack(app, "Test")
    RuntimeFunction(stack, "F", handler="a.b", requirements=empty)
    (told,) = [
        str(message.entry.data)
        for message in app.synth().get_stack_by_name("Test").messages
        if "byte code" in str(message.entry.data)
    ]
    assert "uv python install 3.13" in told


def test_a_second_synthesis_finds_the_first_ones_bundle(tmp_path: Path) -> None:
    def synthesize() -> tuple[str, int]:
        app = cdk.App(analytics_reporting=False, outdir=str(tmp_path), context=CONTEXT)
        RuntimeFunction(
            cdk.Stack(app, "Test"),
            "F",
            handler="a.b",
            options=FunctionOptions(python=HERE, architecture=Architecture.X86_64),
        )
        app.synth()
        files = json.loads((tmp_path / "Test.assets.json").read_text())["files"].values()
        (source,) = [file["source"]["path"] for file in files if file["source"]["packaging"] == "zip"]
        folder = tmp_path / source
        return folder.name, (folder / "stripe_cache" / "__init__.py").stat().st_ino

    first = synthesize()
    assert synthesize() == first


def test_an_unknown_python_is_refused(stack: cdk.Stack) -> None:
    with pytest.raises(ConstructError, match=r"^Test: F: python='3\.9': choose one of 3\.11"):
        RuntimeFunction(stack, "F", handler="a.b", options=FunctionOptions(python="3.9"))


def test_sources_that_are_not_there_are_refused(stack: cdk.Stack) -> None:
    with pytest.raises(ConstructError, match=r"^Test: F: no folder .*nowhere: pass existing sources"):
        RuntimeFunction(stack, "F", handler="a.b", sources=[ROOT / "nowhere"])

"""The Lambda zip: what is in it, that it is the same every time, and what happens without the right interpreter."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import aws_cdk as cdk
import pytest
from synthesis import CONTEXT, ROOT

from stripe_cache_cdk import ConstructError, FunctionOptions, RuntimeFunction, StageError
from stripe_cache_cdk.config import DEFAULT_PYTHON, Architecture
from stripe_cache_cdk.constructs import bundling, interpreters, wheels
from stripe_cache_cdk.constructs.bundling import Bundle, runtime_source

if TYPE_CHECKING:
    from pathlib import Path

# The version that runs the tests is always here, so byte code is always compiled in these tests.
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
LOCAL = Architecture.ARM64 if platform.machine() in {"aarch64", "arm64"} else Architecture.X86_64


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


def test_byte_code_is_there_and_is_never_checked_against_sources(built: Path) -> None:
    compiled = list(built.rglob("*.pyc"))
    sources = list(built.rglob("*.py"))
    assert len(compiled) == len(sources)
    # PEP 552: flags 0b01 in bytes 4 to 7 mean hash-based and unchecked.
    assert {path.read_bytes()[4:8] for path in compiled} == {b"\x01\x00\x00\x00"}


@pytest.fixture(scope="module")
def default_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build what functions run by default, for this machine's processor."""
    if interpreters.find_python(DEFAULT_PYTHON) is None:
        pytest.skip(f"no Python {DEFAULT_PYTHON} here, and `make setup` could not fetch one with uv")
    folder = tmp_path_factory.mktemp("default")
    Bundle(architecture=LOCAL).build(folder)
    return folder


COLD_START = """
import json, sys
sys.path.insert(0, sys.argv[1])
import hiredis, redis, stripe, aws_lambda_powertools.metrics
import stripe_cache.handlers.webhook, stripe_cache.handlers.entitlements, stripe_cache.handlers.invalidations
import stripe_cache.handlers.reconcile, stripe_cache.http_client, stripe_cache.tiers.redis, stripe_cache.tiers.dynamodb
files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
print(json.dumps([name for name in files if name.startswith(sys.argv[1])]))
"""


def cold_start(folder: Path) -> subprocess.CompletedProcess[str]:
    """Import all that the handlers import, from the folder, in a new default interpreter that writes no byte code."""
    interpreter = interpreters.find_python(DEFAULT_PYTHON)
    assert interpreter is not None
    command = [interpreter, "-I", "-B", "-c", COLD_START, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_default_zip_starts_from_its_byte_code_alone(default_zip: Path, tmp_path: Path) -> None:
    """Every source in the copy raises when it is compiled, so that whatever imports was not."""
    copy = tmp_path / "zip"
    shutil.copytree(default_zip, copy)
    for source in copy.rglob("*.py"):
        source.write_text("raise SystemExit('compiled here: ' + __file__)\n")
    started = cold_start(copy)
    assert started.returncode == 0, started.stderr
    loaded = json.loads(started.stdout)
    assert len(loaded) > 200
    assert not [path for path in copy.rglob("*.pyc") if f".cpython-{DEFAULT_PYTHON.replace('.', '')}." not in path.name]
    for cache in copy.rglob("__pycache__"):
        shutil.rmtree(cache)
    assert "compiled here" in cold_start(copy).stderr, "without byte code the same start fails"


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
    assert Bundle(extras=("encryption",)).digest() != base
    assert Bundle(extras=("encryption", "encryption")).digest() == Bundle(extras=("encryption",)).digest()
    (copy / "core" / "errors.py").write_text("changed = True\n")
    bundling._folder_digest.cache_clear()
    assert Bundle().digest() != base
    bundling._folder_digest.cache_clear()


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


def test_a_second_synthesis_finds_the_first_ones_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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

    def install(*_arguments: object, **_options: object) -> None:
        raise AssertionError("the second synthesis installed again")

    monkeypatch.setattr(wheels.Wheels, "install", install)
    assert synthesize() == first


def test_an_unknown_python_is_refused() -> None:
    with pytest.raises(StageError, match=r"^python='3\.9' is unknown: choose of 3\.11"):
        FunctionOptions(python="3.9")


def test_sources_that_are_not_there_are_refused(stack: cdk.Stack) -> None:
    with pytest.raises(ConstructError, match=r"^Test/F: sources='.*nowhere' is no folder: give existing ones"):
        RuntimeFunction(stack, "F", handler="a.b", sources=[ROOT / "nowhere"])

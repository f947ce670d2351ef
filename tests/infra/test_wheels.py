"""The wheels in a Lambda zip: for which platform they are, where they come from, and what is said of a missing one."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import aws_cdk as cdk
import pytest
from synthesis import CONTEXT, ROOT

from stripe_cache_cdk import FunctionOptions, InfrastructureError, RuntimeFunction, StageError, prefetch
from stripe_cache_cdk.config import DEFAULT_PYTHON, PYTHONS, Architecture
from stripe_cache_cdk.constructs import interpreters
from stripe_cache_cdk.constructs.bundling import Bundle, runtime_source
from stripe_cache_cdk.constructs.wheels import PROCESSORS, default_wheels, locked, platform_of

if TYPE_CHECKING:
    from pathlib import Path

# The version that runs the tests is always here, so byte code is always compiled in these tests.
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
# Bytes 18 and 19 of an ELF file name its processor.
ELF = {Architecture.ARM64: 183, Architecture.X86_64: 62}
# The newest glibc function that a library may need: what Amazon Linux 2 and 2023 have.
GLIBC = {"3.11": 26, "3.12": 34, "3.13": 34, "3.14": 34}
NEEDED = re.compile(rb"GLIBC_2\.(\d+)\b")


@pytest.mark.parametrize("architecture", Architecture)
@pytest.mark.parametrize("python", PYTHONS)
def test_native_code_is_for_lambdas_processor_python_and_c_library(
    tmp_path: Path, python: str, architecture: Architecture
) -> None:
    """Extras included, of which `cryptography` is the one that comes in builds for several C libraries."""
    (everything,) = [one for one in default_wheels(python) if one.architecture is architecture]
    everything.install(tmp_path, link="hardlink")
    libraries = {path.name: path.read_bytes() for path in sorted(tmp_path.rglob("*.so"))}
    assert {name.split(".")[0] for name in libraries} >= {"hiredis", "_rust", "_cffi_backend"}
    assert {int.from_bytes(body[18:20], "little") for body in libraries.values()} == {ELF[architecture]}
    needed = {int(found) for body in libraries.values() for found in NEEDED.findall(body)}
    assert 14 < max(needed) <= GLIBC[python]
    foreign = {name for name in libraries if "cpython-" in name and f"cpython-{python.replace('.', '')}-" not in name}
    assert not foreign


def test_python_3_11_gets_wheels_for_amazon_linux_2_and_the_newer_ones_for_2023() -> None:
    assert {platform_of("3.11", one) for one in Architecture} == {
        f"{name}-manylinux2014" for name in PROCESSORS.values()
    }
    for python in set(PYTHONS) - {"3.11"}:
        assert platform_of(python, Architecture.ARM64) == "aarch64-manylinux_2_28"


def test_an_extra_brings_its_packages_and_only_them(tmp_path: Path) -> None:
    plain, sealed = tmp_path / "plain", tmp_path / "sealed"
    for folder, extras in ((plain, ()), (sealed, ("encryption",))):
        folder.mkdir()
        Bundle(python=HERE, architecture=Architecture.X86_64, extras=extras).build(folder)
    added = {path.name for path in sealed.iterdir()} - {path.name for path in plain.iterdir()}
    assert {"cryptography", "cffi", "pycparser"} <= added
    assert {name.split("-")[0].split(".")[0] for name in added} == {
        *("cryptography", "cffi", "pycparser", "_cffi_backend")
    }
    run = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(sealed)!r}); {SEALS}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(sealed))


SEALS = (
    "from cryptography.hazmat.primitives.ciphers import aead; import stripe_cache.tiers.sealing; "
    "aead.AESGCM(bytes(32)).encrypt(bytes(12), b'body', None); print(aead.__file__)"
)


def test_an_unknown_extra_is_refused() -> None:
    with pytest.raises(StageError, match=r"^extras='sealing' is unknown: choose of encryption"):
        FunctionOptions(extras=("sealing",))


def test_what_is_not_pinned_by_hash_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("stripe==16.1.0\n")
    output = tmp_path / "out"
    output.mkdir()
    with pytest.raises(
        InfrastructureError, match=r"^stripe==16\.1\.0 of requirements\.txt could not be installed for "
    ):
        Bundle(requirements=lock).build(output)


NO_NETWORK = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
    "UV_HTTP_RETRIES": "0",
}


def test_a_wheel_that_is_missing_without_network_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**NO_NETWORK, "UV_CACHE_DIR": str(tmp_path / "cold")}.items():
        monkeypatch.setenv(name, value)
    app = cdk.App(analytics_reporting=False, outdir=str(tmp_path / "out"), context=CONTEXT)
    with pytest.raises(InfrastructureError) as told:
        RuntimeFunction(cdk.Stack(app, "Test"), "F", handler="a.b")
    said = str(told.value)
    assert re.match(
        r"Test/F: [a-z-]+==[0-9.]+ of requirements\.txt could not be installed for Python 3\.13 on arm64", said
    )
    assert "run `python -m stripe_cache_cdk.prefetch` once" in said
    assert "\n" not in said
    assert "\x1b" not in said
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__, "no traceback of jsii's comes with it"


def test_prefetching_fills_an_empty_cache_for_both_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    assert prefetch.main([DEFAULT_PYTHON]) == 0
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)
    for one in default_wheels(DEFAULT_PYTHON):
        folder = tmp_path / one.architecture
        one.install(folder)
        assert (folder / "hiredis").is_dir()
        assert (folder / "cryptography").is_dir()
    assert prefetch.main(["3.14"]) == 1


def test_prefetching_for_no_python_of_lambdas_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert prefetch.main(["3.10"]) == 1
    assert "prefetch: python='3.10': choose one of 3.11, 3.12, 3.13, 3.14" in capsys.readouterr().err


def test_an_interpreter_that_uv_cannot_fetch_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)
    assert "zips will have no byte code" in interpreters.install_python("3.99")
    assert interpreters.install_python(HERE) == ""


def test_the_checkout_has_sources_and_requirements() -> None:
    assert runtime_source() == ROOT / "runtime" / "stripe_cache"
    assert locked() == ROOT / "runtime" / "requirements.txt"
    assert locked("encryption") == ROOT / "runtime" / "requirements-encryption.txt"
    with pytest.raises(InfrastructureError, match="extras='nothing' is unknown"):
        locked("nothing")

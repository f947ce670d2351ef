"""What another repository gets: the wheel, the two kinds of installation, and the example synthesized from them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from synthesis import ROOT, resources, text_of

from stripe_cache_cdk.constructs.interpreters import find_uv

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = ROOT / "examples" / "own_function"


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    assert ended.returncode == 0, ended.stderr[-3_000:]
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(find_uv(), "build", "--wheel", "--quiet", "--out-dir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def install(folder: Path, *what: str) -> Path:
    """Return the Python of a new, empty environment with the given packages, in the versions that are locked."""
    run(find_uv(), "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(
        *(find_uv(), "pip", "install", "--quiet", "--python", python),
        *("--constraint", ROOT / "requirements.txt", *what),
        cwd=folder,
    )
    return python


def test_the_wheel_carries_sources_requirements_and_markers_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for name in ("requirements.txt", "requirements-encryption.txt"):
            assert archive.read(f"stripe_cache_cdk/runtime-{name}") == (ROOT / "runtime" / name).read_bytes()
        described = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    assert {"stripe_cache/py.typed", "stripe_cache_cdk/py.typed", "stripe_cache/core/errors.py"} <= names
    packaged = {name for name in names if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in packaged} == {"stripe_cache", "stripe_cache_cdk"}
    extra = {
        name
        for name in packaged
        if not name.endswith((".py", "py.typed")) and not name.startswith("stripe_cache/core/data/")
    }
    assert extra == {f"stripe_cache_cdk/runtime-requirements{which}.txt" for which in ("", "-encryption")}
    assert {name for name in packaged if "/core/data/" in name} == {
        f"stripe_cache/core/data/{path.name}"
        for path in (ROOT / "runtime" / "stripe_cache" / "core" / "data").iterdir()
        if path.is_file()
    }
    beside = {name.partition(".dist-info/")[2] for name in names - packaged}
    assert beside == {"METADATA", "RECORD", "WHEEL", "licenses/LICENSE"}
    assert set(re.findall(r"^Provides-Extra: (\S+)$", described, re.MULTILINE)) >= {"cdk", "encryption"}
    needed = re.findall(r"^Requires-Dist: ([a-z0-9-]+)(?!.*extra ==)", described, re.MULTILINE)
    assert set(needed) == {"stripe", "redis", "hiredis", "boto3", "aws-lambda-powertools"}
    in_checkout = {
        path.relative_to(root).as_posix() for root in (ROOT / "runtime", ROOT / "infra") for path in root.rglob("*.py")
    }
    assert {name for name in packaged if name.endswith(".py")} == in_checkout


def test_a_plain_installation_has_the_runtime_and_no_cdk(wheel: Path, tmp_path: Path) -> None:
    python = install(tmp_path, str(wheel))
    told = json.loads(
        run(
            python,
            "-c",
            "import importlib.metadata as m, json, stripe_cache; "
            "print(json.dumps([stripe_cache.__file__, sorted(d.name for d in m.distributions())]))",
            cwd=tmp_path,
        )
    )
    assert told[0].startswith(str(tmp_path))
    assert {"stripe-cache", "stripe", "redis"} <= set(told[1])
    assert not {"aws-cdk-lib", "constructs", "jsii", "pytest"} & set(told[1])


def test_the_example_synthesizes_from_an_installation_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    python = install(tmp_path, f"{wheel}[cdk]")
    example = tmp_path / "example"
    shutil.copytree(EXAMPLE, example, ignore=shutil.ignore_patterns("__pycache__", "cdk.out"))
    programs = tmp_path / "programs"
    programs.mkdir()
    # jsii needs Node, bundling needs uv: nothing else of the checkout's environment is within reach.
    (programs / "node").symlink_to((ROOT / ".venv" / "bin" / "node").resolve())
    (programs / "uv").symlink_to(find_uv().resolve())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PATH": os.pathsep.join([str(python.parent), str(programs), "/usr/bin", "/bin"]),
        "CDK_OUTDIR": str(tmp_path / "out"),
    }
    run(python, "app.py", cwd=example, env=environment)
    template = json.loads((tmp_path / "out" / "Billing.template.json").read_text())
    (function,) = [
        found["Properties"]
        for name, found in resources(template, "AWS::Lambda::Function").items()
        if name.startswith("Billing")
    ]
    variables = function["Environment"]["Variables"]
    assert {"STRIPE_CACHE_TABLE", "STRIPE_CACHE_REDIS_URL", "STRIPE_CACHE_API_KEY_SECRET"} <= set(variables)
    assert "elasticache:Connect" in text_of(resources(template, "AWS::IAM::Policy"))
    package = tmp_path / "out" / f"asset.{function['Code']['S3Key'].removesuffix('.zip')}"
    assert (package / "billing.py").exists()
    assert (package / "stripe_cache" / "core" / "errors.py").exists()
    assert (package / "redis").is_dir()
    assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
    assert "LoggingConfig" not in function, "a function of the user's own, as plain as it was made"
    # What the extra adds travels with the wheel as well.
    told = run(
        python,
        "-c",
        "from stripe_cache_cdk.constructs.wheels import locked; print(locked(), locked('encryption'))",
        cwd=tmp_path,
        env=environment,
    )
    assert all(path.startswith(str(tmp_path)) for path in told.split())


def test_the_example_is_short_and_attaches_a_plain_function() -> None:
    source = (EXAMPLE / "app.py").read_text()
    assert len(source.splitlines()) <= 35
    assert "RuntimeFunction" not in source

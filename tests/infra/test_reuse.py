"""What another repository gets: the wheel, the two kinds of installation, and the example synthesized from them."""

from __future__ import annotations

import json
import os
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
        assert (
            archive.read("stripe_cache_cdk/runtime-requirements.txt")
            == (ROOT / "runtime" / "requirements.txt").read_bytes()
        )
    assert {"stripe_cache/py.typed", "stripe_cache_cdk/py.typed", "stripe_cache/core/errors.py"} <= names
    packaged = {name for name in names if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in packaged} == {"stripe_cache", "stripe_cache_cdk"}
    extra = {
        name
        for name in packaged
        if not name.endswith((".py", "py.typed")) and not name.startswith("stripe_cache/core/data/")
    }
    assert extra == {"stripe_cache_cdk/runtime-requirements.txt"}
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


def test_the_example_is_short() -> None:
    assert len((EXAMPLE / "app.py").read_text().splitlines()) <= 32

"""The demo as a person runs it: a whole run, an interrupted one, and one against a sandbox."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.demo import sandbox
from local.fake_stripe.client import FakeStripe
from local.workers import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def demo(directory: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Start the demo in its own process group, as a terminal does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STRIPE_")}
    with subprocess.Popen(
        [sys.executable, "-m", "local.demo"],
        cwd=directory,
        env={**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def started_by(temporary: Path) -> set[int]:
    """Return every process that runs with this directory for its temporary files: all that a demo given it started."""
    found = set()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"TMPDIR={temporary}\0".encode() in environ.read_bytes():
                found.add(int(environ.parent.name))
    return found


def read_until(process: subprocess.Popen[str], words: str) -> str:
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


def test_a_short_run_reports_no_error_and_nothing_stale(tmp_path: Path) -> None:
    with demo(tmp_path, SECONDS="5", RPS="8", WORKERS="4") as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "\r" not in output
    report = json.loads((tmp_path / "demo-report.json").read_text())
    cached, plain = report["halves"]["with cache"], report["halves"]["without"]
    assert report["verdict"] == {"passed": True, "problems": []}
    assert cached["requests"] == plain["requests"] > 0
    assert (cached["errors"], cached["stale_answers"], cached["stripe_429"]) == (0, 0, 0)
    assert 0 < cached["stripe_calls"] < plain["stripe_calls"]
    # Every read of the run was judged, and every change was told to the cache.
    assert sum(report["truth"]["reads"].values()) >= 2 * cached["requests"]
    assert report["webhooks"]["acknowledged"] == report["webhooks"]["events"] >= sum(report["changes"].values()) > 0
    # What the metrics say and what the answers' Cache-Status says is the same story.
    assert report["cache"]["hits"] == sum(report["cache"]["by_tier"].values())
    assert report["cache"]["hits"] == sum(kind["hits"] for kind in report["cache"]["by_object_type"].values())
    assert "<svg" in (tmp_path / "demo-report.html").read_text()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("number", "moment", "at_least"),
    [
        pytest.param(signal.SIGINT, "measured  60 s", 2, id="Ctrl-C while servers start"),
        # The demo, two fakes, Valkey, DynamoDB, the reaper and some sandboxes.
        pytest.param(signal.SIGINT, "measured  60 s", 9, id="Ctrl-C while sandboxes start"),
        pytest.param(signal.SIGINT, "warm-up ", 9, id="Ctrl-C under traffic"),
        pytest.param(signal.SIGTERM, "warm-up ", 9, id="SIGTERM under traffic"),
    ],
)
def test_an_interrupted_run_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, moment: str, at_least: int
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with demo(tmp_path, SECONDS="60", RPS="8", WORKERS="4", TMPDIR=str(temporary)) as process:
        read_until(process, moment)
        deadline = time.monotonic() + 30
        while len(started_by(temporary)) < at_least:
            assert time.monotonic() < deadline
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert output.strip() == "interrupted: everything that was started has ended"
    deadline = time.monotonic() + 10
    while left := started_by(temporary):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)
    assert not list(temporary.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]


@pytest.fixture(scope="module")
def stripe_sandbox() -> Iterator[FakeStripe]:
    with FakeStripe(seed=9) as fake:
        yield fake


def test_a_sandbox_without_customers_is_told_in_one_sentence(tmp_path: Path, stripe_sandbox: FakeStripe) -> None:
    variables = {"STRIPE_API_KEY": "sk_test_abc", "STRIPE_CACHE_API_BASE": stripe_sandbox.url}
    with demo(tmp_path, **variables) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert output.splitlines()[-1].startswith("demo: the sandbox behind STRIPE_API_KEY has no customers")


def test_a_sandbox_is_only_read_and_compared(tmp_path: Path, stripe_sandbox: FakeStripe) -> None:
    stripe_sandbox.seed(12, 3)
    stripe_sandbox.configure(limits={"factor": 1.0})
    stripe_sandbox.reset()
    key = "sk_test_abcdefgh"
    variables = {"STRIPE_API_KEY": key, "STRIPE_CACHE_API_BASE": stripe_sandbox.url, "SECONDS": "5", "WORKERS": "3"}
    with demo(tmp_path, **variables) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    called = stripe_sandbox.counters()["endpoints"]
    assert called
    assert all(endpoint.startswith("GET ") for endpoint in called)
    report = json.loads((tmp_path / "demo-report.json").read_text())
    cached, plain = report["halves"]["with cache"], report["halves"]["without"]
    assert (cached["errors"], cached["differing_answers"]) == (0, 0)
    assert 0 < cached["stripe_calls"] < plain["stripe_calls"]
    # A key must not end up in a file that is shown around.
    assert all(key not in path.read_text() for path in tmp_path.iterdir())
    assert key not in output


def test_an_answer_that_differs_from_stripes_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named.py").write_text(
        "import json, os\n"
        "def handle(event, context):\n"
        "    name = os.environ['NAME'] if event['pathParameters']['customer'] == 'cus_2' else 'same'\n"
        "    return {'statusCode': 200, 'headers': {}, 'body': json.dumps({'name': name})}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sandbox, "TICK_SECONDS", 0.0)
    pools: list[Any] = [WorkerPool(1, "named:handle", {"NAME": name}) for name in ("old", "new")]
    with pools[0], pools[1]:
        (difference,) = sandbox.compare(*pools, ["cus_1", "cus_2", "cus_3"])
    assert difference.startswith("cus_2: ")
    assert "old" in difference
    assert "new" in difference

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure import FLOOR, OURS, PEER, Contender, interleave
from benchmarks.options import OptionError, Options
from benchmarks.report import as_text, marks

ROOT = Path(__file__).resolve().parents[2]


def run(**environ: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark as `make bench` does."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.run"],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    results = tmp_path_factory.mktemp("results") / "tiny.json"
    done = run(ROUNDS="2", BATCH="1", PROCESSES="1", RESULTS=str(results))
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(results.read_text())


def test_every_tier_is_measured_beside_its_floor_and_its_peers(finished: tuple[str, dict[str, Any]]) -> None:
    _, document = finished
    for shape in ("customer", "subscription"):
        for way in ("client", "get"):
            rows = [row for row in document["timings"] if (row["shape"], row["way"]) == (shape, way)]
            kinds = {kind: {row["name"] for row in rows if row["kind"] == kind} for kind in (OURS, FLOOR, PEER)}
            assert len(kinds[FLOOR]) == 3
            assert {name.partition(": ")[2] for name in kinds[OURS]} == {
                "memory",
                "redis",
                "redis, filling memory",
                "dynamodb",
            }
            assert {name.partition(":")[0] for name in kinds[PEER]} == {"requests-cache", "hishel", "by hand"}
            for row in rows:
                assert row["median_us"] > 0
                assert row["calls"] >= 2
                assert row["floor"] in ({None} if row["kind"] == FLOOR else kinds[FLOOR])
                assert (row["ratio"] is None) == (row["kind"] == FLOOR)


def test_the_objects_have_the_sizes_of_real_answers(finished: tuple[str, dict[str, Any]]) -> None:
    sizes = finished[1]["body_bytes"]
    assert 1300 <= sizes["customer"] <= 1500
    assert 7000 <= sizes["subscription"] <= 11_000


def test_a_first_hit_from_redis_loads_neither_stripe_nor_boto3(finished: tuple[str, dict[str, Any]]) -> None:
    cold = finished[1]["cold"]
    assert "redis" in cold["loaded_by_first_get"]
    assert not {"stripe", "boto3", "botocore", "requests"} & set(cold["loaded_by_first_get"])
    assert set(cold["milliseconds"]) == {
        "import redis",
        "import stripe_cache",
        "import stripe",
        "stripe_cache: first get() from Redis",
    }
    assert all(value > 0 for value in cold["milliseconds"].values())


def test_both_marks_are_compared_and_both_are_in_the_table(finished: tuple[str, dict[str, Any]]) -> None:
    text, document = finished
    assert {(mark["way"], mark["limit"]) for mark in document["marks"]} == {("client", 1.15), ("get", 1.6)}
    assert text.rstrip("\n") == as_text(document)
    assert text.count(" Redis hit is ") == 2


def test_the_results_describe_the_machine_without_naming_it(finished: tuple[str, dict[str, Any]]) -> None:
    text = json.dumps(finished[1])
    machine = finished[1]["machine"]
    assert machine["cpu"]
    assert machine["cores"] == os.cpu_count()
    assert finished[1]["run"]["load_per_core_before"] >= 0
    assert {"stripe", "redis", "orjson", "requests-cache", "hishel"} <= set(machine["packages"])
    assert str(ROOT) not in text
    assert str(Path.home()) not in text
    assert socket.gethostname() not in machine.values()


@pytest.mark.parametrize(
    ("name", "value"), [("ROUNDS", "0"), ("ROUNDS", "-3"), ("BATCH", "ten"), ("PROCESSES", "1.5"), ("BATCH", "9" * 30)]
)
def test_a_bad_number_is_named_with_its_remedy(name: str, value: str) -> None:
    with pytest.raises(OptionError, match=f"{name} is '{value}': use a whole number from 1 to"):
        Options.from_env({name: value})


def test_results_must_be_a_json_file_in_a_directory_that_exists(tmp_path: Path) -> None:
    assert Options.from_env({"RESULTS": str(tmp_path / "a.json"), "ROUNDS": " 7 "}).rounds == 7
    for path in (tmp_path, tmp_path / "a.txt", tmp_path / "missing" / "a.json"):
        with pytest.raises(OptionError, match="RESULTS"):
            Options.from_env({"RESULTS": str(path)})


def test_a_bad_option_ends_the_run_before_it_begins() -> None:
    done = run(ROUNDS="many")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("ROUNDS is 'many'")
    assert "Traceback" not in done.stderr


def test_contenders_take_turns_and_slow_ones_take_shorter_ones() -> None:
    called: list[str] = []
    contenders = [
        Contender("floor", "get", "s", FLOOR, lambda _: called.append("floor")),
        Contender("slow", "get", "s", OURS, lambda _: called.append("slow"), "floor", slowness=5),
    ]
    timings = interleave(contenders, rounds=4, batch=10)
    assert [timing.calls for timing in timings] == [40, 8]
    assert called.count("floor") == 40
    # Neither has all its turns before the other begins.
    assert set(called[:12]) == set(called[12:24]) == {"floor", "slow"}
    assert timings[0].ratio is None
    assert timings[1].ratio == pytest.approx(timings[1].median / timings[0].median)


def test_a_ratio_above_the_mark_is_reported_as_missed() -> None:
    contenders = [
        Contender("floor: redis GET", "get", "customer", FLOOR, lambda _: None),
        Contender("stripe-cache: redis", "get", "customer", OURS, lambda _: sum(range(20_000)), "floor: redis GET"),
    ]
    (mark,) = marks(interleave(contenders, rounds=3, batch=3))
    assert (mark["way"], mark["met"]) == ("get", False)
    assert mark["ratio"] > mark["limit"]

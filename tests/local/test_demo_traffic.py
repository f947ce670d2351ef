from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from local.demo.traffic import Arrival, Half, arrivals
from local.workers import WorkerPool

if TYPE_CHECKING:
    from pathlib import Path

CUSTOMERS = [f"cus_{number}" for number in range(50)]
HANDLER = """
import json, time
def handle(event, context):
    customer = event["pathParameters"]["customer"]
    if customer == "cus_slow":
        time.sleep(0.2)
    if customer == "cus_broken":
        raise LookupError("broken")
    headers = {"cache-status": "a; hit; detail=redis, a; fwd=uri-miss"}
    return {"statusCode": 200, "headers": headers, "body": json.dumps({"it": customer})}
"""


@pytest.fixture
def handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "traffic_handler.py").write_text(HANDLER)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "traffic_handler:handle"


def test_both_halves_can_draw_the_same_traffic() -> None:
    one, other = (arrivals(CUSTOMERS, warm_up=2, seconds=5, rps=30, seed=1) for _ in range(2))
    assert one == other
    assert one != arrivals(CUSTOMERS, warm_up=2, seconds=5, rps=30, seed=2)


def test_traffic_rises_during_the_warm_up_and_then_keeps_its_rate() -> None:
    found = arrivals(CUSTOMERS, warm_up=100, seconds=100, rps=20, seed=3)
    early, late, measured = (sum(low <= one.at < low + 20 for one in found) for low in (0, 80, 150))
    assert early < late * 0.6
    assert measured == pytest.approx(400, rel=0.15)
    assert max(one.at for one in found) < 200


def test_few_customers_get_most_of_the_traffic() -> None:
    asked = Counter(one.customer for one in arrivals(CUSTOMERS, warm_up=0, seconds=200, rps=20, seed=4))
    assert asked.most_common(1)[0][0] == CUSTOMERS[0]
    assert sum(count for _, count in asked.most_common(10)) > 0.6 * sum(asked.values())
    assert len(asked) == len(CUSTOMERS)


def test_waiting_for_a_sandbox_counts_as_latency(handler: str) -> None:
    with WorkerPool(1, handler) as pool:
        pool.warm()
        half = Half("slow", pool, 2)
        half.start([Arrival(0.0, "cus_slow")] * 3, time.time())
        assert half.finish(20) == 0
    latencies = sorted(sample.latency_ms for sample in half.samples)
    assert latencies[0] >= 200
    assert latencies[2] >= 600
    # The handler itself never took so long: it began when a sandbox was free.
    assert all(
        sample.began - sample.due >= 0.19 * index
        for index, sample in enumerate(sorted(half.samples, key=lambda one: one.began))
    )


def test_what_is_not_begun_when_time_is_up_is_told(handler: str) -> None:
    with WorkerPool(1, handler) as pool:
        half = Half("late", pool, 1)
        half.start([Arrival(0.0, "cus_1"), Arrival(3600.0, "cus_1")], time.time())
        while not half.samples:
            time.sleep(0.01)
        assert half.overdue(time.time(), time.time()) == 0
        assert half.finish(0) == 1


def test_a_failing_handler_is_a_failed_sample_and_ends_nothing(handler: str) -> None:
    with WorkerPool(1, handler) as pool:
        half = Half("broken", pool, 1)
        half.start([Arrival(0.0, "cus_broken"), Arrival(0.0, "cus_1")], time.time())
        assert half.finish(20) == 0
    broken, fine = half.samples
    assert (broken.failed, broken.error) == (True, "LookupError: broken")
    assert (fine.failed, fine.body, fine.cache) == (False, {"it": "cus_1"}, ("a; hit; detail=redis", "a; fwd=uri-miss"))

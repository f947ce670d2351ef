from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.workers import WorkerDiedError, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HANDLER = """
import json, os, threading, time
print("importing")
ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.01)
        ticks += 1
calls = 0
def handle(event, context):
    global calls
    calls += 1
    match event.get("do"):
        case "sleep":
            print("sleeping")
            time.sleep(event["seconds"])
        case "exit":
            os._exit(3)
        case "raise":
            raise LookupError(event["text"])
        case "thread":
            threading.Thread(target=tick, daemon=True).start()
        case "ticks":
            return ticks
        case "unserializable":
            return {1, 2}
    print(json.dumps({"_aws": {"CloudWatchMetrics": []}, "Hit": 1}))
    remaining = context.get_remaining_time_in_millis()
    return {"pid": os.getpid(), "calls": calls, "remaining": remaining, "who": context.function_name,
            "request": context.aws_request_id, "setting": os.environ.get("SETTING"), "user": os.environ.get("SECRET")}
"""


@pytest.fixture(autouse=True)
def handler_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sample_handler.py").write_text(HANDLER)
    (tmp_path / "broken_handler.py").write_text("raise RuntimeError('no table')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SECRET", "of the machine's user")


@pytest.fixture
def pool(handler_module: None) -> Iterator[WorkerPool]:  # noqa: ARG001 -- the module must exist first
    with WorkerPool(2, "sample_handler:handle", {"SETTING": "on"}) as made:
        yield made


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_for_output(pool: WorkerPool, text: str) -> None:
    deadline = time.monotonic() + 10
    while text not in pool.output():
        assert time.monotonic() < deadline, pool.output()
        time.sleep(0.01)


def test_a_handler_gets_event_context_and_only_the_environment_it_was_given(pool: WorkerPool) -> None:
    result = pool.invoke({}, timeout=5)
    assert result.error is None
    assert result.payload["setting"] == "on"
    assert result.payload["user"] is None
    assert result.payload["who"] == "local"
    assert 4000 < result.payload["remaining"] <= 5000
    assert len(result.payload["request"]) == 36
    assert 0 < result.duration_ms < 1000


def test_one_sandbox_serves_call_after_call_and_starts_cold_once(pool: WorkerPool) -> None:
    results = [pool.invoke({}) for _ in range(3)]
    assert [result.payload["calls"] for result in results] == [1, 2, 3]
    assert [result.cold for result in results] == [True, False, False]
    assert pool.cold_starts == 1
    assert len(pool.init_ms) == 1


def test_a_sandbox_is_frozen_between_invocations_so_its_threads_stand_still(pool: WorkerPool) -> None:
    pool.invoke({"do": "thread"})
    before = pool.invoke({"do": "ticks"}).payload
    # The kernel delivers SIGSTOP a moment after the call.
    deadline = time.monotonic() + 5
    while state(pool.workers[0].pid) != "T":
        assert time.monotonic() < deadline
    time.sleep(0.3)
    after = pool.invoke({"do": "ticks"}).payload
    assert after - before < 10


def test_concurrent_calls_run_in_different_sandboxes_and_wait_beyond_the_limit(pool: WorkerPool) -> None:
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: pool.invoke({"do": "sleep", "seconds": 0.2}), range(4)))
    assert len({result.payload["pid"] for result in results}) == 2
    assert pool.cold_starts == 2


def test_an_exception_of_the_handler_is_reported_and_keeps_the_sandbox(pool: WorkerPool) -> None:
    assert pool.invoke({"do": "raise", "text": "cus_1"}).error == "LookupError: cus_1"
    assert pool.invoke({}).payload["calls"] == 2
    assert "LookupError: cus_1" in pool.output()


def test_a_result_that_is_not_json_is_reported(pool: WorkerPool) -> None:
    error = pool.invoke({"do": "unserializable"}).error
    assert error is not None
    assert error.startswith("TypeError")


def test_a_call_over_its_time_ends_the_sandbox_and_the_next_one_starts_cold(
    pool: WorkerPool, process_gone: Callable[[int], bool]
) -> None:
    pid = pool.invoke({}).payload["pid"]
    assert pool.invoke({"do": "sleep", "seconds": 20}, timeout=0.2).error == "Task timed out after 0.20 seconds"
    assert process_gone(pid)
    result = pool.invoke({})
    assert result.cold
    assert result.payload["calls"] == 1


def test_a_process_that_exits_is_reported_and_replaced(pool: WorkerPool) -> None:
    assert pool.invoke({"do": "exit"}).error == "Runtime exited before it answered"
    assert pool.invoke({}).error is None
    assert pool.cold_starts == 2


def test_a_sandbox_can_be_killed_in_the_middle_of_an_invocation(pool: WorkerPool) -> None:
    results = []
    caller = threading.Thread(target=lambda: results.append(pool.invoke({"do": "sleep", "seconds": 20})))
    caller.start()
    wait_for_output(pool, "sleeping")
    pool.recycle()
    caller.join(5)
    assert not caller.is_alive()
    assert results[0].error == "Runtime exited before it answered"
    assert pool.invoke({}).cold


def test_a_killed_idle_sandbox_is_replaced_without_a_failed_call(pool: WorkerPool) -> None:
    pool.invoke({})
    pool.recycle()
    result = pool.invoke({})
    assert result.error is None
    assert result.cold


def test_printed_lines_are_kept_and_metric_documents_are_found(pool: WorkerPool) -> None:
    pool.invoke({})
    pool.invoke({})
    assert "importing" in pool.output()
    assert [document["Hit"] for document in pool.emf()] == [1, 1]


def test_a_handler_that_cannot_be_imported_is_reported() -> None:
    with WorkerPool(1, "broken_handler:handle") as broken, pytest.raises(WorkerDiedError, match="no table"):
        broken.invoke({})


def test_closing_the_pool_leaves_no_process(process_gone: Callable[[int], bool]) -> None:
    with WorkerPool(2, "sample_handler:handle") as pool:
        pool.warm()
        pids = [worker.pid for worker in pool.workers]
    assert len(pids) == 2
    assert all(process_gone(pid) for pid in pids)
    with pytest.raises(WorkerDiedError, match="closed"):
        pool.invoke({})


def test_no_frozen_sandbox_outlives_a_killed_interpreter(process_gone: Callable[[int], bool]) -> None:
    script = textwrap.dedent(
        """
        import time
        from local.workers import WorkerPool
        pool = WorkerPool(2, "sample_handler:handle")
        pool.warm()
        print(*[worker.pid for worker in pool.workers], flush=True)
        time.sleep(60)
        """
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert owner.stdout is not None
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    owner.kill()
    owner.wait(10)
    owner.stdout.close()
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while not all(process_gone(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)

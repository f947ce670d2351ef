"""A lock that cannot be had keeps nobody waiting but the one who finds that out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stripe_cache.core.breaker import FIRST_PAUSE
from stripe_cache.core.errors import SettingError, TierError
from stripe_cache.core.refresh import LOCK_SECONDS, Refresher

if TYPE_CHECKING:
    from fakes import FakeClock, RecordingMeter


class Taken:
    """A lock of somebody else's, in a store that can be away."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    def acquire(self, *_: Any) -> bool:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return False


class Queue:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any], delay: int = 0) -> None:
        del delay
        self.sent.append(message)


@pytest.mark.parametrize("error", [TierError("redis: TimeoutError"), SettingError("DynamoDB refuses this process")])
def test_of_many_stale_entries_one_finds_the_store_of_the_lock_away(
    clock: FakeClock, meter: RecordingMeter, error: Exception
) -> None:
    lock, queue = Taken(), Queue()
    refresher = Refresher(queue, lock, clock, meter)
    messages = [{"namespace": "acct_1.test", "variant": f"v{number}"} for number in range(10)]
    lock.error = error
    for message in messages:
        assert refresher.send(message)
    assert lock.asked == 1
    assert queue.sent == messages, "too many refreshes are better than none"
    lock.error = None
    clock.advance(max(LOCK_SECONDS, FIRST_PAUSE))
    for message in messages:
        assert refresher.send(message)
    assert lock.asked == 1 + len(messages)
    assert queue.sent == messages, "somebody else asks by now"

"""What the fake has seen: calls per endpoint and status, refusals, and how many were in flight at once."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Counters:
    """Plain counts since the last reset."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, int]] = Counter()
        self.rate_limited: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.in_flight = 0
        self.max_in_flight = 0

    def reset(self) -> None:
        """Forget everything but what is in flight now."""
        self.calls.clear()
        self.rate_limited.clear()
        self.faults.clear()
        self.max_in_flight = self.in_flight

    def enter(self) -> None:
        """Count a request that has begun."""
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def leave(self, endpoint: str, status: int) -> None:
        """Count a request that has ended; status 0 means that no answer was sent."""
        self.in_flight -= 1
        self.calls[endpoint, status] += 1

    def as_json(self) -> dict[str, Any]:
        """Return the counts: per endpoint a map of status to number."""
        endpoints: dict[str, dict[str, int]] = {}
        for (endpoint, status), count in sorted(self.calls.items()):
            endpoints.setdefault(endpoint, {})[str(status)] = count
        return {
            "endpoints": endpoints,
            "total": sum(self.calls.values()),
            "reads": sum(count for (endpoint, _), count in self.calls.items() if endpoint.startswith("GET")),
            "rate_limited": dict(self.rate_limited),
            "faults": dict(self.faults),
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
        }

"""What a read of Stripe costs, by object type: a moving average in this process, for deciding when to refresh early."""

from __future__ import annotations

_WEIGHT = 0.2
_MOST_TYPES = 512


class Latencies:
    """Seconds per object type. Thread-safe enough: a lost update of an average is no loss."""

    def __init__(self) -> None:
        self._average: dict[str, float] = {}

    def note(self, object_type: str, seconds: float) -> None:
        """Take one more call into the average."""
        before = self._average.get(object_type)
        if before is None:
            if len(self._average) < _MOST_TYPES:
                self._average[object_type] = seconds
        else:
            self._average[object_type] = before + _WEIGHT * (seconds - before)

    def of(self, object_type: str) -> float:
        """Return the average; 0 if no call was seen yet."""
        return self._average.get(object_type, 0.0)

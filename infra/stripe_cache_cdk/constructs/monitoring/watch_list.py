"""Whose alarms are made: the parts of a cache, whoever comes first, the part or the monitoring.

Every cache has such a list, monitored or not. Which alarms a part gets is in `alarms`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from constructs import Construct


class WatchList:
    """The functions that were attached to a cache, and the endpoints and sweeps that were made for it.

    A listener hears of each, of those already there at once and of the others when they come: a function may be
    attached long after the monitoring was made.
    """

    def __init__(self) -> None:
        self._parts: list[Construct] = []
        self._listeners: list[Callable[[Construct], object]] = []

    def add(self, part: Construct) -> None:
        """Add a part and tell every listener."""
        self._parts.append(part)
        for listener in self._listeners:
            listener(part)

    def tell(self, listener: Callable[[Construct], object]) -> None:
        """Tell the listener of every part, earlier and later ones."""
        for part in self._parts:
            listener(part)
        self._listeners.append(listener)

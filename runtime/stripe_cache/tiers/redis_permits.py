"""A bound on connections that a signal cannot lower: who loses a permit gives it back all the same.

A signal's handler may raise between any two steps of Python, also after a permit was taken and before anybody could
have noted it. So a permit is an object: given back by hand where that is known, and by its end where nobody is left to
do it. A bound of 32 that only counts would be used up by 32 such signals, and everybody would wait for ever.
"""

from __future__ import annotations

import weakref
from queue import SimpleQueue


class Permit:
    """The right to use one connection."""

    __slots__ = ("_home",)

    def __init__(self, home: weakref.ref[SimpleQueue[Permit]]) -> None:
        # Weakly: permits that kept each other's queue alive would make each other anew at every garbage collection.
        self._home = home

    def give_back(self) -> None:
        """Let somebody else have it; once."""
        home = self._home()
        if home is not None:
            home.put(self)

    def __del__(self) -> None:
        """Send another in its place: an object's end comes once."""
        home = self._home()
        if home is not None:
            home.put(Permit(self._home))


def permits(count: int) -> SimpleQueue[Permit]:
    """Return so many; `get` takes one. Safe between threads and signals; not after a fork."""
    # A SimpleQueue, because it alone may be put to from where an object ends, whatever its thread is doing.
    made: SimpleQueue[Permit] = SimpleQueue()
    home = weakref.ref(made)
    for _ in range(count):
        made.put(Permit(home))
    return made

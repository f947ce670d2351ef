"""Scenes for the state machine: a few of its steps in a row, which a short program would seldom take by chance."""

from __future__ import annotations

from consistency.faulty import DEAF, DOWN, WORKS
from consistency.state_machine import PATHS, PROCESSES, CacheMachine
from hypothesis import strategies as st
from hypothesis.stateful import rule


class Scenes(CacheMachine):
    """The machine, with scenes among its steps."""

    @rule(
        path=st.sampled_from(sorted(PATHS)),
        order=st.permutations(range(PROCESSES)),
        seconds=st.sampled_from([0.4, 1.0, 40.0]),
        frozen=st.none() | st.integers(0, PROCESSES - 1),
    )
    def change_between_reads(self, path: str, order: list[int], seconds: float, frozen: int | None) -> None:
        """Do what mostly happens, so that a short program has it: all read, one changes it, time passes, all read."""
        self.read(path, order)
        self.event(order[0], PATHS[path])
        self.time_passes(seconds, frozen)
        self.read(path, order)

    @rule(path=st.sampled_from(sorted(PATHS)), order=st.permutations(range(PROCESSES)), writes=st.booleans())
    def change_during_a_read(self, path: str, order: list[int], *, writes: bool) -> None:
        """Let a call to Stripe be overtaken by an event, or by a write whose answer is lost."""
        flight = self._begin(order[0], path)
        if writes:
            lost = self.begin_write(order[1], PATHS[path])
            self.finish_read(self._begin(order[2], path))
            self.write_takes_effect(lost)
            self.writer_dies(lost)
        else:
            self.event(order[1], PATHS[path])
        self.finish_read(flight)
        self.read(path, order)

    @rule(
        path=st.sampled_from(sorted(PATHS)),
        order=st.permutations(range(PROCESSES)),
        tier=st.integers(0, 1),
        mode=st.sampled_from([DOWN, DEAF]),
    )
    def write_that_a_tier_misses(self, path: str, order: list[int], tier: int, mode: str) -> None:
        """Cut a writer off from a tier for as long as it writes: its own reads must not see the old value there."""
        self.read(path, order)
        self.fault("network", order[0], tier, mode, "")
        self.end_write(self.begin_write(order[0], PATHS[path]))
        self.fault("network", order[0], tier, WORKS, "")
        self.read(path, order)

"""Claims in the DynamoDB tier: one attribute per variant, beside the generation, in the record's own item.

A claim is "<until>+<token>", a notice "<until>!<token>". The clocks are the callers' own: where they differ by more
than the claim lasts, the origin is asked once more or waited for a little longer, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stripe_cache.core.ports import LONGEST_CLAIM, Claim

if TYPE_CHECKING:
    from stripe_cache.core.clock import Clock
    from stripe_cache.tiers.dynamodb_table import Table

_SKEW = 60.0
"""Seconds by which a claim may seem too long because its holder's clock is ahead."""


class TableClaims:
    """Claims of variants of the records in a table. Thread-safe."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def claim(self, pk: str, variant: str, generation: str, token: str, seconds: float) -> Claim:
        """Claim with one conditional write, and one read if it fails; for 0 seconds just ask, with one read."""
        if not seconds:
            return self._standing(pk, variant, generation, token)
        claimed = self._table.update(
            pk,
            "SET c.#v = :c",
            {
                ":c": {"S": f"{self._milliseconds(seconds)}+{token}"},
                ":now": {"S": self._milliseconds()},
                ":late": {"S": self._milliseconds(LONGEST_CLAIM + _SKEW)},
                ":own": {"S": f"+{token}"},
                ":g": {"S": generation},
            },
            names={"#v": variant},
            condition=(
                "g = :g AND (attribute_not_exists(c.#v) OR c.#v < :now OR c.#v > :late OR contains(c.#v, :own))"
            ),
        )
        if claimed is not None:
            return Claim.MINE
        # If it is free by now, its holder has just stored its answer, as likely as not: look again.
        found = self._standing(pk, variant, generation, token)
        return Claim.TAKEN if found is Claim.MINE else found

    def release(self, pk: str, variant: str, generation: str, token: str, seconds: float) -> None:
        """Turn the claim into a notice with one conditional write; for 0 seconds take it away."""
        values = {":t": {"S": f"+{token}"}, ":g": {"S": generation}}
        if seconds:
            values[":c"] = {"S": f"{self._milliseconds(seconds)}!{token}"}
        self._table.update(
            pk,
            "SET c.#v = :c" if seconds else "REMOVE c.#v",
            values,
            names={"#v": variant},
            condition="g = :g AND contains(c.#v, :t)",
        )

    def _standing(self, pk: str, variant: str, generation: str, token: str) -> Claim:
        item = self._table.get(pk, "g, c.#v", {"#v": variant}) or {}
        if item.get("g", {}).get("S") != generation:
            return Claim.GONE
        held = item.get("c", {}).get("M", {}).get(variant, {}).get("S", "")
        # Compared as the condition above does: text with text.
        stands = self._milliseconds() <= held <= self._milliseconds(LONGEST_CLAIM + _SKEW)
        if not stands or f"+{token}" in held:
            return Claim.MINE
        return Claim.TAKEN if "+" in held else Claim.ALONE

    def _milliseconds(self, ahead: float = 0) -> str:
        # Thirteen digits until the year 2286, so that text compares as numbers do.
        return str(int((self._clock.now() + ahead) * 1000))

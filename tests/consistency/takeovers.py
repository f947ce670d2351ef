"""A lagging replica that takes over: what is lost then, said as exactly as `docs/consistency.md` says it.

`Excuses` names the parts of what is not promised. The search is asked with all of them (no violation may be left) and
with fewer (there must be one): so the document claims neither too much nor too little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consistency.explorer import Nature

if TYPE_CHECKING:
    from consistency.actors import World

GAP: Final = "invalidated in the gap"
UNDER_WAY: Final = "embedded in an answer that was under way"
ROUND: Final = "the counter came round, and memory trusts its copy"
ALL = frozenset({GAP, UNDER_WAY, ROUND})


def falls_behind(tier: str) -> Nature:
    """From here on, the replica gets nothing any more."""

    def effect(world: World) -> bool:
        if ("replica", tier) in world:
            return False
        world["replica", tier] = tuple((place, held) for place, held in world.items() if _belongs(place, tier))
        world["known"] = world["deaths"]
        return True

    return Nature(f"the replica of {tier} falls behind", effect)


def takes_over(tier: str, excuses: frozenset[str]) -> Nature:
    """Put back what the replica had."""

    def effect(world: World) -> bool:
        if ("replica", tier) not in world or "taken over" in world:
            return False
        for place in [place for place in world if _belongs(place, tier)]:
            del world[place]
        world.update(world["replica", tier])
        world["replica", tier] = ()
        world["taken over"] = excuses
        world["fetched before"] = world["calls"]
        if GAP in excuses:
            world["excused"] |= world["deaths"] - world["known"]
            for place in [place for place in world if place[0] == "doomed"]:
                world["straddles", place[1]] = True
        return True

    return Nature(f"the replica of {tier} takes over", effect)


def remedy(tier: str) -> Nature:
    """Flush after the takeover: from here on, everything is promised again."""

    def effect(world: World) -> bool:
        if not world.get("taken over"):
            return False
        for place in [place for place in world if _belongs(place, tier)]:
            del world[place]
        for place in [place for place in world if place[0] == "straddles"]:
            del world[place]
        world["taken over"], world["excused"] = frozenset(), frozenset()
        return True

    return Nature(f"{tier} is flushed after the takeover", effect)


def confirmed(world: World, process: str, died: set[Any]) -> None:
    """Excuse what an invalidation that came before, during or after the takeover could not prevent."""
    if world.pop(("straddles", process), False):
        world["excused"] |= died
    if UNDER_WAY in world.get("taken over", ()):
        # Its own record's generation is one that the replica does not have, or one that the invalidation replaces.
        before = {call.name for call in world["fetched before"] if len(call.records) > 1}
        world["excused"] |= {death for death in died if death.call in before}


def _belongs(place: Any, tier: str) -> bool:
    return place[0] == tier and place[1] != "epochs"

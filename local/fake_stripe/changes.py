"""What one write did, as the list of changes that events are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.fake_stripe.store import Body, Space


@dataclass(frozen=True)
class Change:
    """One object before and after, and the verb that Stripe puts behind the type (`created`, `paid`, ...)."""

    verb: str
    before: Body | None
    after: Body


@dataclass
class Write:
    """Collects the changes of one request while they are stored."""

    space: Space
    changes: list[Change] = field(default_factory=list)

    def create(self, body: Body, *verbs: str) -> Body:
        """Store a new object."""
        self.space.put(body)
        self.changes += [Change(verb, None, body) for verb in ("created", *verbs)]
        return body

    def update(self, before: Body, fields: Body, *verbs: str) -> Body:
        """Store a new version if anything differs; the verbs come before `updated`, as Stripe sends them."""
        after = {**before, **fields}
        if after == before and not verbs:
            return before
        self.space.put(after)
        self.changes += [Change(verb, before, after) for verb in (*verbs, "updated")]
        return after

    def delete(self, before: Body) -> Body:
        """Leave a tombstone in the object's place and return it."""
        tombstone: Body = {"id": before["id"], "object": before["object"], "deleted": True}
        self.space.remove(before["id"], tombstone)
        self.changes.append(Change("deleted", None, before))
        return tombstone

"""Erasing everything about a customer from the stores, not only making it unservable.

An invalidation voids what it names, and what embeds that. An unexpanded `"customer": "cus_1"` makes no answer stale,
and nothing needs to void it; but it is about the customer, so the stores are searched. A record with such an answer is
voided as by any invalidation, which drops its bytes in every tier, in the order that keeps copies from climbing back.
A record that bears the customer's id in its name is then forgotten altogether, which is what an eviction does, and the
protocol survives evictions.

The work goes page by page; a report says where to go on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from stripe_cache.core import catalog, records
from stripe_cache.core.errors import InvalidationError, RequestError, TierError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.entry import Stored
    from stripe_cache.core.invalidator import Invalidator

_FILTER = "customer"
_SHORTEST = 4
"""A shorter search term would be found in nearly everything."""

OUT_OF_REACH = (
    "memory of other processes: what it holds of this is unservable from now on, and leaves with eviction or its end",
    "answers about the customer that bear neither the id nor a search term",
    "messages in queues and their dead-letter queues: they name records until they are consumed or expire",
    "snapshots and backups of the stores, and their logs",
)


class Page(NamedTuple):
    """One bounded part of a search. `cursor` is empty at the end."""

    examined: int
    matching: tuple[str, ...]
    """Records with a value, or a name, that matches."""
    unreadable: tuple[str, ...]
    """Records with a value that does not decode, or for which there is no key: it may be about anybody."""
    cursor: str
    notes: tuple[str, ...] = ()
    """Other things about a match, which are no records: nothing voids them, and `forget` deletes them by this name."""


class Searchable(Protocol):
    """A tier that can be searched, with more rights than reading and writing entries takes."""

    name: str

    def search(self, namespace: str, terms: Terms, cursor: str) -> Page:
        """Look at one page of the namespace's records; raises TierError."""
        ...

    def forget(self, namespace: str, names: Sequence[str]) -> tuple[str, ...]:
        """Delete records whole, and return those that stay because a write on them is in flight; raises TierError."""
        ...


class Terms:
    """What to look for: in upper or lower case, and however JSON spells it."""

    def __init__(self, texts: Sequence[str]) -> None:
        quoted = [json.dumps(text, ensure_ascii=ascii_only)[1:-1] for text in texts for ascii_only in (True, False)]
        # Of bytes, so that only ASCII letters lose their case here and in what is searched.
        self._needles = tuple(sorted({text.encode("utf-8", "replace").lower() for text in (*texts, *quoted)}))

    def name(self, record: str) -> bool:
        """Tell whether a record's name holds one of them."""
        return self._in(record.encode("utf-8", "surrogateescape"))

    def match(self, stored: Stored) -> bool:
        """Tell whether anything of a value holds one of them."""
        entry = stored.entry
        return self._in(entry.body) or any(map(self.name, (*entry.embeds, *(value for _, value in entry.headers))))

    def _in(self, text: bytes) -> bool:
        lower = text.lower()
        return any(needle in lower for needle in self._needles)


@dataclass(slots=True)
class TierReport:
    """What one tier had. With a dry run, nothing of it was touched."""

    tier: str
    examined: int = 0
    voided: int = 0
    forgotten: int = 0
    unreadable: int = 0
    """Of those voided, the records voided unread."""
    busy: int = 0
    """Records that keep the id in their name, and nothing else, until a write in flight is over."""
    error: str = ""


@dataclass(slots=True)
class PurgeReport:
    """What was found and removed. `cursor` continues a purge that was stopped; it is empty at the end."""

    customer: str
    dry_run: bool
    tiers: dict[str, TierReport] = field(default_factory=dict)
    cursor: str = ""
    undetermined: tuple[str, ...] = OUT_OF_REACH

    @property
    def is_complete(self) -> bool:
        """Whether every tier was searched to its end and nothing is left; else purge again, with the cursor if any."""
        return not self.cursor and not any(tier.error or tier.busy for tier in self.tiers.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON would have it."""
        tiers = [{one.name: getattr(tier, one.name) for one in fields(tier)} for tier in self.tiers.values()]
        return {
            "customer": self.customer,
            "dry_run": self.dry_run,
            "complete": self.is_complete,
            "tiers": tiers,
            "cursor": self.cursor,
            "undetermined": list(self.undetermined),
        }


class Purge:
    """Searches tiers, farthest first, and removes what it finds. Not thread-safe."""

    def __init__(self, invalidator: Invalidator, tiers: Sequence[Searchable]) -> None:
        self._invalidator = invalidator
        self._tiers = tuple(tiers)

    def run(
        self,
        customer: str,
        namespaces: Sequence[str],
        *,
        terms: Sequence[str] = (),
        dry_run: bool = False,
        cursor: str = "",
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> PurgeReport:
        """Purge until the end, or until `may_go_on` says no after a page.

        A tier that cannot be searched is noted in the report and passed over. Raises RequestError for what is no
        customer's id, and InvalidationError if a shared tier could not be told what is void: run it again.
        """
        terms = (_validated(customer), *(term for term in terms if term))
        short = next((term for term in terms if len(term) < _SHORTEST), None)
        if short is not None:
            raise RequestError(f"the search term {short!r} is too short: give {_SHORTEST} characters or more")
        report = PurgeReport(customer, dry_run, {tier.name: TierReport(tier.name) for tier in self._tiers})
        steps = [(namespace, tier) for namespace in namespaces for tier in self._tiers]
        first, inner = _parsed(cursor, len(steps))
        if not cursor and not dry_run:
            self._void_known(customer, namespaces)
        sought = Terms(terms)
        for index in range(first, len(steps)):
            namespace, tier = steps[index]
            while True:
                inner = self._page(report.tiers[tier.name], tier, namespace, sought, inner, dry_run=dry_run)
                following = f"{index}:{inner}" if inner else f"{index + 1}:"
                if not inner:
                    break
                if not may_go_on():
                    report.cursor = following
                    return report
            if index + 1 < len(steps) and not may_go_on():
                report.cursor = following
                return report
        return report

    def _void_known(self, customer: str, namespaces: Sequence[str]) -> None:
        """Void what is known to be the customer's before anything is searched: nothing of it is served from now on."""
        known = {customer, *records.collection_records("customer", {"id": customer, "object": "customer"})}
        known |= records.records_below("customer", customer, everything=True)
        known |= {f"{one.path}?{_FILTER}={customer}" for one in catalog.operations() if _FILTER in one.partitions}
        for namespace in namespaces:
            self._invalidator.invalidate(namespace, sorted(known))

    def _page(
        self, report: TierReport, tier: Searchable, namespace: str, terms: Terms, cursor: str, *, dry_run: bool
    ) -> str:
        """Search one page and remove what it shows; return the cursor of the next one."""
        try:
            page = tier.search(namespace, terms, cursor)
            report.examined += page.examined
            report.voided += len({*page.matching, *page.unreadable})
            report.unreadable += len(page.unreadable)
            named = [name for name in page.matching if terms.name(name)]
            doomed = [*named, *page.notes]
            if not dry_run and (page.matching or page.unreadable or doomed):
                self._invalidator.invalidate(namespace, sorted({*page.matching, *page.unreadable}))
                busy = tier.forget(namespace, doomed) if doomed else ()
                report.busy += len(busy)
                report.forgotten += len(doomed) - len(busy)
        except InvalidationError:
            raise
        except TierError as error:
            report.error = str(error)
            return ""
        return page.cursor


def _validated(customer: str) -> str:
    if not records.is_record(customer) or customer.startswith("/") or "/" in customer:
        raise RequestError(f"{str(customer)[:60]!r} is no customer's id: it looks like cus_123")
    return customer


def _parsed(cursor: str, steps: int) -> tuple[int, str]:
    if not cursor:
        return 0, ""
    index, colon, inner = cursor.partition(":")
    if not colon or not index.isascii() or not index.isdigit() or int(index[:9]) >= steps:
        raise RequestError(f"{cursor[:60]!r} is no cursor of this cache: leave it out, or pass the one of a report")
    return int(index), inner

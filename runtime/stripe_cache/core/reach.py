"""Where else a change is to be told: the same object may be kept in two accounts' namespaces.

A platform sees the objects of its connected accounts in two ways: as itself (`/v1/accounts/acct_1`, a transfer with
its `destination_payment` expanded), and as the account, with `Stripe-Account`. The answers are kept in the namespace of
whoever asked, so a change of the object is void in both, whichever of the two it was told by. Nothing is ever read
across namespaces.

Told elsewhere is what is named for certain: objects, lists below an object or filtered by one, and everything below
/v1/account, because whose account it is does not matter there. Lists of other things are each account's own: were they
told too, every event of every connected account would void the platform's.

From the platform on, a change goes to the accounts that it names as what has changed, and from a connected account on
to the platform alone: never from one connected account to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stripe_cache.core import catalog
from stripe_cache.core.key import is_label

if TYPE_CHECKING:
    from collections.abc import Iterable

_PREFIX = "acct_"
_CURRENT = "/v1/account"
_TREES = ("/v1/accounts", "/v2/core/accounts")


def spread(
    own: str, account: str | None, records: Iterable[str], *, unsure: bool = False
) -> dict[str, tuple[str, ...]]:
    """Name the accounts in whose namespaces a change is void, and what is void in each; whose it is comes first.

    `own` is the operator's label and `account` whose change it is, None for the operator's. With `unsure` the account
    may be the operator's own under its id: unless the label is an id too, and tells them apart, both are taken for
    meant.
    """
    home, named = account or own, set(records)
    if _CURRENT in named and home != own and home.startswith(_PREFIX):
        # The platform reads the same object by its id.
        named.add(home)
    unsure = unsure and not own.startswith(_PREFIX)
    elsewhere = {record for record in named if _is_certain(record)}
    found = {home: named}
    if home != own:
        found[own] = named if unsure else elsewhere
    if home == own or unsure:
        for other in _accounts(named) - found.keys():
            found[other] = elsewhere
    return {label: tuple(sorted(chosen)) for label, chosen in found.items() if chosen or label == home}


def _accounts(records: Iterable[str]) -> set[str]:
    """Name the accounts among the records, and those whose persons, capabilities or the like they are."""
    parts = {part for record in records for part in record.partition("?")[0].split("/")}
    return {part for part in parts if part.startswith(_PREFIX) and is_label(part)}


def _is_certain(record: str) -> bool:
    """Tell whether a record is no list of one account's own."""
    if not record.startswith("/"):
        return True
    path, _, filtered = record.partition("?")
    if path == _CURRENT or any(path == tree or path.startswith(f"{tree}/") for tree in _TREES):
        return True
    if filtered:
        return filtered != "*"
    operation = catalog.match("get", path)
    return operation is not None and bool(operation.parameters)

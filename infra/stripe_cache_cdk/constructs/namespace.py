"""The label of the Stripe account, which every key of the store begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk

from stripe_cache_cdk.choices import check_namespace

if TYPE_CHECKING:
    from constructs import Construct

DEFAULT = "main"


def namespace_of(cache: Construct, given: str | None) -> str:
    """Return the namespace of a cache; raises StageError for one that cannot be.

    Who gave none is told: it works, and naming the account later empties the cache.
    """
    if given is None:
        cdk.Annotations.of(cache).add_info_v2(
            "stripe-cache:namespace",
            f"its entries are labelled {DEFAULT!r}: pass namespace='acct_...', the id of your Stripe account, or "
            f"namespace={DEFAULT!r} to keep it. Changing it later empties the cache",
        )
        return DEFAULT
    check_namespace(given)
    return given

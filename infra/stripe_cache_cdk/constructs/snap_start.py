"""What SnapStart asks of a function, checked at synthesis: Lambda says it at deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from constructs import Construct

OLDEST_MINOR = 12
LARGEST_STORAGE_MIB = 512


def check_snap_start(scope: Construct, construct_id: str, python: str, placement: Mapping[str, Any]) -> None:
    """Raise ConstructError for what Lambda takes no snapshots of. Either processor will do."""
    if int(python.partition(".")[2]) < OLDEST_MINOR:
        raise ConstructError(
            scope,
            f"{construct_id}: SnapStart needs Python 3.{OLDEST_MINOR} or newer, and python={python!r}",
            "raise python or turn snap_start off",
        )
    if placement.get("filesystem") is not None:
        raise ConstructError(scope, f"{construct_id}: SnapStart and filesystem exclude each other", "drop one of them")
    storage = placement.get("ephemeral_storage_size")
    if storage is not None and storage.to_mebibytes() > LARGEST_STORAGE_MIB:
        raise ConstructError(
            scope,
            f"{construct_id}: SnapStart takes {LARGEST_STORAGE_MIB} MiB of ephemeral storage, not "
            f"{storage.to_mebibytes():g}",
            "lower ephemeral_storage_size or turn snap_start off",
        )

"""What SnapStart asks of a function, checked at synthesis: Lambda says it at deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stripe_cache_cdk.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Mapping

OLDEST_MINOR = 12
LARGEST_STORAGE_MIB = 512


def check_snap_start(python: str, placement: Mapping[str, Any]) -> None:
    """Raise StageError for what Lambda takes no snapshots of. Either processor will do."""
    if int(python.partition(".")[2]) < OLDEST_MINOR:
        raise StageError(
            f"SnapStart needs Python 3.{OLDEST_MINOR} or newer, and python={python!r}: raise python or turn snap_start "
            "off"
        )
    if placement.get("filesystem") is not None:
        raise StageError("SnapStart and filesystem exclude each other: drop one of them")
    storage = placement.get("ephemeral_storage_size")
    if storage is not None and storage.to_mebibytes() > LARGEST_STORAGE_MIB:
        raise StageError(
            f"SnapStart takes {LARGEST_STORAGE_MIB} MiB of ephemeral storage, not {storage.to_mebibytes():g}: lower "
            "ephemeral_storage_size or turn snap_start off"
        )

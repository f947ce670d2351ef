"""What stands between an entry's bytes and a store that others can read: nothing, or authenticated encryption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stripe_cache.core.key import Key


class Sealer(Protocol):
    """Wraps the bytes a shared tier keeps. Thread-safe.

    Raises KeyUnavailableError when it has no key to work with: the value then stays unstored or unread, never plain.
    """

    def seal(self, plain: bytes, key: Key) -> bytes:
        """Return the bytes to store in this slot, and in no other."""
        ...

    def open(self, sealed: bytes, key: Key) -> bytes:
        """Return what was sealed; raises CorruptEntryError for bytes that were not sealed for this slot."""
        ...

    def waited(self) -> float:
        """Return the seconds this thread has ever waited for keys: a tier must not be called slow for them."""
        ...


class Unsealed:
    """No encryption by this package: the store's own, at rest and in transit, must do.

    Bytes that were sealed do not pass for an entry: the codec knows its own by their first two.
    """

    def seal(self, plain: bytes, key: Key) -> bytes:
        """Return the bytes as they are."""
        del key
        return plain

    def open(self, sealed: bytes, key: Key) -> bytes:
        """Return the bytes as they are."""
        del key
        return sealed

    def waited(self) -> float:
        """Return nothing: there are no keys."""
        return 0.0


UNSEALED = Unsealed()

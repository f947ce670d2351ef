"""Where an answer is stored: namespace, record and variant.

A record groups everything an invalidation of one object or collection voids. A variant tells apart the answers inside
a record that must never be mixed up: credential, account, context, API version, host, path and query.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TypeGuard

from stripe_cache.core.errors import SettingError

_LABEL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_LABEL_LENGTH = 64
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Key:
    """One slot of the cache. `binding` ties a stored value to this very slot, so that a misplaced one is noticed.

    `gate` names a record that every value of the namespace embeds, so that it is read together with the slot.
    """

    namespace: str
    record: str
    variant: str
    binding: bytes = field(repr=False, default=b"")
    gate: str = field(repr=False, default="", compare=False)

    @classmethod
    def of(cls, namespace: str, record: str, variant: str, gate: str = "") -> Key:
        """Build a key with its binding."""
        return cls(namespace, record, variant, digest(namespace, record, variant), gate)


def digest(*parts: str) -> bytes:
    """Hash the parts, each with its length, so that no two tuples of parts collide by concatenation."""
    hashed = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        hashed.update(len(raw).to_bytes(4, "big"))
        hashed.update(raw)
    return hashed.digest()


def variant_of(*parts: str) -> str:
    """Return the short printable name of a variant: 128 bits, 22 characters."""
    return urlsafe_b64encode(digest(*parts)).rstrip(b"=").decode()


def namespace_of(account: str, *, livemode: bool) -> str:
    """Name the namespace of an account in one mode; `account` is the operator's label or a connected account's id."""
    return f"{account}.{'live' if livemode else 'test'}"


def is_label(text: object) -> TypeGuard[str]:
    """Tell whether an account label can stand in a key: 1 to 64 letters, digits, underscores or hyphens."""
    return isinstance(text, str) and 0 < len(text) <= _LABEL_LENGTH and _LABEL_CHARACTERS.issuperset(text)


def validate_label(text: str, name: str) -> str:
    """Return the label unchanged, or raise SettingError naming the setting it came from."""
    if not is_label(text):
        raise SettingError(
            f"{name} is {text[:80]!r}: use 1 to {_LABEL_LENGTH} letters, digits, '_' or '-'; "
            "best is the account's own acct_... id"
        )
    return text


def fingerprint(credential: str, secret: str) -> str:
    """Return the keyed fingerprint of a credential: the only form in which one ever enters a key.

    Keyed, so that whoever reads the store cannot test a guessed credential against it without the operator's secret.
    """
    mac = hmac.digest(secret.encode(), credential.encode("utf-8", "surrogatepass"), "sha256")
    return urlsafe_b64encode(mac[:_DIGEST_BYTES]).rstrip(b"=").decode()


def livemode_of(credential: str) -> bool | None:
    """Tell a credential's mode from its prefix (sk_live_, rk_test_, sk_org_live_ ...); None when it does not say."""
    parts = credential.split("_", 3)
    for part in parts[1:-1]:
        if part in {"live", "test"}:
            return part == "live"
    return None

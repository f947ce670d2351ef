"""Sealed values: AES-256-GCM under a data key that travels, wrapped by KMS, in front of every value.

offset  size  what
0       2     "SX"
2       1     format version
3       1     zero
4       4     when the data key was born, epoch seconds
8       2     length n of the wrapped data key
10      12    nonce, random
22      n     the wrapped data key: what KMS gave out with it
22+n    -     ciphertext, with the 16-byte tag at its end

Associated data are everything before the ciphertext but the nonce, and the slot: namespace, record and variant. A value
that is moved to another slot does not open.

The wrapped key is kept neither in DynamoDB nor in Redis but in each value, for about 200 bytes: a hit needs no second
look, and whichever store is lost, emptied or restored, what the other holds can still be read.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from stripe_cache.core.errors import CorruptEntryError

if TYPE_CHECKING:
    from stripe_cache.core.key import Key
    from stripe_cache.tiers.data_keys import DataKeys

MAGIC = b"SX"
VERSION = 1
_HEADER = struct.Struct(">2sBBIH")
_NONCE_BYTES, _TAG_BYTES = 12, 16
MOST_WRAPPED_BYTES = 1024
"""KMS wraps a 32-byte key into 184 bytes; more than this is nothing that KMS gave out."""


class EnvelopeSealer:
    """Seals with the data keys it is given. Thread-safe; a nonce is drawn anew for every value."""

    def __init__(self, keys: DataKeys) -> None:
        self._keys = keys

    def seal(self, plain: bytes, key: Key) -> bytes:
        """Encrypt for this slot; raises KeyUnavailableError when no data key can be had."""
        data_key = self._keys.current(key.namespace)
        head = _HEADER.pack(MAGIC, VERSION, 0, data_key.born, len(data_key.wrapped))
        # A random 96-bit nonce needs no memory of the last one, which a frozen, restored or cloned sandbox would lose.
        nonce = os.urandom(_NONCE_BYTES)
        text = data_key.cipher.encrypt(nonce, plain, _associated(head, data_key.wrapped, key))
        return b"".join((head, nonce, data_key.wrapped, text))

    def open(self, sealed: bytes, key: Key) -> bytes:
        """Decrypt; raises CorruptEntryError for what was not sealed here, KeyUnavailableError while KMS is away."""
        from cryptography.exceptions import InvalidTag

        try:
            magic, version, zero, born, size = _HEADER.unpack_from(sealed)
        except struct.error:
            raise CorruptEntryError(f"{len(sealed)} bytes are too few for a sealed entry") from None
        if magic != MAGIC or version != VERSION or zero:
            raise CorruptEntryError(f"no sealed entry of format version {VERSION}; plain ones are not read with a key")
        nonce_end = _HEADER.size + _NONCE_BYTES
        start = nonce_end + size
        if not size or size > MOST_WRAPPED_BYTES or len(sealed) < start + _TAG_BYTES:
            raise CorruptEntryError("the sealed entry's header is impossible")
        wrapped = sealed[nonce_end:start]
        data_key = self._keys.unwrap(key.namespace, born, wrapped)
        associated = _associated(sealed[: _HEADER.size], wrapped, key)
        try:
            return data_key.cipher.decrypt(sealed[_HEADER.size : nonce_end], sealed[start:], associated)
        except InvalidTag:
            raise CorruptEntryError("the sealed entry was altered, or belongs to another slot") from None

    def waited(self) -> float:
        """Return the seconds this thread has waited for KMS."""
        return self._keys.waited()


def _associated(head: bytes, wrapped: bytes, key: Key) -> bytes:
    parts = [head, wrapped]
    for part in (key.namespace, key.record, key.variant):
        raw = part.encode("utf-8", "surrogatepass")
        parts += [len(raw).to_bytes(4, "big"), raw]
    return b"".join(parts)

"""Data keys: made and unwrapped by KMS, one set per namespace, kept in this process for an hour at most.

Every value names its data key, so any process can open it with one KMS call per data key and hour. A process does not
seal with a key of its own for long: once it has opened a value of a neighbour, it seals with the oldest key it knows
that is still young enough, so that a fleet settles on few keys and asks KMS rarely.

KMS binds each wrapped key to its namespace and its hour of birth (the encryption context). A data key that leaked from
one namespace opens nothing in another, and none is accepted beyond the longest life an entry can have.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stripe_cache.core.errors import CorruptEntryError, KeyUnavailableError
from stripe_cache.core.metrics import KEY_UNAVAILABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from stripe_cache.core.clock import Clock
    from stripe_cache.core.ports import Meter

SEALS_FOR = 3600
"""Seconds from its birth for which a data key seals, and from its unwrapping for which it is kept."""
OPENS_FOR = 61 * 86400
"""Seconds from its birth for which a data key opens: the longest TTL and the longest stale window, and a day."""
MOST_MESSAGES = 2**20
"""Values one process seals with one key. 4,096 processes that share a key stay below the 2^32 that NIST allows with
random nonces (SP 800-38D, section 8.3)."""
_MOST_KEYS = 512
_KEY_BYTES = 32
_SKEW = 300
_PAUSE = 5.0
"""Seconds for which a KMS key is left alone after a failure: nobody waits for a sick one at every value."""
_BURST, _PER_SECOND = 32, 4.0
"""KMS calls a process may make at once, and per second: a store full of made-up values must not become a bill."""
_REFUSED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})


@dataclass(slots=True)
class DataKey:
    """One data key; the plain key itself lives inside `cipher` only."""

    cipher: AESGCM
    wrapped: bytes
    born: int
    seals: bool
    """Wrapped by the KMS key that new entries use."""
    kept_from: float
    used: int = 0

    def __repr__(self) -> str:
        return f"DataKey(born={self.born})"


class DataKeys:
    """Asks KMS and remembers. Thread-safe: one thread at a time asks, the others wait for its answer.

    `kms_keys` are ids or ARNs: the first wraps new data keys, all unwrap. `connect` makes the KMS client on first use;
    it carries its own deadline. With `sparing` False every key is asked for, however many there are. While `has_time`
    says no, none is.
    """

    def __init__(
        self,
        kms_keys: Sequence[str],
        connect: Callable[[], Any],
        clock: Clock,
        meter: Meter,
        *,
        sparing: bool = True,
        has_time: Callable[[], bool] = lambda: True,
    ) -> None:
        self._kms_keys = tuple(kms_keys)
        self._connect = connect
        self._client: Any = None
        self._clock = clock
        self._meter = meter
        self._sparing = sparing
        self._has_time = has_time
        self._lock = threading.RLock()
        self._known: OrderedDict[tuple[str, int, bytes], DataKey | None] = OrderedDict()
        self._sealing: dict[str, DataKey] = {}
        self._pauses: dict[tuple[str, str], float] = {}
        self._away_until = clock.monotonic()
        self._tokens, self._counted_at = float(_BURST), clock.monotonic()
        self._waits = threading.local()

    def current(self, namespace: str) -> DataKey:
        """Return the key to seal with; raises KeyUnavailableError when KMS does not give one."""
        key = self._sealing.get(namespace)
        if key is None or not self._may_seal(key):
            with self._lock:
                key = self._chosen(namespace) or self._generate(namespace)
                self._sealing[namespace] = key
        # Two threads may count as one; the limit has room for it.
        key.used += 1
        return key

    def unwrap(self, namespace: str, born: int, wrapped: bytes) -> DataKey:
        """Return the key that opens a value; raises CorruptEntryError for one that KMS never gave out."""
        name = (namespace, born, wrapped)
        key = self._known.get(name)
        if key is not None and self._is_fresh(key):
            return key
        with self._lock:
            if name in self._known:
                key = self._known[name]
                if key is None:
                    raise CorruptEntryError("KMS does not know the sealed entry's key")
                if self._is_fresh(key):
                    return key
            if not -_SKEW <= self._clock.now() - born <= OPENS_FOR:
                raise CorruptEntryError("the sealed entry's key is too old, or from the future")
            return self._ask_for(name)

    def waited(self) -> float:
        """Return the seconds this thread has spent on KMS."""
        return getattr(self._waits, "seconds", 0.0)

    def _ask_for(self, name: tuple[str, int, bytes]) -> DataKey:
        namespace, born, wrapped = name
        context = _context(namespace, born)
        unavailable: KeyUnavailableError | None = None
        for kms_key in self._kms_keys:
            try:
                answer = self._ask("decrypt", CiphertextBlob=wrapped, EncryptionContext=context, KeyId=kms_key)
            except KeyUnavailableError as error:
                # The other key may be the right one, and in order.
                unavailable = error
                continue
            if answer is not None:
                return self._keep(name, answer["Plaintext"], seals=kms_key == self._kms_keys[0])
        if unavailable is not None:
            raise unavailable
        self._remember(name, None)
        raise CorruptEntryError("KMS does not know the sealed entry's key")

    def _generate(self, namespace: str) -> DataKey:
        born = int(self._clock.now())
        context = _context(namespace, born)
        answer = self._ask("generate_data_key", KeyId=self._kms_keys[0], KeySpec="AES_256", EncryptionContext=context)
        if answer is None:
            raise self._unavailable("KMS refused to make a data key")
        return self._keep((namespace, born, answer["CiphertextBlob"]), answer["Plaintext"], seals=True)

    def _chosen(self, namespace: str) -> DataKey | None:
        known = [key for (owner, _, _), key in self._known.items() if owner == namespace and key is not None]
        return min((key for key in known if self._may_seal(key)), key=lambda key: (key.born, key.wrapped), default=None)

    def _may_seal(self, key: DataKey) -> bool:
        young = -_SKEW <= self._clock.now() - key.born < SEALS_FOR
        return key.seals and young and key.used < MOST_MESSAGES and self._is_fresh(key)

    def _is_fresh(self, key: DataKey) -> bool:
        return self._clock.monotonic() - key.kept_from < SEALS_FOR

    def _keep(self, name: tuple[str, int, bytes], plain: bytes, *, seals: bool) -> DataKey:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = DataKey(AESGCM(plain), name[2], name[1], seals, self._clock.monotonic())
        self._remember(name, key)
        # Whichever of the known ones is the oldest: that is how processes come to share.
        self._sealing.pop(name[0], None)
        return key

    def _remember(self, name: tuple[str, int, bytes], key: DataKey | None) -> None:
        for old in [one for one, kept in self._known.items() if kept is not None and not self._is_fresh(kept)]:
            del self._known[old]
        self._known[name] = key
        self._known.move_to_end(name)
        while len(self._known) > _MOST_KEYS:
            self._known.popitem(last=False)

    def _ask(self, operation: str, **arguments: Any) -> Any:
        """Ask KMS; None if it refuses this ciphertext, KeyUnavailableError if it does not answer."""
        from botocore.exceptions import ClientError

        began, asked = self._clock.monotonic(), (operation, arguments["KeyId"])
        if began < max(self._away_until, self._pauses.get(asked, began)) or not self._may_ask(began):
            raise self._unavailable("KMS is left alone for the moment")
        if not self._has_time():
            raise self._unavailable("KMS is not asked, the invocation is about to end")
        try:
            self._client = self._client or self._connect()
            return _whole(getattr(self._client, operation)(**arguments), arguments)
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            if code in _REFUSED:
                return None
            self._pauses[asked] = self._clock.monotonic() + _PAUSE
            # Only the code: KMS's message may name principals and keys.
            raise self._unavailable(f"KMS answered {code}") from None
        except Exception as error:  # noqa: BLE001 (botocore stumbles over an answer of a strange shape)
            # Whatever else it would be asked, with whichever key, would be waited for as long.
            self._away_until = self._clock.monotonic() + _PAUSE
            raise self._unavailable(f"KMS gives no answer: {type(error).__name__}") from None
        finally:
            self._waits.seconds = self.waited() + self._clock.monotonic() - began

    def _may_ask(self, now: float) -> bool:
        self._tokens = min(_BURST, self._tokens + (now - self._counted_at) * _PER_SECOND)
        self._counted_at = now
        if self._sparing and self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _unavailable(self, reason: str) -> KeyUnavailableError:
        self._meter.count(KEY_UNAVAILABLE)
        return KeyUnavailableError(reason)


def _whole(answer: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with a key in it, and the wrapped one if none was given; raises ValueError for another."""
    wrapped = asked.get("CiphertextBlob") or answer["CiphertextBlob"]
    if len(answer["Plaintext"]) != _KEY_BYTES or not wrapped:
        raise ValueError("KMS answered with no key of 256 bits")
    return answer


def _context(namespace: str, born: int) -> dict[str, str]:
    return {"namespace": namespace, "born": str(born)}

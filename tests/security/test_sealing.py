"""Sealed values: their bytes, their keys, and what happens to those of somebody else."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import example, given
from hypothesis import strategies as st

from stripe_cache.core.errors import CorruptEntryError, KeyUnavailableError
from stripe_cache.core.key import Key
from stripe_cache.core.metrics import KEY_UNAVAILABLE
from stripe_cache.core.sealing import UNSEALED
from stripe_cache.tiers import data_keys, sealing
from stripe_cache.tiers.data_keys import DataKey, DataKeys
from stripe_cache.tiers.sealing import EnvelopeSealer

if TYPE_CHECKING:
    from collections.abc import Callable

    from security.conftest import CountingMeter, ManualClock

KEY = Key.of("acct_1.live", "cus_1", "variant")
WRAPPED = b"wrapped-key-by-kms"
GOLDEN = (
    "535801006553f1000012"  # SX, version 1, zero, born 1,700,000,000, 18 bytes of wrapped key
    "000102030405060708090a0b"  # nonce
    "777261707065642d6b65792d62792d6b6d73"  # wrapped-key-by-kms
    "3467b569a091744125e994dad16c2d81383a09894723"  # "secret" and the tag
)


class OneKey:
    """Data keys without KMS: one fixed key."""

    def __init__(self, plain: bytes = bytes(range(32))) -> None:
        self.key = DataKey(AESGCM(plain), WRAPPED, 1_700_000_000, seals=True, kept_from=0.0)

    def current(self, namespace: str) -> DataKey:
        del namespace
        return self.key

    def unwrap(self, namespace: str, born: int, wrapped: bytes) -> DataKey:
        del namespace
        if (born, wrapped) != (self.key.born, self.key.wrapped):
            raise CorruptEntryError("another key")
        return self.key

    def waited(self) -> float:
        return 0.0


class Broken:
    """A KMS that answers every call with an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls = 0

    def _fail(self, **_: Any) -> Any:
        self.calls += 1
        raise self.error

    generate_data_key = decrypt = _fail


def sealer_of(keys: Any) -> EnvelopeSealer:
    return EnvelopeSealer(keys)


def test_the_sealed_bytes_of_version_1_never_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing.os, "urandom", lambda count: bytes(range(count)))
    sealer = sealer_of(OneKey())
    assert sealer.seal(b"secret", KEY).hex() == GOLDEN
    assert sealer.open(bytes.fromhex(GOLDEN), KEY) == b"secret"


def test_two_seals_of_the_same_value_differ() -> None:
    sealer = sealer_of(OneKey())
    assert sealer.seal(b"x", KEY) != sealer.seal(b"x", KEY)


@pytest.mark.parametrize(
    "other",
    [
        Key.of("acct_1.live", "cus_1", "variant2"),
        Key.of("acct_1.live", "cus_2", "variant"),
        Key.of("acct_1.test", "cus_1", "variant"),
        # The same characters, cut elsewhere.
        Key.of("acct_1.livec", "us_1", "variant"),
        Key.of("acct_1.live", "cus_1v", "ariant"),
    ],
)
def test_a_value_moved_to_another_slot_does_not_open(other: Key) -> None:
    sealer = sealer_of(OneKey())
    with pytest.raises(CorruptEntryError, match="another slot"):
        sealer.open(sealer.seal(b"secret", KEY), other)


def test_every_altered_byte_is_noticed() -> None:
    sealer = sealer_of(OneKey())
    sealed = sealer.seal(b"secret", KEY)
    for index in range(len(sealed)):
        altered = sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :]
        with pytest.raises(CorruptEntryError):
            sealer.open(altered, KEY)


@given(st.binary(max_size=200))
@example(b"")
@example(b"SX\x01\x00" + b"\xff" * 200)
@example(bytes.fromhex(GOLDEN)[:-1])
def test_whatever_the_bytes_they_open_or_are_corrupt(raw: bytes) -> None:
    with contextlib.suppress(CorruptEntryError):
        sealer_of(OneKey()).open(raw, KEY)


def test_plain_values_are_refused_when_a_key_is_configured() -> None:
    with pytest.raises(CorruptEntryError, match="plain ones are not read"):
        sealer_of(OneKey()).open(b"SC\x01" + b"\x00" * 100, KEY)


@pytest.fixture
def make_keys(kms: Any, clock: ManualClock, meter: CountingMeter) -> Callable[..., DataKeys]:
    return lambda *names, client=None, **more: DataKeys(names, lambda: client or kms, clock, meter, **more)


@pytest.fixture
def kms_key(kms: Any) -> str:
    return str(kms.create_key()["KeyMetadata"]["Arn"])


def test_what_one_process_seals_another_opens(make_keys: Callable[..., DataKeys], kms_key: str) -> None:
    sealed = sealer_of(make_keys(kms_key)).seal(b"secret", KEY)
    assert b"secret" not in sealed
    assert sealer_of(make_keys(kms_key)).open(sealed, KEY) == b"secret"


def test_a_hit_asks_kms_once_per_data_key(make_keys: Callable[..., DataKeys], kms_key: str, kms: Any) -> None:
    sealed = sealer_of(make_keys(kms_key)).seal(b"secret", KEY)
    asked: list[str] = []
    kms.meta.events.register("before-call.kms.*", lambda model, **_: asked.append(model.name))
    reader = sealer_of(make_keys(kms_key))
    for _ in range(5):
        assert reader.open(sealed, KEY) == b"secret"
        reader.seal(b"more", KEY)
    assert asked == ["Decrypt"]


def test_processes_settle_on_the_oldest_key_they_know(
    make_keys: Callable[..., DataKeys], kms_key: str, clock: ManualClock
) -> None:
    first, second = make_keys(kms_key), make_keys(kms_key)
    elder = first.current(KEY.namespace)
    clock.ahead = 10
    assert second.current(KEY.namespace).wrapped != elder.wrapped
    second.unwrap(KEY.namespace, elder.born, elder.wrapped)
    assert second.current(KEY.namespace).wrapped == elder.wrapped


def test_a_data_key_seals_for_an_hour_and_a_limited_number_of_values(
    make_keys: Callable[..., DataKeys], kms_key: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_keys, "MOST_MESSAGES", 3)
    keys = make_keys(kms_key)
    used = [keys.current(KEY.namespace).wrapped for _ in range(4)]
    assert used[0] == used[1] == used[2] != used[3]
    clock.ahead = data_keys.SEALS_FOR + 1
    assert keys.current(KEY.namespace).wrapped not in used
    assert len(keys._known) == 1, "keys older than an hour are forgotten"


def test_after_rotation_the_new_key_seals_and_the_old_one_still_opens(
    make_keys: Callable[..., DataKeys], kms_key: str, kms: Any
) -> None:
    new = kms.create_key()["KeyMetadata"]["Arn"]
    old_value = sealer_of(make_keys(kms_key)).seal(b"old", KEY)
    both = sealer_of(make_keys(new, kms_key))
    assert both.open(old_value, KEY) == b"old"
    new_value = both.seal(b"new", KEY)
    only_new = sealer_of(make_keys(new))
    assert only_new.open(new_value, KEY) == b"new"
    # moto denies what the real service calls an incorrect key.
    with pytest.raises((CorruptEntryError, KeyUnavailableError)):
        only_new.open(old_value, KEY)


def test_a_wrapped_key_works_in_its_own_namespace_only(make_keys: Callable[..., DataKeys], kms_key: str) -> None:
    mine = make_keys(kms_key).current("acct_1.live")
    other = make_keys(kms_key)
    with pytest.raises(CorruptEntryError):
        other.unwrap("acct_2.live", mine.born, mine.wrapped)
    with pytest.raises(CorruptEntryError):
        other.unwrap("acct_1.live", mine.born + 1, mine.wrapped)


def test_a_key_older_than_any_entry_is_refused(
    make_keys: Callable[..., DataKeys], kms_key: str, clock: ManualClock
) -> None:
    old = make_keys(kms_key).current("acct_1.live")
    clock.ahead = data_keys.OPENS_FOR + 1
    with pytest.raises(CorruptEntryError, match="too old"):
        make_keys(kms_key).unwrap("acct_1.live", old.born, old.wrapped)


def throttled() -> ClientError:
    text = "arn:aws:iam::123456789012:role/secret-role is throttled"
    return ClientError({"Error": {"Code": "ThrottlingException", "Message": text}}, "Decrypt")


@pytest.mark.parametrize("error", [throttled(), ConnectTimeoutError(endpoint_url="https://kms.secret-vpce")])
def test_without_kms_nothing_is_sealed_and_it_is_left_alone_for_a_while(
    make_keys: Callable[..., DataKeys], kms_key: str, clock: ManualClock, meter: CountingMeter, error: Exception
) -> None:
    broken = Broken(error)
    keys = make_keys(kms_key, client=broken)
    for _ in range(3):
        with pytest.raises(KeyUnavailableError) as raised:
            sealer_of(keys).seal(b"secret", KEY)
        assert "secret" not in str(raised.value)
    assert broken.calls == 1
    assert meter.counts[KEY_UNAVAILABLE] == 3
    clock.ahead = 5
    with pytest.raises(KeyUnavailableError):
        keys.current(KEY.namespace)
    assert broken.calls == 2


def test_made_up_values_cannot_make_a_process_flood_kms(
    make_keys: Callable[..., DataKeys], kms_key: str, clock: ManualClock
) -> None:
    refusing = Broken(ClientError({"Error": {"Code": "InvalidCiphertextException"}}, "Decrypt"))
    keys = make_keys(kms_key, client=refusing)
    born = int(clock.now())
    for number in range(2000):
        with pytest.raises((CorruptEntryError, KeyUnavailableError)):
            keys.unwrap("acct_1.live", born, b"made up %d" % number)
    assert refusing.calls == 32
    assert len(keys._known) <= 512
    clock.ahead = 1
    for _ in range(10):
        with pytest.raises(CorruptEntryError):
            keys.unwrap("acct_1.live", born, b"the same again")
    assert refusing.calls == 33


def test_a_data_key_shows_nothing_of_itself() -> None:
    assert repr(OneKey().key) == "DataKey(born=1700000000)"


def test_without_encryption_bytes_pass_as_they_are() -> None:
    assert UNSEALED.open(UNSEALED.seal(b"x", KEY), KEY) == b"x"
    assert UNSEALED.waited() == 0

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stripe_cache.core.errors import SettingError
from stripe_cache.core.key import Key, fingerprint, is_label, livemode_of, namespace_of, validate_label, variant_of

parts = st.tuples(*[st.text(max_size=12)] * 4)
secrets = st.text(min_size=8, max_size=40)


@given(parts, parts)
def test_no_two_identities_share_a_variant(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (variant_of(*one) == variant_of(*other)) == (one == other)


@given(parts, st.integers(0, 3))
def test_moving_a_character_into_the_next_part_makes_another_variant(identity: tuple[str, ...], index: int) -> None:
    assume(identity[index])
    moved = list(identity)
    moved[index], moved[(index + 1) % 4] = identity[index][:-1], identity[index][-1] + identity[(index + 1) % 4]
    assert variant_of(*identity) != variant_of(*moved)


@given(secrets, st.text(min_size=1, max_size=20))
def test_a_fingerprint_is_stable_and_never_contains_the_credential(credential: str, secret: str) -> None:
    made = fingerprint(credential, secret)
    assert made == fingerprint(credential, secret)
    assert credential not in made
    assert len(made) == 22


@given(secrets, secrets, st.text(min_size=1, max_size=20))
def test_fingerprints_differ_by_credential_and_by_the_operators_secret(one: str, other: str, secret: str) -> None:
    assume(one != other)
    assert fingerprint(one, secret) != fingerprint(other, secret)
    assert fingerprint(one, secret) != fingerprint(one, secret + "x")


@given(st.tuples(*[st.text(max_size=8)] * 3), st.tuples(*[st.text(max_size=8)] * 3))
def test_a_binding_belongs_to_one_slot(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (Key.of(*one).binding == Key.of(*other).binding) == (one == other)


@pytest.mark.parametrize(
    ("credential", "mode"),
    [
        ("sk_live_51abc", True),
        ("sk_test_51abc", False),
        ("rk_live_1", True),
        ("rk_test_live_1", False),
        ("sk_org_live_x", True),
        ("sk_org_test_x", False),
        ("sk_live", None),
        ("live", None),
        ("", None),
    ],
)
def test_the_mode_is_read_off_the_prefix(credential: str, mode: bool | None) -> None:  # noqa: FBT001 (a parameter set)
    assert livemode_of(credential) is mode


def test_a_namespace_is_an_account_in_a_mode() -> None:
    assert namespace_of("acct_1", livemode=True) == "acct_1.live"
    assert namespace_of("acct_1", livemode=False) == "acct_1.test"


@pytest.mark.parametrize("text", ["", "a b", "a.b", "a|b", "{a}", "a\n", "ä", "x" * 65])
def test_a_label_that_could_break_a_key_is_refused_by_name(text: str) -> None:
    assert not is_label(text)
    with pytest.raises(SettingError, match=r"^SOME_NAME is .*use 1 to 64 letters, digits"):
        validate_label(text, "SOME_NAME")

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from stripe_cache import PolicyError, SettingError, Settings, StripeCache
from stripe_cache.settings import PREFIX

if TYPE_CHECKING:
    from pathlib import Path

BAD = [
    ("NAMESPACE", "my account", r"letters, digits"),
    ("LIVEMODE", "maybe", "use on or off"),
    ("EVENTS", "2", "use on or off"),
    ("TABLE", "t", r"name \(3 to 255"),
    ("TABLE", "a b c", r"name \(3 to 255"),
    ("POLICY", "{", "no JSON"),
    ("POLICY", "{} x", "no JSON"),
    ("POLICY", "/no/such/file.json", "cannot be read"),
    ("MEMORY_MAX_BYTES", "32MB", "use a number such as 33554432"),
    ("MEMORY_MAX_BYTES", "-1", "use whole bytes from 0"),
    ("MEMORY_MAX_BYTES", "99999999999", "use whole bytes from 0"),
    ("MAX_BODY_BYTES", "1.5", "use a number such as 1048576"),
    ("MEMORY_MAX_LAG", "soon", "use a number such as 1.0"),
    ("MEMORY_MAX_LAG", "nan", "use seconds from 0"),
    ("MEMORY_MAX_LAG", "inf", "use seconds from 0"),
    ("MEMORY_MAX_LAG", "61", "use seconds from 0"),
    ("REDIS_TIMEOUT", "0", "more than 0"),
    ("DYNAMODB_TIMEOUT", "0", "more than 0"),
    ("DYNAMODB_TIMEOUT", "-1", "use seconds from 0"),
    ("API_BASE", "api.stripe.com", "scheme and host"),
    ("API_BASE", "ftp://api.stripe.com", "scheme and host"),
    ("API_BASE", "https://api.stripe.com/v1", "scheme and host"),
    ("API_BASE", "https://me:pw@api.stripe.com", "scheme and host"),
    ("SHARED_SCOPE", "a b", r"letters, digits"),
]


@pytest.mark.parametrize(("name", "value", "remedy"), BAD, ids=lambda value: value if isinstance(value, str) else None)
def test_a_bad_value_is_named_with_its_variable_and_the_remedy(name: str, value: str, remedy: str) -> None:
    with pytest.raises(SettingError, match=remedy) as caught:
        Settings.from_env({"STRIPE_CACHE_NAMESPACE": "acct_1", PREFIX + name: value})
    assert PREFIX + name in str(caught.value)
    assert value[:20] in str(caught.value) or name == "POLICY"


def test_good_values_arrive_typed_and_blank_ones_count_as_absent(tmp_path: Path) -> None:
    overrides = {"customer": {"ttl": 60}}
    (tmp_path / "policy.json").write_text(json.dumps(overrides))
    found = Settings.from_env(
        {
            "STRIPE_CACHE_NAMESPACE": " acct_1 ",
            "STRIPE_CACHE_LIVEMODE": "On",
            "STRIPE_CACHE_REDIS_URL": "redis://localhost:6379/0",
            "STRIPE_CACHE_TABLE": "  ",
            "STRIPE_CACHE_POLICY": str(tmp_path / "policy.json"),
            "STRIPE_CACHE_MEMORY_MAX_BYTES": "0",
            "STRIPE_CACHE_MEMORY_MAX_LAG": "0.5",
            "STRIPE_CACHE_EVENTS": "off",
            "PATH": "/bin",
        }
    )
    assert (found.namespace, found.livemode, found.table, found.events) == ("acct_1", True, "", False)
    assert (found.policy, found.memory_max_bytes, found.memory_max_lag) == (overrides, 0, 0.5)


@pytest.mark.parametrize("value", ["[]", "null", "3", '"x"'])
def test_a_policy_that_is_no_object_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(value)
    with pytest.raises(SettingError, match="use an object keyed by object type"):
        Settings.from_env({"STRIPE_CACHE_POLICY": str(path)})


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("STRIPE_CACHE_NAMESPCE", "did you mean STRIPE_CACHE_NAMESPACE"),
        ("STRIPE_CACHE_Q", "known are STRIPE_CACHE_API_BASE, "),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest_known_one(variable: str, hint: str) -> None:
    with pytest.raises(SettingError, match=f"{variable} is no setting: {hint}"):
        Settings.from_env({variable: "x"})


@pytest.mark.parametrize("tier", [{"redis_url": "redis://localhost"}, {"table": "some-table"}])
def test_a_shared_tier_without_a_namespace_is_refused(tier: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"STRIPE_CACHE_NAMESPACE is not set.*acct_1Abc"):
        Settings(**tier)


def test_no_secret_is_shown() -> None:
    shown = repr(Settings(namespace="a", redis_url="redis://me:hunter2@localhost", fingerprint_secret="hush-hush"))
    assert "hunter2" not in shown
    assert "hush-hush" not in shown


def test_no_settings_at_all_make_a_memory_cache() -> None:
    assert Settings.from_env({}) == Settings()
    # Nothing is in it yet, and it is told all the same, in both modes.
    assert StripeCache().invalidate("cus_1") == {"memory": 2}


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ({"custmer": {"ttl": 1}}, "did you mean 'customer'"),
        ({"customer": {"tll": 1}}, r"customer\.tll"),
        ({"customer": {"ttl": "1h"}}, r"customer\.ttl is '1h'"),
    ],
)
def test_a_bad_policy_stops_the_construction_and_names_the_key(policy: dict[str, Any], named: str) -> None:
    with pytest.raises(PolicyError, match=named):
        StripeCache(Settings(policy=policy))


def test_a_bad_redis_url_stops_the_construction_without_showing_the_password() -> None:
    with pytest.raises(SettingError, match="STRIPE_CACHE_REDIS_URL") as caught:
        StripeCache(Settings(namespace="acct_1", redis_url="http://me:hunter2@host"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"namespace": 5}, "STRIPE_CACHE_NAMESPACE is a int: give str"),
        ({"livemode": "x"}, "STRIPE_CACHE_LIVEMODE is a str: give NoneType or bool"),
        ({"memory_max_bytes": True}, "STRIPE_CACHE_MEMORY_MAX_BYTES is a bool: give int"),
        ({"memory_max_bytes": 1.5}, "STRIPE_CACHE_MEMORY_MAX_BYTES is a float: give int"),
        ({"memory_max_lag": None}, "STRIPE_CACHE_MEMORY_MAX_LAG is a NoneType: give float or int"),
        ({"policy": []}, "STRIPE_CACHE_POLICY is a list: give Mapping"),
    ],
)
def test_a_value_of_another_type_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Settings(**given)


@pytest.mark.parametrize("base", ["https://x y", "https://x?y", "https://x#y", "https://x:abc", "https://", "ftp://x"])
def test_a_base_that_is_no_host_is_named(base: str) -> None:
    with pytest.raises(SettingError, match="STRIPE_CACHE_API_BASE is"):
        Settings(api_base=base)

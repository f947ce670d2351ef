"""No setting without its words and its bounds: each is documented where README sends its reader, and can be wrong.

That the constructs can say each, but two, is in test_seams_of_operators.py.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from stripe_cache import SettingError, Settings, StripeCache
from stripe_cache.settings import PREFIX

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "runtime" / "stripe_cache" / "settings.py"
NAMES = [one.name for one in dataclasses.fields(Settings)]

WRONG = {
    "namespace": "my account",
    "livemode": "maybe",
    "redis_url": "http://localhost",
    "table": "t",
    "policy": "{",
    "memory_max_bytes": "99999999999",
    "memory_max_lag": "61",
    "events": "2",
    "api_base": "api.stripe.com",
    "shared_scope": "a b",
    "redis_timeout": "61",
    "dynamodb_timeout": "61",
    "origin_timeout": "61",
    "origin_wait": "61",
    "rate_limits": '{"live": 0}',
    "refresh_hot": "on",
    "negative_ttl": "6",
    "read_only": "perhaps",
    "audit_rate": "1.5",
    "kms_key": "a,b,c",
    "max_body_bytes": "-1",
}
FREE = {
    "api_key_secret": "a name at AWS: only Secrets Manager can tell whether it is there",
    "webhook_secret": "as above",
    "invalidation_queue_url": "a name at AWS: only SQS can tell whether it is there",
    "refresh_queue_url": "as above",
    "stage": "the operator's word for a dimension of metrics",
    "fingerprint_secret": "any text is as good a secret as its length",
}
"""Settings of which no value is wrong by itself, and why."""


def documented() -> dict[str, str]:
    """Return the words beneath each field of Settings."""
    (settings,) = [node for node in ast.parse(SOURCE.read_text()).body if getattr(node, "name", "") == "Settings"]
    assert isinstance(settings, ast.ClassDef)
    found = {}
    for node, following in zip(settings.body, settings.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(node.target, ast.Name)
            found[node.target.id] = str(ast.literal_eval(following.value))
    return found


def test_readme_sends_its_reader_to_where_the_settings_are_documented() -> None:
    sentence = r"Every setting is a field of `Settings` .*\(runtime/stripe_cache/settings\.py\)"
    assert re.search(sentence, (ROOT / "README.md").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_has_its_variable_and_its_meaning_beside_it(name: str) -> None:
    variable, _, meaning = documented()[name].partition(": ")
    assert variable == PREFIX + name.upper()
    assert len(meaning) > 20


def test_of_each_setting_a_wrong_value_is_known_or_why_there_is_none() -> None:
    assert sorted([*WRONG, *FREE]) == sorted(NAMES)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_by_its_name_before_anything_is_asked(name: str) -> None:
    with pytest.raises(SettingError, match=PREFIX + name.upper()):
        StripeCache(Settings.from_env({f"{PREFIX}NAMESPACE": "acct_1", PREFIX + name.upper(): WRONG[name]}))


def test_documents_name_no_setting_that_there_is_not() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {one for path in documents for one in re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", path.read_text())}
    assert named
    assert named <= {PREFIX + name.upper() for name in NAMES}

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.demo.options import OptionError, Options, from_environ

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_given_means_the_defaults() -> None:
    assert from_environ({}) == Options()


def test_values_are_taken_from_the_variables() -> None:
    found = from_environ({"SECONDS": "30", "WORKERS": " 3 ", "RPS": "7.5"})
    assert (found.seconds, found.workers, found.rps) == (30, 3, 7.5)


def test_an_api_base_counts_only_beside_a_key() -> None:
    base = {"STRIPE_CACHE_API_BASE": "http://127.0.0.1:1"}
    assert from_environ(base).api_base == "https://api.stripe.com"
    assert from_environ({**base, "STRIPE_API_KEY": "rk_test_1"}).api_base == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECONDS", "soon"),
        ("SECONDS", "0"),
        ("SECONDS", "-5"),
        ("SECONDS", "7.5"),
        ("SECONDS", "nan"),
        ("WORKERS", "1e9"),
        ("WORKERS", "two"),
        ("RPS", "inf"),
        ("RPS", "0"),
    ],
)
def test_a_bad_value_is_named_with_what_would_do(name: str, value: str) -> None:
    with pytest.raises(OptionError, match=rf"^{name} is '{value}': use a (whole )?number from \d+ to \d+"):
        from_environ({name: value})


@pytest.mark.parametrize("key", ["sk_live_abc123", "rk_live_abc123", "pk_test_abc123", "whatever", "sk_test_a b"])
def test_only_a_sandbox_key_is_taken_and_none_is_repeated(key: str) -> None:
    with pytest.raises(OptionError, match="sk_test_") as caught:
        from_environ({"STRIPE_API_KEY": key})
    assert key not in str(caught.value)


def test_a_sandbox_is_not_asked_more_than_it_allows() -> None:
    with pytest.raises(OptionError, match="RPS is 50"):
        from_environ({"STRIPE_API_KEY": "sk_test_1", "RPS": "50"})


def test_the_command_says_one_sentence_and_exits_with_two(tmp_path: Path) -> None:
    environ = {**os.environ, "SECONDS": "abc", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "local.demo"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "demo: SECONDS is 'abc': use a number from 5 to 3600, as in `make demo SECONDS=20`\n"
    assert not list(tmp_path.iterdir())

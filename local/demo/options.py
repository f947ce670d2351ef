"""What the person at the terminal may choose, read from make's variables or the environment."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_SECONDS, DEFAULT_WORKERS, DEFAULT_RPS, DEFAULT_SANDBOX_RPS = 20, 24, 35.0, 3.0
LIMITS = {"SECONDS": (5, 3600), "WORKERS": (1, 64), "RPS": (1, 200)}
MOST_SANDBOX_RPS = 6
"""A sandbox allows 25 requests per second in all, and one uncached answer takes three."""
_LIVE = ("sk_live_", "rk_live_")
_TEST = ("sk_test_", "rk_test_")
STRIPE_API = "https://api.stripe.com"


class OptionError(Exception):
    """A value cannot be used; the message is one sentence that names it and the remedy."""


@dataclass(frozen=True)
class Options:
    """One run: `seconds` are measured after the warm-up, `workers` is the most sandboxes of each half."""

    seconds: int = DEFAULT_SECONDS
    workers: int = DEFAULT_WORKERS
    rps: float = DEFAULT_RPS
    api_key: str = ""
    api_base: str = STRIPE_API

    @property
    def warm_up(self) -> float:
        """Seconds of rising traffic before anything is measured."""
        return float(min(9, max(4, self.seconds * 0.45)))


def from_environ(environ: Mapping[str, str] | None = None) -> Options:
    """Read SECONDS, WORKERS, RPS, STRIPE_API_KEY and, beside a key, STRIPE_CACHE_API_BASE; raises OptionError."""
    environ = os.environ if environ is None else environ
    key = _key(environ.get("STRIPE_API_KEY", "").strip())
    rps = _number(environ, "RPS", DEFAULT_SANDBOX_RPS if key else DEFAULT_RPS)
    if key and rps > MOST_SANDBOX_RPS:
        raise OptionError(
            f"RPS is {rps:g}: with STRIPE_API_KEY both halves share the sandbox's 25 requests per second, so use at "
            f"most {MOST_SANDBOX_RPS}"
        )
    return Options(
        seconds=_whole(environ, "SECONDS", DEFAULT_SECONDS),
        workers=_whole(environ, "WORKERS", DEFAULT_WORKERS),
        rps=rps,
        api_key=key,
        api_base=(environ.get("STRIPE_CACHE_API_BASE", "").strip() or STRIPE_API) if key else STRIPE_API,
    )


def _key(key: str) -> str:
    # The message must not carry the key: whatever it is, it is a secret.
    if key.startswith(_LIVE):
        raise OptionError(
            "STRIPE_API_KEY is a live key: the demo takes a sandbox key (sk_test_... or rk_test_...) only"
        )
    if key and not (key.startswith(_TEST) and key.isascii() and key.isprintable() and " " not in key):
        raise OptionError(
            "STRIPE_API_KEY is no sandbox key: give one that starts with sk_test_ or rk_test_, or none for the fake"
        )
    return key


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "").strip()
    if not text:
        return default
    low, high = LIMITS[name]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise OptionError(
            f"{name} is {text!r}: use a number from {low} to {high}, as in `make demo {name}={default:g}`"
        )
    return value


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    value = _number(environ, name, default)
    if value != int(value):
        low, high = LIMITS[name]
        raise OptionError(f"{name} is {environ[name]!r}: use a whole number from {low} to {high}")
    return int(value)

"""Request directives of `Cache-Control` (RFC 9111, section 5.2.1), as the caller writes them per call."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from stripe_cache.core.errors import RequestError


@dataclass(frozen=True, slots=True)
class Directives:
    """What the caller demands of this one answer. Ages are in seconds."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: float = math.inf
    max_stale: float = 0.0
    critical: bool = False
    """Our own extension: this read may use what the rate limits keep back for writes."""


NONE = Directives()


@lru_cache(maxsize=256)
def parse(header: str) -> Directives:
    """Read a Cache-Control request header; unknown directives are ignored, as the RFC asks.

    Raises RequestError for a known directive with an impossible argument.
    """
    no_cache = no_store = only_if_cached = critical = False
    max_age, max_stale = math.inf, 0.0
    for part in header.split(","):
        name, equals, argument = part.strip().partition("=")
        match name.strip().lower():
            case "no-cache":
                no_cache = True
            case "no-store":
                no_store = True
            case "only-if-cached":
                only_if_cached = True
            case "critical":
                critical = True
            case "max-age":
                max_age = _seconds(argument, part)
            case "max-stale":
                # Without an argument the caller takes an answer of any age that is still kept.
                max_stale = _seconds(argument, part) if equals else math.inf
            case _:
                pass
    return Directives(no_cache, no_store, only_if_cached, max_age, max_stale, critical)


def _seconds(argument: str, part: str) -> float:
    text = argument.strip().strip('"')
    if not (text.isascii() and text.isdigit()):
        raise RequestError(f"Cache-Control directive {part.strip()[:80]!r} needs whole seconds, such as max-age=60")
    return float(text)


def reacting(wishes: Directives) -> Directives:
    """Return the wishes of a caller that reacts to a change: go to the origin and refill, unless it forbids storing."""
    return wishes if wishes.no_store else replace(wishes, no_cache=True)

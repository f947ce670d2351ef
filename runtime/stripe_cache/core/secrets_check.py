"""The last line before a body is stored: does it hold a secret, whatever its type is said to be?

Works on the JSON's bytes, because parsing an answer only to check it would cost more than everything else a fill does.
"""

from __future__ import annotations

import functools
import re

from stripe_cache.core.policy import forbidden_fields

# A plain substring search is many times faster than one alternation of all names, and nearly always finds nothing:
# each needle stands for every forbidden name that contains it.
_SHARED = ("secret", 'number"')
# Client secrets known by their own look, `pi_1_secret_2`, whatever the field is called.
_CLIENT_SECRET = re.compile(rb"_secret_[A-Za-z0-9]{6}")
# Stripe's own keys and signing secrets, likewise.
_PREFIXES = ("whsec_", *(f"{kind}_{mode}_" for kind in ("sk", "rk", "ek") for mode in ("live", "test")))
_ANYTHING = rb"(?!null\b|true\b|false\b|\"\"|\{\s*+\}|\[\s*+\])"


def has_secret(body: bytes) -> bool:
    """Tell whether a JSON body holds a forbidden field with a value, a client secret, or a key of Stripe's.

    Names inside the text of a value do not count: their quotes are escaped there. Costs about 20 us per 10 KB.
    """
    return any(needle in body and any(p.search(body) for p in patterns) for needle, patterns in _searches())


@functools.cache
def _searches() -> tuple[tuple[bytes, tuple[re.Pattern[bytes], ...]], ...]:
    """Group the patterns by the needle without which none of them can match."""
    found = {prefix: [re.compile(prefix.encode() + rb"[A-Za-z0-9]{8}")] for prefix in _PREFIXES}
    found["secret"] = [_CLIENT_SECRET]
    for field in forbidden_fields().values():
        quoted = f'"{field.name}"'
        needle = next((shared for shared in _SHARED if shared in quoted), quoted)
        value = _ANYTHING if field.value is None else b'"' + field.value.encode() + b'"'
        # Possessive quantifiers: a body of nothing but white space cannot make the search slow.
        pattern = re.compile(re.escape(quoted).encode() + rb"\s*+:\s*+" + value)
        found.setdefault(needle, []).append(pattern)
    return tuple((needle.encode(), tuple(patterns)) for needle, patterns in found.items())

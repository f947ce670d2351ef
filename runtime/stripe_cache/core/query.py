"""Query strings in one canonical form, so that equal questions get equal keys.

Stripe reads `expand[]` and `include[]` as sets, and the SDK may emit them in a different order in every process (it
merges them through a Python set). Every other array keeps its order, because nothing says that Stripe ignores it.
"""

from __future__ import annotations

import calendar
import re
import time
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode

from stripe_cache.core.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Pair = tuple[str, str]

_SET = re.compile(r"(expand|include)(?:\[[0-9]*\])?")
"""Array parameters whose order and repetition mean nothing to Stripe."""
_INDEXED = re.compile(r"(.*)\[[0-9]+\]", re.DOTALL)
_VISIBLE = re.compile("[!-~]*")
_DOUBTFUL = re.compile("[;#\\\\]")
_KEPT = 1024


def is_plain(url: str) -> bool:
    """Tell whether a URL asks one question however it is read; the SDK and `get` write no other.

    Python and Stripe may read differently, and the key would be that of another question: urlsplit drops tabs and line
    ends that are sent as they are, `;` separates parameters for some servers, bytes that are no UTF-8 all become the
    same replacement character, and a name without `=` is not the same as an empty value.
    """
    if not _VISIBLE.fullmatch(url) or _DOUBTFUL.search(url):
        return False
    _, _, given = url.partition("?")
    if any(part and "=" not in part for part in given.split("&")):
        return False
    try:
        unquote_to_bytes(given).decode()
    except UnicodeDecodeError:
        return False
    return True


def parse(query: str) -> tuple[Pair, ...]:
    """Split a raw query string; blank values are kept, because `email=` and no `email` are different questions."""
    return tuple(parse_qsl(query, keep_blank_values=True))


def canonical(pairs: Iterable[Pair]) -> str:
    """Return the one string that all equivalent spellings of these pairs share.

    Pairs are sorted by name; `expand` and `include` become sorted sets; `a[]=x&a[]=y` and `a[0]=x&a[1]=y` are the
    same list. What was asked before is remembered.
    """
    return _canonical(tuple(pairs))


@lru_cache(maxsize=_KEPT)
def _canonical(pairs: tuple[Pair, ...]) -> str:
    sets: set[Pair] = set()
    others: list[Pair] = []
    appended: dict[str, int] = {}
    indexed = {found[1] for name, _ in pairs if (found := _INDEXED.fullmatch(name))}
    for name, value in pairs:
        if found := _SET.fullmatch(name):
            sets.add((f"{found[1]}[]", value))
        elif name.endswith("[]") and name[:-2] not in indexed:
            index = appended.get(name, 0)
            appended[name] = index + 1
            others.append((f"{name[:-2]}[{index}]", value))
        else:
            others.append((name, value))
    # A stable sort by name: two values under one name keep their order, since the last one may win at the origin.
    others.sort(key=lambda pair: pair[0])
    return urlencode([*others, *sorted(sets)])


def encode(params: Mapping[str, Any]) -> tuple[Pair, ...]:
    """Flatten nested parameters into pairs exactly as the official SDK sends them.

    None is left out, booleans become `true`/`false`, datetimes epoch seconds, lists `name[0]`, dicts `name[key]`.
    Raises RequestError for a value that has no such form.
    """
    try:
        pairs = tuple(_flatten(params))
        urlencode(pairs)
    except (RecursionError, UnicodeEncodeError) as error:
        raise RequestError(
            f"the parameters have no query form ({type(error).__name__}): pass plain nested values"
        ) from None
    return pairs


def _flatten(params: Mapping[str, Any], prefix: str = "") -> Iterator[Pair]:
    for key, value in params.items():
        yield from _encode_value(f"{prefix}[{key}]" if prefix else str(key), value)


def _encode_value(name: str, value: Any) -> Iterator[Pair]:
    if value is None:
        return
    if isinstance(value, dict):
        yield from _flatten(value, name)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _encode_value(f"{name}[{index}]", item)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    elif isinstance(value, datetime):
        yield name, str(_epoch(value))
    elif isinstance(value, str | int | float | Decimal):
        yield name, str(value)
    else:
        raise RequestError(
            f"parameter {name!r} is a {type(value).__name__}, which has no query form: "
            "pass str, int, float, bool, Decimal, datetime, None, or lists and dicts of these"
        )


def _epoch(moment: datetime) -> int:
    # A naive datetime is local time, as in the SDK.
    if moment.tzinfo is not None and moment.utcoffset() is not None:
        return calendar.timegm(moment.utctimetuple())
    return int(time.mktime(moment.timetuple()))

"""List filters and the search language: which objects a caller asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from local.fake_stripe.errors import parameter_invalid
from local.fake_stripe.forms import typed

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.fake_stripe.store import Body

_NOT_FILTERS = {"limit", "starting_after", "ending_before", "expand", "include", "page"}
_ENDED = {"canceled", "incomplete_expired"}
_CLAUSE = re.compile(r"""^(-?)([\w.]+(?:\["[^"]+"\])?)\s*(:|~|<=|>=|<|>)\s*(?:"([^"]*)"|'([^']*)'|(\S+))$""")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
}
_SIGNS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def accepts(body: Body, params: dict[str, Any]) -> bool:
    """Tell whether every filter fits; a filter that names no field of the object is ignored."""
    if body["object"] == "subscription" and "status" not in params and body["status"] in _ENDED:
        return False
    return all(_accepts_one(body, name, value) for name, value in params.items() if name not in _NOT_FILTERS)


def _accepts_one(body: Body, name: str, value: Any) -> bool:
    if name == "status" and value in {"all", "ended"}:
        return value == "all" or body.get("status") in _ENDED
    if isinstance(value, list):
        field = {"ids": "id", "types": "type", "lookup_keys": "lookup_key"}.get(name, name)
        return field not in body or body[field] in value
    held = _field(body, name)
    if isinstance(value, dict) and held is not _ABSENT:
        if set(value) <= set(_COMPARE):
            return all(_COMPARE[sign](held or 0, int(bound)) for sign, bound in value.items())
        return isinstance(held, dict) and all(held.get(key) == typed(key, item) for key, item in value.items())
    if name == "type" and str(value).endswith("*"):
        return str(held).startswith(str(value)[:-1])
    return held is _ABSENT or bool(held == value or held == typed(name, value))


_ABSENT = object()


def _field(body: Body, name: str) -> Any:
    """Return what a filter's name stands for: mostly the field of that name."""
    kind = body["object"]
    if kind == "subscription" and name in {"price", "plan"}:
        prices = [item["price"] for item in body["items"]["data"]]
        return prices[0] if prices else None
    if kind == "invoice" and name == "subscription":
        parent = body.get("parent") or {}
        return (parent.get("subscription_details") or {}).get("subscription")
    if kind == "promotion_code" and name == "coupon":
        return body["promotion"]["coupon"]
    return body.get(name, _ABSENT)


def compile_query(query: str) -> Callable[[Body], bool]:
    """Turn Stripe's search language (`email:"a@b.c" AND metadata["k"]:"v"`) into a predicate."""
    joined_by_or = " OR " in query
    clauses = [_clause(text.strip()) for text in re.split(r" OR " if joined_by_or else r" AND ", query)]

    def matches(body: Body) -> bool:
        results = (clause(body) for clause in clauses)
        return any(results) if joined_by_or else all(results)

    return matches


def _clause(text: str) -> Callable[[Body], bool]:
    found = _CLAUSE.match(text)
    if not found:
        raise parameter_invalid("query", f"We were unable to parse your search query near: {text}")
    negated, name, sign = found.group(1), found.group(2), found.group(3)
    wanted = next((group for group in found.groups()[3:] if group is not None), "")
    field, _, key = name.partition('["')

    def holds(body: Body) -> bool:
        held = body.get(field)
        if key:
            held = (held or {}).get(key[:-2])
        if held is None:
            return wanted == "null"
        if sign in _SIGNS:
            return _COMPARE[_SIGNS[sign]](held, int(wanted))
        shown = str(held).lower()
        return wanted.lower() in shown if sign == "~" else shown == wanted.lower()

    return lambda body: holds(body) != bool(negated)

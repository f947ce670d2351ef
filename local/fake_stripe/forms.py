"""Stripe's request parameters: bracketed form fields to nested values, and text to the type a field has."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, quote_plus

_KEY = re.compile(r"\[([^\]]*)\]")
# Fields whose digits are text. Every other field of digits is a number.
_TEXT = frozenset(
    {
        "name",
        "description",
        "phone",
        "line1",
        "line2",
        "postal_code",
        "number",
        "tax_id",
        "value",
        "email",
        "lookup_key",
        "nickname",
        "id",
        "reference",
        "code",
        "statement_descriptor",
        "account_number",
        "routing_number",
        "version",
    }
)


def decode(query: str) -> dict[str, Any]:
    """Turn `a[b][0]=c` into nested dicts and lists; text only."""
    root: dict[str, Any] = {}
    if not query:
        return root
    for key, value in parse_qsl(query, keep_blank_values=True):
        head, bracket, _ = key.partition("[")
        parts = [head, *_KEY.findall(key)] if bracket else [head]
        node = root
        for part in parts[:-1]:
            child = node.setdefault(part, {})
            node = child if isinstance(child, dict) else {}
        last = parts[-1] if parts[-1] or len(parts) == 1 else str(len(node))
        node[last] = value
    return {key: value if key == "metadata" else _lists(value) for key, value in root.items()}


def encode(params: dict[str, Any], prefix: str = "") -> str:
    """Turn nested values into form fields as the SDK does."""
    fields = []
    for key, value in params.items():
        name = f"{prefix}[{key}]" if prefix else key
        if isinstance(value, dict):
            fields.append(encode(value, name))
        elif isinstance(value, list | tuple):
            fields.append(encode({str(index): item for index, item in enumerate(value)}, name))
        else:
            text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
            fields.append(f"{quote_plus(name, safe='[]')}={quote_plus(text)}")
    return "&".join(field for field in fields if field)


def typed(name: str, value: Any) -> Any:
    """Give a field's text the type that Stripe would; "" unsets a field, and metadata stays text."""
    if isinstance(value, dict):
        return value if name == "metadata" else {key: typed(key, item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(name, item) for item in value]
    return _scalar(name, value) if isinstance(value, str) else value


def _scalar(name: str, text: str) -> str | bool | float | None:
    if text in {"", "true", "false"}:
        return None if text == "" else text == "true"
    if name in {"percent_off", "percentage"}:
        return float(text)
    return int(text) if name not in _TEXT and text.lstrip("-").isdigit() else text


def _lists(value: Any) -> Any:
    """Turn {"0": a, "1": b} into [a, b], all the way down."""
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: item if key == "metadata" else _lists(item) for key, item in value.items()}

"""Turn what a command line or a JSON file can say into the types of a configuration's fields."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from stripe_cache_cdk.checks import check_enum
from stripe_cache_cdk.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Iterable

SWITCHES = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
# What the CDK and its command line keep in the context; theirs have a colon or a slash but for these.
_OF_CDK = frozenset({"acknowledged-issue-numbers", "cli-telemetry", "tree"})


def converted(field: str, value: object, kind: Any) -> Any:
    """Return the value as `kind`; raises StageError naming the field when it cannot be read as one."""
    if kind is str:
        return _text(field, value)
    if kind is int:
        return _whole(field, value)
    if kind is bool:
        return _switch(field, value)
    if kind == tuple[str, ...]:
        return _texts(field, value)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return check_enum(field, _text(field, value), kind)
    return _group(field, value, kind)


def own_context(context: Mapping[str, object]) -> dict[str, object]:
    """Return what of an app's context is not the CDK's own: flags, cached look-ups, notes of the command line."""
    return {
        name: value
        for name, value in context.items()
        if not (name.startswith("@") or ":" in name or "/" in name or name in _OF_CDK)
    }


def check_names(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise StageError for the first name that is not known, with the nearest that is."""
    known = tuple(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise StageError(f"{name} is no {what}: {remedy}")


def _text(field: str, value: object) -> str:
    if isinstance(value, str):
        return value
    # The account's digits, where JSON has them as a number. A fraction such as 3.10 has lost a digit already.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise StageError(f"{field}={value!r} is a {type(value).__name__}: give text, in JSON between quotes")


def _whole(field: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,12}", value):
        return int(value)
    raise StageError(f"{field}={value!r}: give a whole number")


def _switch(field: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in SWITCHES:
        return SWITCHES[value.lower()]
    raise StageError(f"{field}={value!r}: give true or false")


def _texts(field: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return tuple(value)
    raise StageError(f"{field}={value!r}: give names with commas between them, or a list")


def _group(field: str, value: object, kind: Any) -> Any:
    """Return a dataclass from one, from a mapping of its fields, or from `name=value,name=value`."""
    if isinstance(value, kind):
        return value
    names = [part.name for part in dataclasses.fields(kind)]
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",")]
        value = {name.strip(): text.strip() for name, _, text in pairs}
    if not isinstance(value, Mapping):
        raise StageError(f"{field}={value!r}: give {','.join(f'{name}=...' for name in names)}")
    check_names(value, names, f"part of {field}")
    return kind(**value)

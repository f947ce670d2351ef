"""Turn what a command line or a JSON file can say into the types of a configuration's fields."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from stripe_cache_cdk.checks import check_enum
from stripe_cache_cdk.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Iterable

SWITCHES = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
# What the CDK and its command line keep in the context; theirs have a colon or a slash but for these.
_OF_CDK = frozenset({"acknowledged-issue-numbers", "cli-telemetry", "tree"})


def converted(field: str, value: object, kind: Any) -> Any:
    """Return the value as `kind`; raises StageError naming the field when it cannot be read as one."""
    readers = {str: _text, int: _whole, float: _number, bool: _switch, tuple[str, ...]: _texts}
    if kind in readers:
        return readers[kind](field, value)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return check_enum(field, _text(field, value), kind)
    if get_origin(kind) in {Union, UnionType}:
        return _one_of(field, value, get_args(kind))
    if get_origin(kind) is Mapping:
        return _mapping(field, value)
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


def _number(field: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,12})?", value):
        return float(value)
    raise StageError(f"{field}={value!r}: give a number")


def _one_of(field: str, value: object, kinds: tuple[Any, ...]) -> Any:
    """Return None or a word that is admitted as they are, and anything else as the first kind."""
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    return value if value is None or value in words else converted(field, value, kinds[0])


def _mapping(field: str, value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise StageError(f"{field}={value!r}: give a mapping, in JSON between braces")


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
    """Return a dataclass from one, from a mapping of its fields, in JSON as well, or from `name=value,name=value`."""
    if isinstance(value, kind):
        return value
    names = [part.name for part in dataclasses.fields(kind)]
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise StageError(f"{field} is no JSON ({error}): mend it, or give name=value,name=value") from error
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",")]
        value = {name.strip(): text.strip() for name, _, text in pairs}
    if not isinstance(value, Mapping):
        raise StageError(f"{field}={value!r}: give {','.join(f'{name}=...' for name in names)}")
    check_names(value, names, f"part of {field}")
    hints = get_type_hints(kind)
    given = {name: converted(f"{field}.{name}", one, hints[name]) for name, one in value.items()}
    try:
        return kind(**given)
    except StageError as error:
        raise StageError(f"{field}.{error}") from error

"""Which requests Stripe's API knows: method, path template and object type, read out of the installed stripe SDK.

The SDK's service modules are generated from Stripe's own description of its API, one `_request("get", "/v1/...")` per
operation, so the fake knows exactly what the SDK can ask. The modules are scanned as text: importing them all takes
seconds.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_CALL = re.compile(r'cast\(\s*(.{1,200}?),\s*self\._request\(\s*"(get|post|delete)",\s*"(/v[12][^"]*)"', re.DOTALL)
_OBJECT_NAME = re.compile(r'^class (\w+)\(|^    OBJECT_NAME: ClassVar\[\s*Literal\[\s*"([^"]+)"', re.MULTILINE)
_IMPORT = re.compile(r"^\s+from (stripe[\w.]*) import (?:\(\s*)?(\w+)", re.MULTILINE)
_EVENT_TYPE = re.compile(r'^\s+"([a-z_0-9]+(?:\.[a-z_0-9]+)+)",?$', re.MULTILINE)
_WORD = re.compile(r"\w+")
_LIST_CLASSES = {"ListObject": "list", "SearchResultObject": "search"}
_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Operation:
    """One operation of the API. `kind` is list, search or object; `name` is the SDK's path template."""

    method: str
    template: str
    kind: str
    object_type: str

    @property
    def segments(self) -> tuple[str, ...]:
        """The template's parts behind /v1 or /v2."""
        return tuple(self.template.split("/")[2:])

    @property
    def is_item(self) -> bool:
        """Whether the template ends in the id of one object."""
        return self.template.endswith("}")

    @property
    def action(self) -> str | None:
        """The word behind an object's id in a POST that is no creation in a sub-collection."""
        parts = self.segments
        return parts[-1] if self.method == "POST" and len(parts) > 2 and parts[-2].startswith("{") else None  # noqa: PLR2004 -- noun, id, action


@dataclass(frozen=True)
class Match:
    """An operation, and the values of its path parameters in order."""

    operation: Operation
    values: tuple[str, ...]


class Router:
    """Finds the operation of a method and a path; a fixed word wins over a parameter."""

    def __init__(self, operations: tuple[Operation, ...]) -> None:
        self.operations = operations
        self._fixed: dict[tuple[str, str], Operation] = {}
        self._patterns: dict[tuple[str, int], list[tuple[re.Pattern[str], Operation]]] = {}
        for operation in sorted(operations, key=lambda each: each.template.count("{")):
            if "{" not in operation.template:
                self._fixed[operation.method, operation.template] = operation
                continue
            pattern = re.compile(_PARAMETER.sub("([^/]+)", operation.template))
            depth = operation.template.count("/")
            self._patterns.setdefault((operation.method, depth), []).append((pattern, operation))

    def match(self, method: str, path: str) -> Match | None:
        """Return the operation that Stripe would run, or None for a URL it does not know."""
        fixed = self._fixed.get((method, path))
        if fixed:
            return Match(fixed, ())
        for pattern, operation in self._patterns.get((method, path.count("/")), ()):
            found = pattern.fullmatch(path)
            if found:
                return Match(operation, found.groups())
        return None

    def retrieve_template(self, object_type: str) -> str | None:
        """Return the shortest GET template of one object of this type."""
        found = [
            operation.template
            for patterns in self._patterns.values()
            for _, operation in patterns
            if (operation.method, operation.kind, operation.object_type) == ("GET", "object", object_type)
            and operation.is_item
        ]
        return min(found, key=len, default=None)


@cache
def router() -> Router:
    """Return the router over everything the installed SDK can ask."""
    root = _sdk()
    names = _object_names(root)
    operations: dict[tuple[str, str], Operation] = {}
    for module in sorted(root.rglob("_*_service.py")):
        text = module.read_text()
        imported = {name: names.get((source, name), "") for source, name in _IMPORT.findall(text)}
        for returned, method, template in _CALL.findall(text):
            words = _WORD.findall(returned)
            kind = next((_LIST_CLASSES[word] for word in words if word in _LIST_CLASSES), "object")
            types = [imported[word] for word in words if imported.get(word)]
            # Customers and accounts have collections of several types: a card is the common one.
            object_type = "card" if "card" in types else next(iter(types), "")
            operation = Operation(method.upper(), template, kind, object_type)
            operations.setdefault((operation.method, template), operation)
    return Router(tuple(operations.values()))


@cache
def event_types() -> frozenset[str]:
    """Return every type a snapshot event can have."""
    text = (_sdk() / "params" / "_webhook_endpoint_create_params.py").read_text()
    return frozenset(_EVENT_TYPE.findall(text))


def _object_names(root: Path) -> dict[tuple[str, str], str]:
    """Map each resource class, by module and name, to its `object` value: five modules have a class `Session`."""
    names: dict[tuple[str, str], str] = {}
    for module in root.rglob("_*.py"):
        if module.parent.name in {"params", "events"} or module.name.endswith("_service.py"):
            continue
        dotted = ".".join(["stripe", *module.relative_to(root).with_suffix("").parts])
        current = ""
        for class_name, object_name in _OBJECT_NAME.findall(module.read_text()):
            if object_name:
                names.setdefault((dotted, current), object_name)
            else:
                current = class_name
    return names


def _sdk() -> Path:
    spec = importlib.util.find_spec("stripe")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the stripe package is not installed: run `make setup`")
    return Path(spec.origin).parent

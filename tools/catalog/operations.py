"""Operations: every request the SDK's services can make, and what each returns."""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass

from catalog import objects, sources

# Answers computed for the caller's question: no object stands behind them, and no event says when they change.
COMPUTED = re.compile(r"/(preview|create_preview)(/|$)")
PARAMETER = re.compile(r"\{(\w+)\}")
# The order in which a filter becomes the partition: the narrowest everyday question first.
PARTITION_ORDER = ("customer", "account", "subscription", "product", "invoice", "payment_intent", "charge")
# Filters that get no partition although every member carries the field. Webhook endpoints with an older API version
# send bodies without them, and a body that lacks a partition's field must void every partition of its list: one rare
# filter would cost all the others. Answers to these filters live in the collection's plain record.
UNPARTITIONED = frozenset({"customer_account", "test_clock"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One method and path template."""

    method: str
    path: str
    kind: str
    objects: tuple[str, ...]
    base: str
    partitions: tuple[str, ...]
    fields: tuple[str, ...]
    """For each path parameter of a list: the field of its members that holds the parameter's value, or nothing."""


@functools.cache
def operations() -> tuple[Operation, ...]:
    """Read all services; ordered by path, then method."""
    root = sources.sdk_root()
    raw: dict[tuple[str, str], _Call] = {}
    for file in sorted(root.rglob("_*_service.py")):
        module = ".".join(("stripe", *file.relative_to(root).with_suffix("").parts))
        for call in _calls(module):
            raw.setdefault((call.path, call.method), call)
    if not raw:
        raise sources.SdkError(f"no operation found in {root}: the services are written differently now")
    listed = {path for (path, method), call in raw.items() if method == "get" and call.shape == "list"}
    retrieves = {
        PARAMETER.sub("{}", path): call.objects
        for (path, method), call in raw.items()
        if method == "get" and path.endswith("}")
    }
    return tuple(_operation(call, listed, retrieves) for _, call in sorted(raw.items()))


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    function: str
    objects: tuple[str, ...]
    shape: str
    base: str
    parameters: tuple[str, ...]


def _calls(module: str) -> list[_Call]:
    return [
        call
        for cls in sources.tree(module).body
        if isinstance(cls, ast.ClassDef)
        for function in cls.body
        if isinstance(function, ast.FunctionDef) and (call := _call(module, function)) is not None
    ]


def _call(module: str, function: ast.FunctionDef) -> _Call | None:
    for node in ast.walk(function):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr not in {"_request", "_request_stream"} or function.returns is None:
            continue
        method, path = node.args[0], node.args[1]
        if isinstance(path, ast.Call) and isinstance(path.func, ast.Attribute):
            path = path.func.value  # "...".format(...)
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        returned = list(sources.names(function.returns))
        shape = "stream" if node.func.attr == "_request_stream" else ""
        shape = shape or ("search" if "SearchResultObject" in returned else "list" if "ListObject" in returned else "")
        return _Call(
            method=str(ast.literal_eval(method)),
            path=str(ast.literal_eval(path)),
            function=function.name,
            objects=objects.resolve(module, function.returns),
            shape=shape,
            base=str(ast.literal_eval(keywords["base_address"])),
            parameters=_parameters(module, function),
        )
    return None


def _parameters(module: str, function: ast.FunctionDef) -> tuple[str, ...]:
    """List the names of a function's request parameters, in the SDK's order."""
    note = next((a.annotation for a in function.args.args if a.arg == "params" and a.annotation), None)
    for name in sources.names(note) if note else ():
        where, cls = sources.imports(module).get(name, ("", ""))
        if cls.endswith("Params") and (node := sources.class_in(where, cls)) is not None:
            return tuple(sources.fields(node))
    return ()


def _operation(call: _Call, listed: set[str], retrieves: dict[str, tuple[str, ...]]) -> Operation:
    kind = _kind(call, listed)
    readable = kind in {"list", "singleton"} and call.method == "get"
    return Operation(
        method=call.method,
        path=call.path,
        kind=kind,
        objects=call.objects,
        base=call.base,
        partitions=_partitions(call) if readable and "{" not in call.path else (),
        fields=_parameter_fields(call, retrieves) if readable else (),
    )


def _kind(call: _Call, listed: set[str]) -> str:
    if COMPUTED.search(call.path):
        return "action"
    if call.method == "get":
        return call.shape or ("retrieve" if call.path.endswith("}") else "singleton")
    if call.method == "delete":
        return "delete"
    if call.path.endswith("}") or call.function == "update":
        return "update"
    return "create" if call.path in listed or call.function == "create" else "action"


def _partitions(call: _Call) -> tuple[str, ...]:
    """List the filters of a collection that every member answers itself, by a field of the same name."""
    if len(call.objects) != 1:
        return ()
    types = objects.object_classes()
    known = types[call.objects[0]]
    found = [
        name
        for name in call.parameters
        if name not in UNPARTITIONED and (known.fields.get(name) or (name in known.strings and name in types))
    ]
    return tuple(sorted(found, key=lambda n: (PARTITION_ORDER.index(n) if n in PARTITION_ORDER else 99, n)))


def _parameter_fields(call: _Call, retrieves: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    found = []
    for match in PARAMETER.finditer(call.path):
        # Templates of one path disagree on their parameters' names: /v1/transfers/{transfer}, {id}/reversals.
        parents = retrieves.get(PARAMETER.sub("{}", call.path[: match.end()]), ())
        candidates = {_field_for(name, match[1], parents) for name in call.objects} - {""}
        # Members of several types must agree, or the record would depend on which of them changed.
        found.append(candidates.pop() if len(candidates) == 1 else "")
    return tuple(found)


def _field_for(name: str, parameter: str, parents: tuple[str, ...]) -> str:
    """Find the member's field that names its parent; `id` in a template is the parent's, never the member's."""
    known = objects.object_classes()[name]
    if parameter != "id" and (known.fields.get(parameter) or parameter in known.strings):
        return parameter
    naming = [field for field, types in known.fields.items() if set(types) & set(parents)]
    if len(naming) == 1:
        return naming[0]
    return next((last for parent in parents if (last := parent.rpartition(".")[2]) in known.strings), "")

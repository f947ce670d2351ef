"""Object types: what each is called, which fields name other objects, which look secret or personal."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass

from catalog import sources

# Names whose value lets its holder act, pay or read: judged by name, so document numbers are excepted below.
SECRET_NAMES = frozenset(
    [
        "account_number",
        "authentication_token",
        "client_secret",
        "cvc",
        "hosted_verification_url",
        "iban",
        "id_number",
        "number",
        "password",
        "secret",
        "signing_secret",
        "verified_outputs",
    ]
)
# The `number` of these is a document's, printed on what the customer receives.
DOCUMENT_NUMBERS = frozenset({"credit_note", "invoice", "quote"})
PII_NAMES = frozenset(
    [
        "account_holder_name",
        "address",
        "billing_details",
        "dob",
        "email",
        "first_name",
        "id_number",
        "ip_address",
        "last4",
        "last_name",
        "maiden_name",
        "name",
        "phone",
        "shipping",
        "ssn_last_4",
        "tax_id",
    ]
)
# A `name` is a person's or a company's only on these; elsewhere it labels a product, a file, a filter.
NAMED_PERSONS = ("account", "customer", "person", "cardholder", "payment_method", "charge", "billing_details")
DEEPEST = 6


@dataclass(frozen=True, slots=True)
class ObjectClass:
    """One resource class of the SDK."""

    name: str
    module: str
    cls: str
    fields: dict[str, tuple[str, ...]]
    """Top-level field -> object types it may name by id, empty for the rest."""
    strings: frozenset[str]
    """Top-level fields that hold plain text."""
    secrets: tuple[str, ...]
    personal: tuple[str, ...]


@functools.cache
def registry() -> dict[tuple[str, str], str]:
    """Map (module, class) to the value of `object`, for v1 and v2."""
    found: dict[tuple[str, str], str] = {}
    for node in sources.tree("stripe._object_classes").body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)):
            continue
        for key, value in zip(node.value.keys, node.value.values, strict=True):
            # Event classes are registered by event type, not by `object`; lists are no objects of their own.
            if isinstance(key, ast.Constant) and isinstance(value, ast.Tuple):
                module, cls = (ast.literal_eval(element) for element in value.elts)
                if cls not in {"ListObject", "SearchResultObject"}:
                    found.setdefault((module, cls), object_name(module, cls))
    return {key: name for key, name in found.items() if name}


@functools.cache
def object_name(module: str, cls: str) -> str:
    """Return a class's OBJECT_NAME, or an empty string for a class that has none."""
    node = sources.class_in(module, cls)
    if node is None:
        return ""
    declared = sources.fields(node).get("OBJECT_NAME")
    if declared is None:
        return ""
    return next(iter(sources.literals(declared.slice if isinstance(declared, ast.Subscript) else declared)), "")


def resolve(module: str, node: ast.expr) -> tuple[str, ...]:
    """Name the object types that an annotation mentions, sorted."""
    known = registry()
    imported = sources.imports(module)
    mentioned = (imported[name] for name in sources.names(node) if name in imported)
    return tuple(sorted({known[target] for target in mentioned if target in known}))


@functools.cache
def object_classes() -> dict[str, ObjectClass]:
    """Read every registered resource class."""
    return {name: _read(name, module, cls) for (module, cls), name in sorted(registry().items(), key=lambda i: i[1])}


def _read(name: str, module: str, cls: str) -> ObjectClass:
    node = sources.class_in(module, cls)
    if node is None:
        raise sources.SdkError(f"{module} has no class {cls}")
    top = {field: note for field, note in sources.fields(node).items() if field != "OBJECT_NAME"}
    walked = sorted(_walk(node, (), 0))
    return ObjectClass(
        name=name,
        module=module,
        cls=cls,
        fields={field: _references(module, note) for field, note in top.items()},
        strings=frozenset(field for field, note in top.items() if set(sources.names(note)) <= {"Optional", "str"}),
        secrets=tuple(path for path in walked if _is_secret(name, path)),
        personal=tuple(path for path in walked if _is_personal(name, path)),
    )


def _references(module: str, note: ast.expr) -> tuple[str, ...]:
    """Name what an expandable field names; a field that always holds the whole object is no reference."""
    found = list(sources.names(note))
    return resolve(module, note) if "ExpandableField" in found and "List" not in found else ()


def _walk(node: ast.ClassDef, prefix: tuple[str, ...], depth: int) -> list[str]:
    """List the dotted paths of all fields, through the classes nested in the resource's own."""
    nested = {item.name: item for item in node.body if isinstance(item, ast.ClassDef)}
    found: list[str] = []
    for field, note in sources.fields(node).items():
        path = (*prefix, field)
        found.append(".".join(path))
        for name in sources.names(note):
            if name in nested and depth < DEEPEST:
                found += _walk(nested[name], path, depth + 1)
    return found


def _is_secret(name: str, path: str) -> bool:
    last = path.rpartition(".")[2]
    return last in SECRET_NAMES and not (last == "number" and name in DOCUMENT_NUMBERS)


def _is_personal(name: str, path: str) -> bool:
    parent, _, last = path.rpartition(".")
    if last == "name":
        return any(word in name or word in parent for word in NAMED_PERSONS)
    return last in PII_NAMES

"""Reads the SDK's modules as syntax trees: importing 1,600 modules would take longer and say less about annotations."""

from __future__ import annotations

import ast
import functools
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class SdkError(Exception):
    """The SDK does not look as this generator expects: the generator needs work before its result can be trusted."""


@functools.cache
def sdk_root() -> Path:
    """Return the directory of the installed `stripe` package."""
    spec = find_spec("stripe")
    if spec is None or spec.origin is None:
        raise SdkError("the stripe package is not installed: run `make setup`")
    return Path(spec.origin).parent


@functools.cache
def tree(module: str) -> ast.Module:
    """Parse a module given by its dotted name."""
    relative = Path(*module.split(".")[1:])
    file = sdk_root() / relative.with_suffix(".py")
    if not file.exists():
        file = sdk_root() / relative / "__init__.py"
    return ast.parse(file.read_text(encoding="utf-8"))


@functools.cache
def imports(module: str) -> dict[str, tuple[str, str]]:
    """Map each imported name of a module, also under TYPE_CHECKING, to (module, original name)."""
    found: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.update({alias.asname or alias.name: (node.module, alias.name) for alias in node.names})
    return found


def class_in(module: str, name: str) -> ast.ClassDef | None:
    """Find a top-level class by name."""
    return next((node for node in tree(module).body if isinstance(node, ast.ClassDef) and node.name == name), None)


def annotation(node: ast.expr) -> ast.expr:
    """Unquote an annotation that is written as a string, also inside subscripts."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return annotation(ast.parse(node.value, mode="eval").body)
    return node


def names(node: ast.expr) -> Iterator[str]:
    """Yield every plain name inside an annotation, in the order written."""
    node = annotation(node)
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Subscript):
        yield from names(node.value)
        # The members of a Literal are values, not types.
        if not (isinstance(node.value, ast.Name) and node.value.id == "Literal"):
            yield from names(node.slice)
    elif isinstance(node, ast.Tuple):
        for element in node.elts:
            yield from names(element)
    elif isinstance(node, ast.BinOp):
        yield from names(node.left)
        yield from names(node.right)


def literals(node: ast.expr) -> list[str]:
    """List the strings of a `Literal[...]` annotation."""
    node = annotation(node)
    if not (isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal"):
        return []
    members = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return [m.value for m in members if isinstance(m, ast.Constant) and isinstance(m.value, str)]


def fields(node: ast.ClassDef) -> dict[str, ast.expr]:
    """Map the annotated names of a class body to their annotations."""
    return {
        item.target.id: item.annotation
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }

"""Write what stripe-cache knows about Stripe, from the installed stripe SDK; `--check` only compares.

`make catalog` runs this after the SDK was upgraded: the diff of the written files lists what changed at Stripe.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from catalog import coverage, document, render, sources, tables

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "runtime" / "stripe_cache" / "core" / "data"
CATALOG_TYPES = DATA / "catalog_types.json"
TABLES = (DATA / "policy.json", DATA / "effects.json")
# In this order: the documents are made from the policy, which is checked against the catalog written before it.
FILES: dict[Path, Callable[[], str]] = {
    DATA / "catalog.json": render.catalog,
    CATALOG_TYPES: render.catalog_types,
    ROOT / "docs" / "policy.md": document.policy,
    ROOT / "docs" / "coverage.md": coverage.coverage,
}
SHOWN = 20


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` exit 1 and show the first differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed files and change nothing")
    check = parser.parse_args(arguments).check
    current = True
    try:
        for file, make in FILES.items():
            current &= _compare(file, make()) if check else _write(file, make())
            if file == CATALOG_TYPES and (wrong := tables.problems(*(table.read_text() for table in TABLES))):
                print("\n".join(f"catalog: {one}" for one in wrong))
                return 1
    except sources.SdkError as error:
        print(f"catalog: {error}")
        return 1
    if not current:
        print("catalog: run `make catalog`, read the diff and commit it")
    return 0 if current else 1


def _compare(file: Path, made: str) -> bool:
    committed = file.read_text(encoding="utf-8") if file.exists() else ""
    if committed == made:
        return True
    name = str(file.relative_to(ROOT))
    differences = list(difflib.unified_diff(committed.splitlines(), made.splitlines(), name, "generated", n=0))
    print("\n".join(line[:200] for line in differences[:SHOWN]))
    print(f"catalog: {name} differs from what the installed stripe SDK says")
    return False


def _write(file: Path, made: str) -> bool:
    file.parent.mkdir(parents=True, exist_ok=True)
    changed = not file.exists() or file.read_text(encoding="utf-8") != made
    file.write_text(made, encoding="utf-8")
    print(f"catalog: {file.relative_to(ROOT)} {'written' if changed else 'is current'}")
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

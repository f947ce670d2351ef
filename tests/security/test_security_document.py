from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
DOCUMENT = TESTS.parent / "docs" / "security.md"


def test_every_threat_names_tests_that_exist() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if re.match(r"\| [STRIDE] \|", line)]
    assert {row[2] for row in rows} == set("STRIDE")
    file = ""
    for row in rows:
        cell = row.rstrip("| ").rpartition(" | ")[2]
        words = re.findall(r"`([^`]+)`", cell)
        files = [word for word in words if word.endswith(".py")]
        file = files[0] if files else file
        assert files or "same file" in cell or "constructs" in cell, row
        for name in files:
            assert (TESTS / name).is_file(), name
        texts = "".join((TESTS / name).read_text() for name in files or [file])
        for word in words:
            assert word.endswith(".py") or word in texts, f"{word} is no test of {files or file}"

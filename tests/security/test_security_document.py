from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
DOCUMENT = TESTS.parent / "docs" / "security.md"


def test_every_threat_names_tests_that_exist() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if re.match(r"\| [STRIDE] \|", line)]
    assert {row[2] for row in rows} == set("STRIDE")
    for row in rows:
        cell = row.rstrip("| ").rpartition(" | ")[2]
        named = 0
        for part in cell.split("; "):
            name, *tests = re.findall(r"`([^`]+)`", part)
            assert (TESTS / name).is_file(), row
            text = (TESTS / name).read_text()
            for test in tests:
                assert re.search(rf"^(async )?def {re.escape(test)}\(", text, re.MULTILINE), f"{name} has no {test}"
                assert test.startswith("test_"), test
            named += len(tests)
        assert named, f"this row names no test: {row}"

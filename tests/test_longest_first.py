"""What the order of the tests names is there: a file that was renamed would go to the end without a word."""

from __future__ import annotations

from pathlib import Path

from longest_first import LONGEST


def test_every_file_that_is_named_is_there_and_named_once() -> None:
    here = Path(__file__).parent
    assert [name for name in LONGEST if not (here / name).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)

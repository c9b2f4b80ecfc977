"""The page of where it runs names, in each row, a test that shows it, and names them right."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/where-it-runs.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
HEADS = ("| where |", "| --- |")


def test_each_row_names_a_test_that_exists() -> None:
    """A test that is renamed or removed takes its row with it."""
    lines = PAGE.read_text().splitlines()
    rows = [line for line in lines if line.startswith("|") and not line.startswith(HEADS)]
    assert len(rows) > 20
    assert [row for row in rows if not TEST.search(row.rpartition(" | ")[2])] == []
    missing = [
        f"{path}::{name}"
        for path, name in TEST.findall(PAGE.read_text())
        if not (ROOT / path).exists() or f"def {name}(" not in (ROOT / path).read_text()
    ]
    assert missing == []

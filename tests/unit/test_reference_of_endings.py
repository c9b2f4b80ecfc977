"""The reference page of endings names tests that exist, and all of them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_row_is_a_test() -> None:
    """Each row names its test, and each test of an ending has its row."""
    page = (ROOT / "docs/reference/endings.md").read_text()
    tests = (ROOT / "tests/acceptance/test_endings.py").read_text()
    named = set(re.findall(r"`(test_\w+)` \|$", page, re.MULTILINE))

    assert named == set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))

"""The page about the APIs that are known has the table of them, whole."""

from pathlib import Path

from llm_audit.wire.api import Api
from llm_audit.wire.apis import ROWS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "apis.md"


def line(row: Api) -> str:
    """Return a row of the table as the page has it."""
    paths = ", ".join(f"`{path}`" for path in (*row.paths, *row.stream_paths))
    needs = " or ".join(" + ".join(keys.split()) for keys in row.needs)
    streams = "yes" if row.assemble else ""
    return f"| `{row.api}` | {paths} | {needs} | {row.call_type} | {streams} |"


def test_the_page_has_every_row() -> None:
    """Each API with its paths, what the body has to have, and what a call is for."""
    text = PAGE.read_text()
    missing = [line(row) for row in ROWS if line(row) not in text]

    assert "\n".join(missing) == ""
    assert text.count("\n| `") == len(ROWS)

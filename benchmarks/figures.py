"""The figures in the docs: measured once, kept in docs/figures, and put into each page from there.

    make figures                                              # measure everything anew
    FIGURES=docs/figures python -m benchmarks.recording       # one of them
    python -m benchmarks.figures                              # put what is kept into the pages

A page names a table, or the measurement whose command it shows; what is between the marks is
replaced:

    <!-- figures: recording, calling thread -->
    <!-- end of figures -->
"""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
KEPT = DOCS / "figures"
_MARKED = re.compile(r"(<!-- figures: (.+?) -->\n).*?(<!-- end of figures -->)", re.DOTALL)

Row = Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table as it is shown.

    Attributes:
        name: By which a page asks for it.
        titles: Of the columns.
        rows: Their cells.
    """

    name: str
    titles: Row
    rows: Sequence[Row]

    def lines(self) -> list[str]:
        """Return it in Markdown."""
        rows = [self.titles, ["---"] * len(self.titles), *self.rows]
        return [f"| {' | '.join(cells)} |" for cells in rows]


@dataclass(frozen=True)
class Aim:
    """What a figure should be at most; or at least, if it is not met by being small.

    Attributes:
        what: Is measured.
        measured: The figure.
        wanted: What it should be.
        at_least: Whether it should be that or more.
    """

    what: str
    measured: float
    wanted: float
    at_least: bool = False

    def row(self) -> Row:
        """Return it as a row of the table of aims."""
        met = self.measured >= self.wanted if self.at_least else self.measured <= self.wanted
        bound = f"at {'least' if self.at_least else 'most'} {self.wanted:,g}"
        return self.what, bound, f"{self.measured:,.4g}", "yes" if met else "no"


def aims(*wanted: Aim) -> Table:
    """Return the table of what was aimed at."""
    return Table("aims", ("", "aim", "measured", "met"), [aim.row() for aim in wanted])


def publish(measurement: str, tables: Iterable[Table], *, command: str | None = None) -> None:
    """Print tables, and keep them in the folder that the environment names in FIGURES, if it does.

    Args:
        measurement: By which pages ask for them.
        tables: Each with a name of its own.
        command: What measures them; by default this module's, with its arguments.
    """
    kept: dict[str, Any] = {
        "command": command or " ".join(["python -m", f"benchmarks.{measurement}", *sys.argv[1:]]),
        "where": f"{_commit()}{os.cpu_count()} cores, Python {platform.python_version()}",
        "tables": {},
    }
    for table in tables:
        print(f"\n{table.name}", *table.lines(), sep="\n", flush=True)
        kept["tables"][table.name] = table.lines()
    if folder := os.environ.get("FIGURES"):
        text = json.dumps(kept, indent=2, ensure_ascii=False)
        (Path(folder) / f"{measurement}.json").write_text(f"{text}\n")


def filled(page: str, kept: dict[str, Any]) -> str:
    """Return a page with everything that it names in its place.

    Args:
        page: In Markdown.
        kept: What was measured, by name.

    Raises:
        KeyError: The page names what there is not.
    """
    return _MARKED.sub(lambda found: f"{found[1]}\n{_shown(found[2], kept)}\n\n{found[3]}", page)


def named_in(page: str) -> set[str]:
    """Return what a page asks for."""
    return {found[2] for found in _MARKED.finditer(page)}


def all_kept() -> dict[str, Any]:
    """Return what was measured, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))}


def _shown(wanted: str, kept: dict[str, Any]) -> str:
    measurement, _, table = wanted.partition(", ")
    figures = kept[measurement]
    if table:
        return "\n".join(figures["tables"][table])
    return f"`{figures['command']}`: {figures['where']}."


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=DOCS, capture_output=True, text=True, check=False)
    return f"commit {done.stdout.strip()}, " if done.returncode == 0 else ""


def main() -> None:
    """Put what is kept into the pages."""
    kept = all_kept()
    for path in sorted(DOCS.rglob("*.md")):
        before = path.read_text()
        after = filled(before, kept)
        if after != before:
            path.write_text(after)
            print(f"{path.relative_to(DOCS.parent)} has new figures")


if __name__ == "__main__":
    main()

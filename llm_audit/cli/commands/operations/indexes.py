"""`llm-audit indexes`: which are there, what they weigh, what they serve, and who uses them."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from llm_audit.cli.connection import collection_of_calls
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json_rows
from llm_audit.cli.exits import FAILED, NotFoundError
from llm_audit.cli.options import AsJson
from llm_audit.display import figures
from llm_audit.settings import get_settings

if TYPE_CHECKING:
    from pymongo.database import Database

    from llm_audit.diagnosis.indexes import IndexReport

STATE_STYLES = {"there": "green", "extra": "dim", "building": "yellow"}
AT_ONCE = timedelta(minutes=1)  # uses that are counted since then are counted since one moment


def indexes(
    *,
    create: Annotated[
        bool, typer.Option("--create", help="Build those that are missing; reads and writes go on.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the indexes: which are there, how large, how often used, and what each serves.

    Uses are counted by the server asked since its start. The exit code is 1 if one is missing or
    conflicts. Which index serves a query: llm-audit pipeline NAME --explain.
    """
    from llm_audit.diagnosis.indexes import examine_indexes

    with collection_of_calls() as calls:
        database = calls.database
        reports = examine_indexes(database)
        there = {report.collection for report in reports if report.state != "missing"}
        if calls.name not in there:
            raise NotFoundError(
                f"There is no collection {calls.full_name}: its indexes come with the first call "
                "that is recorded into it, or with llm_audit.init()."
            )
        missing = [r for r in reports if r.state == "missing" and r.collection in there]
        if create and missing:
            _build(database, missing)
            reports, missing = examine_indexes(database), []
    if as_json:
        print_json_rows(reports)
    else:
        _print_reports(terminal.console(), database.name, reports, there)
    if missing or any(report.state == "conflicting" for report in reports):
        raise typer.Exit(FAILED)


def _build(database: "Database[dict[str, Any]]", missing: "Sequence[IndexReport]") -> None:
    """Build what is missing, those of a collection together, which reads it only once."""
    from llm_audit.store.ensure import ensure
    from llm_audit.store.indexes import declared_indexes, media_indexes

    console = terminal.console(stderr=True)
    declared = {**declared_indexes(get_settings()), **media_indexes()}
    for collection, rows in groupby(missing, key=lambda row: row.collection):
        names = ", ".join(sorted(row.name for row in rows))
        console.print(f"{collection}: building {names} ...", style="dim")
        ensure(database, collection, declared[collection])
        console.print(f"{collection}: built; reads and writes went on meanwhile.", style="green")


def _print_reports(
    console: Console, database: str, reports: "Sequence[IndexReport]", there: set[str]
) -> None:
    for collection, found in groupby(reports, key=lambda report: report.collection):
        rows = list(found)
        if collection not in there:
            remark = "not there yet; it gets its indexes with its first document"
            console.print(terminal.heading(f"{database}.{collection}", remark))
            continue
        since = [row.uses_since for row in rows if row.uses_since]
        counted = f", uses since {figures.moment(min(since))}" if since else ""
        size = figures.size(sum(row.size_bytes or 0 for row in rows))
        console.print(terminal.heading(f"{database}.{collection}", f"{size}{counted}"))
        _print_table(console, rows, apart=bool(since) and max(since) - min(since) > AT_ONCE)
    if any(row.uses is None and row.state != "missing" for row in reports):
        console.print("How often they are used is not known: that takes the right to $indexStats.")
    for problem in _problems([row for row in reports if row.collection in there]):
        shown = Text.assemble(("✗ ", terminal.FAILURE), problem, overflow="fold")
        console.print(Padding(shown, (0, 0, 0, 2), expand=False))


def _print_table(console: Console, rows: "Sequence[IndexReport]", *, apart: bool) -> None:
    """Print the indexes of a collection; since when uses are counted only where that differs."""
    columns = ("index", "state", "size", "uses", *(["since"] if apart else []), "serves")
    table = terminal.table(*columns, cut="index serves", right="size uses")
    for row in rows:
        state = "building" if row.building else row.state
        since: list[datetime | None] = [row.uses_since] if apart else []
        keys = ", ".join(f"{field} {order}" for field, order in row.keys.items())
        table.add_row(
            terminal.words(row.name),
            Text(state, STATE_STYLES.get(state, terminal.FAILURE)),
            figures.UNKNOWN if row.size_bytes is None else figures.size(row.size_bytes),
            figures.number(row.uses),
            *map(figures.moment, since),
            terminal.words(row.purpose or keys),
        )
    console.print(table)
    console.print()


def _problems(reports: "Sequence[IndexReport]") -> Iterator[str]:
    """Say what is wrong, each with its fix."""
    for row in reports:
        if row.state == "conflicting":
            yield (
                f"{row.name} conflicts with the existing {row.conflicts_with}: in mongosh, "
                f'db.getCollection("{row.collection}").dropIndex("{row.conflicts_with}"), then '
                "llm-audit indexes --create"
            )
    if missing := [row.name for row in reports if row.state == "missing"]:
        yield f"Missing: {', '.join(missing)}. Build with llm-audit indexes --create"

"""`llm-audit search`: which calls said something, and how."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from llm_audit.cli import terminal
from llm_audit.cli.answers import WEEK
from llm_audit.cli.calls import SHOWN, add_call, call_table
from llm_audit.cli.connection import collection_of_calls
from llm_audit.cli.json_lines import print_json
from llm_audit.cli.options import AsJson, Limit, described, filtered
from llm_audit.cli.parts import role_style
from llm_audit.cli.passages import Passage, find_passages
from llm_audit.queries import pipelines
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.pipelines.finding import SEARCHED
from llm_audit.settings import get_settings

AROUND = 200  # characters on each side of what was found, for machines
INDENT = 2
FOUND = "bold black on yellow"


@filtered(since=WEEK)
def search(
    text: Annotated[
        str,
        typer.Argument(metavar="TEXT", help="In capitals or not; nothing in it is special."),
    ],
    *,
    filters: CallFilters,
    limit: Limit = 20,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Only calls older than this one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the calls in which something was said, newest first, with the last place where it was.

    System prompt, messages, input and response are read, arguments and results of tools included.
    Without the setting text_index the calls of the time range are read one by one; with it they are
    looked up, and only whole words are found.
    """
    indexed = get_settings().text_index
    pipeline = [
        *pipelines.search(text, text_index=indexed, limit=limit, after=after, **filters),
        {"$project": dict.fromkeys((*SHOWN, *SEARCHED, "other_choices"), 1)},
    ]
    console = terminal.console()
    if not as_json:
        title = f"Calls that say {terminal.cell(text)!r}"
        console.print(terminal.heading(title, described(filters)))
    last: Mapping[str, Any] | None = None
    with collection_of_calls() as collection:
        found = 0
        for call in collection.aggregate(pipeline, batchSize=1):  # shown as soon as it is found
            if as_json:
                passages = find_passages(call, text, around=AROUND)
                shown = {name: call[name] for name in ("_id", *SHOWN) if name in call}
                print_json(shown | {"passages": list(map(_document, passages))})
            else:
                _print_call(console, call, text, header=not found)
            last, found = call, found + 1
    if as_json:
        return
    if last is None:
        console.print("No such calls.")
    elif found == limit:
        console.print(f"The next ones: --after {last['_id']}", style="dim")


def _document(passage: Passage) -> dict[str, str]:
    return {"where": passage.where, "text": f"{passage.before}{passage.found}{passage.after}"}


def _print_call(console: Console, call: Mapping[str, Any], text: str, *, header: bool) -> None:
    table = call_table(console, show_header=header)
    add_call(table, call)
    console.print(table)
    passages = find_passages(call, text, around=console.width)
    if passages:
        console.print(_line(console, passages[-1], further=len(passages) - 1))


def _line(console: Console, passage: Passage, *, further: int) -> Text:
    """Return a passage in one line of the terminal, what was found in its middle."""
    label = f"{' ' * INDENT}{terminal.cell(passage.where)}  "
    more = f"  and {further:,} more" if further else ""
    room = max(console.width - len(label) - len(more), 1)
    found = Text(passage.found, FOUND)
    found.truncate(room, overflow="ellipsis")
    before, after = Text(passage.before), Text(passage.after)
    free = room - found.cell_len
    for_before = max(free // 2, free - after.cell_len)
    if before.cell_len > for_before:
        kept = max(for_before - 1, 0)
        before = Text("…" + (before.plain[-kept:] if kept else "")) if for_before else Text()
    after.truncate(max(free - before.cell_len, 0), overflow="ellipsis")
    style = role_style(passage.where)
    return Text.assemble((label, style), before, found, after, (more, "dim"), no_wrap=True)

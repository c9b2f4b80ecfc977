"""`llm-audit search`: which calls said something, and how."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from llm_audit.call import SAID
from llm_audit.cli.commands.calls import SHOWN, print_next_page, with_whole_parents
from llm_audit.cli.connection import Call, collection_of_calls, find_call
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.call_table import CallTable
from llm_audit.cli.drawing.json_lines import print_json_rows
from llm_audit.cli.drawing.parts import role_style
from llm_audit.cli.drawing.passages import Passage, find_passages
from llm_audit.cli.drawing.rows import WEEK
from llm_audit.cli.options import AsJson, Limit, described, filtered
from llm_audit.queries import pipelines
from llm_audit.queries.filters import CallFilters
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
        str | None,
        typer.Option(metavar="ID", help="Only calls older than this one; its beginning will do."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the calls in which something was said, newest first, with the last place where it was.

    System prompt, messages, input and responses are read, arguments and results of tools too.
    Without the setting text_index the calls of the time range are read one by one; with it they are
    looked up, and only whole words are found.
    """
    with collection_of_calls() as collection:
        filters = with_whole_parents(collection, filters)
        last = None if after is None else find_call(collection, after)["_id"]
        pipeline = [
            *pipelines.search(
                text, text_index=get_settings().text_index, limit=limit, after=last, **filters
            ),
            {"$project": dict.fromkeys((*SHOWN, *SAID), 1)},
        ]
        calls = collection.aggregate(pipeline, batchSize=1)  # each is shown as soon as it is found
        if as_json:
            for call in calls:
                _print_json(call, text)
        else:
            _print_calls(calls, text, filters, limit)


def _print_json(call: Call, text: str) -> None:
    passages = find_passages(call, text, around=AROUND)
    shown = {name: call[name] for name in ("_id", *SHOWN) if name in call}
    print_json_rows([shown | {"passages": list(map(_document, passages))}])


def _print_calls(calls: Iterable[Call], text: str, filters: CallFilters, limit: int) -> None:
    console = terminal.console()
    title = f"Calls that say {terminal.cell(text)!r}"
    console.print(terminal.heading(title, terminal.cell(described(filters))))
    table = CallTable(console)
    found, last_id = 0, ""
    for call in calls:
        table.print([call], header=not found)
        if passages := find_passages(call, text, around=console.width):
            console.print(_line(console, passages[-1], further=len(passages) - 1))
        found, last_id = found + 1, call["_id"]
    if not found:
        console.print("No such calls.")
    elif found == limit:
        print_next_page(console, last_id)


def _document(passage: Passage) -> dict[str, str]:
    return {"where": passage.where, "text": f"{passage.before}{passage.found}{passage.after}"}


def _line(console: Console, passage: Passage, *, further: int) -> Text:
    """Return a passage in one line of the terminal, what was found in its middle."""
    label = f"{' ' * INDENT}{terminal.cell(passage.where)}  "
    more = f"  and {further:,} more" if further else ""
    room = max(console.width - len(label) - len(more), 1)
    found = Text(passage.found, FOUND)
    found.truncate(room, overflow="ellipsis")
    after = Text(passage.after)
    free = room - found.cell_len
    before = terminal.cut_from_left(passage.before, max(free // 2, free - after.cell_len))
    after.truncate(max(free - cell_len(before), 0), overflow="ellipsis")
    style = role_style(passage.where)
    return Text.assemble((label, style), before, found, after, (more, "dim"), no_wrap=True)

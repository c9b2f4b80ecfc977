"""`llm-audit search`: which calls said something, and how."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from llm_audit.cli.commands.calls.lists import print_next_page, with_whole_parents
from llm_audit.cli.connection import find_call, repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.call_table import CallTable
from llm_audit.cli.drawing.json_rows import print_json_rows
from llm_audit.cli.drawing.parts import role_style
from llm_audit.cli.drawing.rows import WEEK
from llm_audit.cli.exits import say
from llm_audit.cli.options import AsJson, Limit, described, filtered
from llm_audit.display import figures
from llm_audit.display.json_lines import json_row
from llm_audit.display.passages import Passage
from llm_audit.queries.filters import CallFilters

if TYPE_CHECKING:
    from llm_audit.display.finding import Hit

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
    from llm_audit.display.finding import find

    with repository() as questions:
        filters = questions.ask(with_whole_parents(filters))
        last = None if after is None else questions.ask(find_call(after))["_id"]
        shown = _Shown(text, limit, as_json=as_json)
        # each as soon as it is found
        steps = find(
            text,
            shown.add,
            around=shown.around,
            limit=limit,
            after=last,
            batch_size=1,
            **filters,
        )
        shown.begin(filters)
        reasons = questions.ask(steps)
        shown.end()
    for reason in reasons:
        say(reason)


class _Shown:
    """The calls that are found, one below the other."""

    def __init__(self, text: str, limit: int, *, as_json: bool) -> None:
        self._text = text
        self._limit = limit
        self._as_json = as_json
        self._console = terminal.console()
        self._table = CallTable(self._console)
        self._found, self._last_id = 0, ""

    def begin(self, filters: CallFilters) -> None:
        """Say what is looked for."""
        if not self._as_json:
            title = f"Calls that say {figures.cell(self._text)!r}"
            self._console.print(terminal.heading(title, figures.cell(described(filters))))

    @property
    def around(self) -> int:
        """How many characters to show on each side of what is found."""
        return AROUND if self._as_json else self._console.width

    def add(self, hit: "Hit") -> None:
        """Show a call, with where in it the text is."""
        call, passages = hit
        if self._as_json:
            print_json_rows([json_row(call) | {"passages": list(map(_document, passages))}])
            return
        self._table.print([call], header=not self._found)
        if passages:
            self._console.print(_line(self._console, passages[-1], further=len(passages) - 1))
        self._found, self._last_id = self._found + 1, call.id

    def end(self) -> None:
        """Say that there are none, or how to go on."""
        if self._as_json:
            return
        if not self._found:
            self._console.print("No such calls.")
        elif self._found == self._limit:
            print_next_page(self._console, self._last_id)


def _document(passage: Passage) -> dict[str, str]:
    return {"where": passage.where, "text": f"{passage.before}{passage.found}{passage.after}"}


def _line(console: Console, passage: Passage, *, further: int) -> Text:
    """Return a passage in one line of the terminal, what was found in its middle."""
    label = f"{' ' * INDENT}{figures.cell(passage.where)}  "
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

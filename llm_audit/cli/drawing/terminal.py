"""How things look in a terminal: tables, bars, colours of statuses."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from rich.bar import Bar
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from llm_audit.call import LLMCallStatusEnum
from llm_audit.display import figures
from llm_audit.display.hidden import visible

T = TypeVar("T")

FAILURE = "bold red"
STATUS_STYLES: dict[str, str] = {
    LLMCallStatusEnum.SUCCESS: "green",
    LLMCallStatusEnum.PENDING: "yellow",
    LLMCallStatusEnum.CANCELLED: "magenta",
    LLMCallStatusEnum.INCOMPLETE: "magenta",
}
SHORT_ID = 18  # of a UUIDv7: its millisecond and 12 bits more
BAR_WIDTH = 12

_ANY_WIDTH = 10_000


class _Console(Console):
    """Prints no text that was not made safe, also where somebody forgot to."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield what is printed, rich's own control codes apart from all text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def console(*, stderr: bool = False) -> Console:
    """Return where to print: coloured in a terminal, plain and 80 columns wide in a pipe."""
    return _Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def table(
    *columns: str, cut: str | Sequence[str] = "", right: str = "", show_header: bool = True
) -> Table:
    """Return a table without lines.

    Args:
        *columns: Their names.
        cut: The names of those that are cut where there is no room; their cells are `words`.
        right: The names of those with numbers, separated by spaces.
        show_header: Whether the names are shown.
    """
    made = _plain_table(show_header=show_header)
    for name in columns:
        made.add_column(
            words(name) if name else "",
            justify="right" if name in right.split() else "left",
            no_wrap=name not in (cut.split() if isinstance(cut, str) else cut),
        )
    return made


class EndOf:
    """Recorded text of which the end is shown where there is no room: of a task's name, say."""

    def __init__(self, value: object) -> None:
        self._text = figures.cell(value)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Say how wide it may be and wants to be."""
        return Measurement(min(cell_len(self._text), 1), cell_len(self._text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as wide as there is room."""
        yield Text(cut_from_left(self._text, options.max_width), no_wrap=True)


def words(value: object) -> Text:
    """Return recorded text for a table: one line, cut where there is no room."""
    return Text(figures.cell(value), no_wrap=True, overflow="ellipsis")


def cut_from_left(text: str, cells: int) -> str:
    """Return the end of a text, as much of it as fits, with an ellipsis for what is left out."""
    if cell_len(text) <= cells:
        return text
    if cells < 1:
        return ""
    return "…" + set_cell_size(text[::-1], cells - 1).rstrip()[::-1]


def heading(title: str, remark: str = "") -> Text:
    """Return a title with a remark in the background."""
    return Text.assemble(
        (figures.safe(title), "bold"), (f"  {figures.safe(remark)}" if remark else "", "dim")
    )


def print_wrapped(console: Console, sign: Text, sentence: str, style: str = "") -> None:
    """Print a sentence in lines of whole words: a path is pasted, however long it is."""
    indent = " " * sign.cell_len
    width = max(console.width - sign.cell_len, 1)
    lines = textwrap.wrap(
        figures.cell(sentence), width, break_long_words=False, break_on_hyphens=False
    )
    text = Text.assemble(sign, (f"\n{indent}".join(lines), style))
    console.print(text, soft_wrap=True)


def totals(
    *, calls: int, failures: int, pending: int, tokens: int, cost: float, without_cost: int
) -> Text:
    """Return what some calls add up to, in a line."""
    return Text.assemble(
        figures.counted(calls, "call"),
        (f", {failures:,} failed" if failures else "", FAILURE),
        (f", {pending:,} running" if pending else "", STATUS_STYLES[LLMCallStatusEnum.PENDING]),
        f"; {tokens:,} tokens; {figures.money(cost if without_cost < calls else None)}",
        (f" ({without_cost:,} of unknown cost)" if without_cost else "", "dim"),
    )


def status_text(status: object) -> Text:
    """Return a status in its colour."""
    name = figures.cell(status)
    return Text(name, "" if name == figures.UNKNOWN else STATUS_STYLES.get(name, FAILURE))


def fitted(table: Table, console: Console) -> Table:
    """Return a table as it fits: without its bars, then with short numbers, then with cut words."""
    if _width(table, console) > console.width:
        table = _copy(table, [column for column in table.columns if column.header])
    if _width(table, console) > console.width:
        table = _copy(table, table.columns, figures.shortened)
    return table


def _copy(
    table: Table,
    columns: Sequence[Column],
    changed: Callable[[RenderableType], RenderableType] = lambda cell: cell,
) -> Table:
    """Return a table with some of the columns of another, its cells changed."""
    copy = _plain_table(show_header=table.show_header)
    for column in columns:
        copy.add_column(column.header, justify=column.justify, no_wrap=column.no_wrap)
    for row in zip(*(column.cells for column in columns), strict=True):
        copy.add_row(*map(changed, row))
    return copy


def _plain_table(*, show_header: bool) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=show_header)
    table.header_style = "dim"
    return table


def _width(table: Table, console: Console) -> int:
    """Return how wide a table wants to be."""
    return console.measure(table, options=console.options.update_width(_ANY_WIDTH)).maximum


def bar(value: float | None, largest: float, style: str = "cyan") -> Bar:
    """Return a bar as long as a value's share of the largest."""
    return Bar(largest or 1, 0, value or 0, width=BAR_WIDTH, color=style)

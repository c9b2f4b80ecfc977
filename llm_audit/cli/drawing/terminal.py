"""How things look in a terminal: tables, money, durations, times, bars, colours of statuses."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Self, TypeVar

from rich.bar import Bar
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from llm_audit.call import LLMCallStatusEnum
from llm_audit.cli.drawing.hidden import visible

T = TypeVar("T")

UNKNOWN = "-"
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

_SECOND_MS = 1_000
_MINUTE = 60  # seconds
_HOUR = 60  # minutes
_KIB = 1024
_CENT = 0.01
_SMALLEST_USD = 0.000001
_SHORTENED = (("", 1), ("k", 10**3), ("M", 10**6), ("G", 10**9), ("T", 10**12))
_WORTH_SHORTENING = 10**4


class Figure(str):
    """A number as people read it; `short` is the same where there is no room for that."""

    __slots__ = ("short",)
    short: str

    def __new__(cls, text: str, short: str) -> Self:
        """Make one of both."""
        figure = super().__new__(cls, text)
        figure.short = short
        return figure


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
        self._text = cell(value)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Say how wide it may be and wants to be."""
        return Measurement(min(cell_len(self._text), 1), cell_len(self._text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as wide as there is room."""
        yield Text(cut_from_left(self._text, options.max_width), no_wrap=True)


def words(value: object) -> Text:
    """Return recorded text for a table: one line, cut where there is no room."""
    return Text(cell(value), no_wrap=True, overflow="ellipsis")


def cut_from_left(text: str, cells: int) -> str:
    """Return the end of a text, as much of it as fits, with an ellipsis for what is left out."""
    if cell_len(text) <= cells:
        return text
    if cells < 1:
        return ""
    return "…" + set_cell_size(text[::-1], cells - 1).rstrip()[::-1]


def heading(title: str, remark: str = "") -> Text:
    """Return a title with a remark in the background."""
    return Text.assemble((safe(title), "bold"), (f"  {safe(remark)}" if remark else "", "dim"))


def totals(
    *, calls: int, failures: int, pending: int, tokens: int, cost: float, without_cost: int
) -> Text:
    """Return what some calls add up to, in a line."""
    return Text.assemble(
        counted(calls, "call"),
        (f", {failures:,} failed" if failures else "", FAILURE),
        (f", {pending:,} running" if pending else "", STATUS_STYLES[LLMCallStatusEnum.PENDING]),
        f"; {tokens:,} tokens; {money(cost if without_cost < calls else None)}",
        (f" ({without_cost:,} of unknown cost)" if without_cost else "", "dim"),
    )


def safe(value: object) -> str:
    """Return recorded text; what would steer the terminal, or not be seen, is made visible."""
    return visible(str(value))


def cell(value: object) -> str:
    """Return recorded text in one line; `-` for what is not known."""
    return UNKNOWN if value is None or value == "" else " ".join(safe(value).split())


def status_text(status: object) -> Text:
    """Return a status in its colour."""
    name = cell(status)
    return Text(name, "" if name == UNKNOWN else STATUS_STYLES.get(name, FAILURE))


def number(count: float | None) -> str:
    """Return a count: 1,234,567, or 1.2M where there is no room."""
    return UNKNOWN if count is None else Figure(f"{count:,.0f}", _shortened(count))


def counted(count: int, what: str) -> str:
    """Return how many of something there are: 1 call, 2 calls."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def shortened(cell: T) -> T | str:
    """Return a table's cell as it is where there is no room for whole numbers."""
    return cell.short if isinstance(cell, Figure) else cell


def share(part: float | None) -> str:
    """Return a share of one in per cent."""
    return UNKNOWN if part is None else f"{part * 100:.1f} %"


def money(usd: float | None) -> str:
    """Return an amount in US dollars, with as many digits as it takes to see one."""
    if usd is None:
        return UNKNOWN
    if usd == 0:
        return "$0"
    if abs(usd) < _SMALLEST_USD:
        return "<$1e-6"
    digits = 2 if abs(usd) >= 1 else 4 if abs(usd) >= _CENT else 6
    whole = f"${usd:,.{digits}f}"
    return Figure(whole, whole if abs(usd) < _WORTH_SHORTENING else f"${_shortened(usd)}")


def cost(usd: float, *, without: int, calls: int) -> str:
    """Return what calls cost together; nothing is known of that if it is of none of them.

    Args:
        usd: The sum of what is known.
        without: How many calls it knows nothing of.
        calls: Of how many.
    """
    return money(None if without and without >= calls else usd)


def duration(milliseconds: float | None) -> str:
    """Return a duration in the unit that fits."""
    if milliseconds is None:
        return UNKNOWN
    if round(milliseconds) < _SECOND_MS:
        return f"{milliseconds:.0f} ms"
    seconds = round(milliseconds / _SECOND_MS, 1)
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    if minutes < _HOUR:
        return f"{minutes}m{rest:02}s"
    hours, rest = divmod(round(seconds / _MINUTE), _HOUR)
    return f"{hours:,}h{rest:02}m"


def size(count: float) -> str:
    """Return a number of bytes in the unit that fits."""
    if count < _KIB:
        return f"{count:,.0f} bytes"
    for unit in ("KiB", "MiB"):
        count /= _KIB
        if count < _KIB:
            return f"{count:,.1f} {unit}"
    return f"{count / _KIB:,.1f} GiB"


def moment(at: object) -> str:
    """Return a time in local time, short: today to the second, this year without the year."""
    if not isinstance(at, datetime):  # nothing, or what something else stored
        return cell(at)
    local, now = at.astimezone(), datetime.now(UTC).astimezone()
    if local.date() == now.date():
        return f"{local:%H:%M:%S}"
    return f"{local:%m-%d %H:%M}" if local.year == now.year else f"{local:%Y-%m-%d}"


def fitted(table: Table, console: Console) -> Table:
    """Return a table as it fits: without its bars, then with short numbers, then with cut words."""
    if _width(table, console) > console.width:
        table = _copy(table, [column for column in table.columns if column.header])
    if _width(table, console) > console.width:
        table = _copy(table, table.columns, shortened)
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


def _shortened(count: float) -> str:
    """Return a number in three digits or so: 1.2M."""
    if abs(count) < _WORTH_SHORTENING:
        return f"{count:,.0f}"
    letter, unit = next(
        (each for each in _SHORTENED if abs(count) < 999.5 * each[1]), _SHORTENED[-1]
    )
    digits = 1 if abs(count) < 99.95 * unit else 0
    return f"{count / unit:,.{digits}f}{letter}"

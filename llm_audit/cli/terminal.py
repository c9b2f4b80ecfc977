"""How things look in a terminal: tables, money, durations, times, bars, colours of statuses."""

import unicodedata
from datetime import UTC, datetime

from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNKNOWN = "-"
FAILURE = "bold red"
STATUS_STYLES = {
    "SUCCESS": "green",
    "PENDING": "yellow",
    "CANCELLED": "magenta",
    "INCOMPLETE": "magenta",
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


def console(*, stderr: bool = False) -> Console:
    """Return where to print: coloured in a terminal, plain and 80 columns wide in a pipe."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def table(*columns: str, cut: str = "", right: str = "", show_header: bool = True) -> Table:
    """Return a table without lines.

    Args:
        *columns: Their names.
        cut: The names of those that are cut where there is no room; their cells are `words`.
        right: The names of those with numbers, separated by spaces.
        show_header: Whether the names are shown.
    """
    made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=show_header)
    made.header_style = "dim"
    for name in columns:
        made.add_column(
            words(name) if name else "",
            justify="right" if name in right.split() else "left",
            no_wrap=name not in cut.split(),
        )
    return made


def words(value: object) -> Text:
    """Return recorded text for a table: one line, cut where there is no room."""
    return Text(cell(value), no_wrap=True, overflow="ellipsis")


def heading(title: str, remark: str = "") -> Text:
    """Return a title with a remark in the background."""
    return Text.assemble((title, "bold"), (f"  {remark}" if remark else "", "dim"))


def totals(
    *, calls: int, failures: int, pending: int, tokens: int, cost: float, without_cost: int
) -> Text:
    """Return what some calls add up to, in a line."""
    return Text.assemble(
        f"{calls:,} call{'s' if calls != 1 else ''}",
        (f", {failures:,} failed" if failures else "", FAILURE),
        (f", {pending:,} running" if pending else "", STATUS_STYLES["PENDING"]),
        f"; {tokens:,} tokens; {money(cost if without_cost < calls else None)}",
        (f" ({without_cost:,} of unknown cost)" if without_cost else "", "dim"),
    )


def safe(value: object) -> str:
    """Return recorded text without what would steer the terminal instead of being shown."""
    return "".join(
        letter
        if letter in "\n\t" or unicodedata.category(letter) != "Cc"
        else "\N{REPLACEMENT CHARACTER}"
        for letter in str(value)
    )


def cell(value: object) -> str:
    """Return recorded text in one line; `-` for what is not known."""
    return UNKNOWN if value is None or value == "" else " ".join(safe(value).split())


def status_text(status: object) -> Text:
    """Return a status in its colour."""
    name = cell(status)
    return Text(name, UNKNOWN if name == UNKNOWN else STATUS_STYLES.get(name, FAILURE))


def number(count: float | None) -> str:
    """Return a count: 1,234,567."""
    return UNKNOWN if count is None else f"{count:,.0f}"


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
    return f"${usd:,.{digits}f}"


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
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < _KIB or unit == "GiB":
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= _KIB
    raise AssertionError


def moment(at: datetime | None) -> str:
    """Return a time in local time, short: today to the second, this year without the year."""
    if at is None:
        return UNKNOWN
    local, now = at.astimezone(), datetime.now(UTC).astimezone()
    if local.date() == now.date():
        return f"{local:%H:%M:%S}"
    return f"{local:%m-%d %H:%M}" if local.year == now.year else f"{local:%Y-%m-%d}"


def without_bars_if_narrow(table: Table, console: Console) -> Table:
    """Return a table without its bars where there is no room for them beside whole words."""
    wanted = console.measure(table, options=console.options.update_width(_ANY_WIDTH)).maximum
    if wanted > console.width:
        table.columns = [column for column in table.columns if column.header]
    return table


def bar(value: float | None, largest: float, style: str = "cyan") -> Bar:
    """Return a bar as long as a value's share of the largest."""
    return Bar(largest or 1, 0, value or 0, width=BAR_WIDTH, color=style)

"""How numbers, times and recorded words are written for people, wherever they are shown."""

from datetime import UTC, datetime
from typing import Self, TypeVar

from llm_audit.display.hidden import visible

T = TypeVar("T")

UNKNOWN = "-"
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


def safe(value: object) -> str:
    """Return recorded text; what would steer the terminal, or not be seen, is made visible."""
    return visible(str(value))


def cell(value: object) -> str:
    """Return recorded text in one line; `-` for what is not known."""
    return UNKNOWN if value is None or value == "" else " ".join(safe(value).split())


def number(count: float | None) -> str:
    """Return a count: 1,234,567, or 1.2M where there is no room."""
    return UNKNOWN if count is None else Figure(f"{count:,.0f}", _shortened(count))


def counted(count: int, what: str) -> str:
    """Return how many of something there are: 1 call, 2 calls, 2 processes."""
    return f"{count:,} {what}{'' if count == 1 else 'es' if what.endswith('s') else 's'}"


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


def _shortened(count: float) -> str:
    """Return a number in three digits or so: 1.2M."""
    if abs(count) < _WORTH_SHORTENING:
        return f"{count:,.0f}"
    letter, unit = next(
        (each for each in _SHORTENED if abs(count) < 999.5 * each[1]), _SHORTENED[-1]
    )
    digits = 1 if abs(count) < 99.95 * unit else 0
    return f"{count / unit:,.{digits}f}{letter}"

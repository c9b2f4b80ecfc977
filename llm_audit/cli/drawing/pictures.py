"""Pictures of what happens over time: lines of small bars, with gaps where nothing happened."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llm_audit.cli.drawing import terminal
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import FORMATS, Bucket

STEPS = "▁▂▃▄▅▆▇█"
FAILED_CELL = "▒"  # told apart without colours too

_FEWEST = 3  # hours, days ...: a picture of less says nothing
_WIDEST = 120
_FORMATS = FORMATS | {"hour": "%Y-%m-%dT%H:00%z"}  # of any moment in it
_SECONDS_IN_AN_HOUR = 3600


class Line(NamedTuple):
    """One line of a picture: which number of the rows it shows, and what stands beside it."""

    name: str
    field: str
    remark: str = ""
    style: str = "cyan"


class Course:
    """The hours, days ... of a stretch of time, with and without rows."""

    def __init__(
        self,
        bucket: Bucket,
        rows: Sequence[Any],
        *,
        named: str,
        timezone: str,
        filters: CallFilters,
    ) -> None:
        """Lay rows out over time.

        Args:
            bucket: What each of them is about.
            rows: Oldest first; what has no time is left out.
            named: Their field with the name of the hour, day ...
            timezone: Whose hours and days.
            filters: Their dates say where it begins and ends, if not with the rows; it ends now.
        """
        self.bucket = bucket
        self.timezone = timezone
        names = {getattr(row, named): row for row in rows}
        self._rows = {_ordinal(bucket, name): row for name, row in names.items() if name}
        edges = [*self._rows]
        start, end = filters.get("start_date"), filters.get("end_date")
        if self._rows and start:
            last = end - timedelta(milliseconds=1) if end else datetime.now(UTC)
            edges += [_ordinal(bucket, _name_at(bucket, at, timezone)) for at in (start, last)]
        self._places = range(min(edges), max(edges) + 1) if edges else range(0)

    def values(self, field: str) -> list[float | None]:
        """Return a number of each hour, day ...; None where there is no row."""
        return [getattr(self._rows.get(place), field, None) for place in self._places]

    def gap_between(self, earlier: str, later: str) -> int:
        """Return how many hours, days ... lie between two rows, given by their names."""
        return max(0, _ordinal(self.bucket, later) - _ordinal(self.bucket, earlier) - 1)

    def print(self, console: Console, lines: Sequence[Line]) -> None:
        """Print lines below each other, as wide as the terminal has room for."""
        if len(self._rows) < _FEWEST:
            return
        beside = max(len(line.name) for line in lines) + max(len(line.remark) for line in lines)
        width = min(console.width - beside - len("  "), _WIDEST)
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False)
        for name, field, remark, style in lines:
            picture = Text(sparkline(self.values(field), width), style)
            table.add_row(Text(name, "dim"), picture, terminal.words(remark))
        console.print()
        console.print(table)


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Return a line of small bars, each as high as its share of the largest.

    Args:
        values: None makes a gap, a zero the smallest bar.
        width: How long it may be; where there are more values, several are one bar, their mean.
    """
    together = max(1, -(-len(values) // max(width, 1)))
    means = [_mean(values[n : n + together]) for n in range(0, len(values), together)]
    largest = max((mean for mean in means if mean is not None), default=0)
    return "".join(" " if mean is None else _step(mean, largest) for mean in means)


def bar_with_failures(calls: int, failures: int, largest: int, width: int) -> Text:
    """Return a bar as long as the calls' share of the largest, in which failures are told apart."""
    failed = _cells(failures, largest, width)
    whole = max(_cells(calls, largest, width), failed + (failures < calls))
    return Text.assemble(("█" * (whole - failed), "cyan"), (FAILED_CELL * failed, terminal.FAILURE))


def _cells(count: int, largest: int, width: int) -> int:
    """Return how long a bar is; what is there at all is seen."""
    return max(1, round(count / largest * width)) if count else 0


def _step(value: float, largest: float) -> str:
    return STEPS[round(value / largest * (len(STEPS) - 1))] if largest > 0 else STEPS[0]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _name_at(bucket: Bucket, moment: datetime, zone: str) -> str:
    """Return what the hour, day ... of a moment is called in a time zone."""
    return moment.astimezone(_zone(zone)).strftime(_FORMATS[bucket])


def _ordinal(bucket: Bucket, name: str) -> int:
    """Return the number of an hour, day ..., given by its name; the next has the next number."""
    if bucket == "hour":
        return int(datetime.fromisoformat(name).timestamp() // _SECONDS_IN_AN_HOUR)
    if bucket == "month":
        year, month = name.split("-")
        return int(year) * 12 + int(month)
    day = date.fromisoformat(f"{name}-1" if bucket == "week" else name).toordinal()
    return day if bucket == "day" else (day - 1) // 7  # the first day of all was a Monday


def _zone(name: str) -> tzinfo | None:
    is_offset = name[0] in "+-"
    return datetime.fromisoformat(f"2000-01-01T00:00{name}").tzinfo if is_offset else ZoneInfo(name)

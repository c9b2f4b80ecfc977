"""How rows of hours, days ... lie in time, with the gaps between them."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from llm_audit.ids import EPOCH
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import FORMATS, Bucket

_FORMATS = FORMATS | {"hour": "%Y-%m-%dT%H:00%z"}  # of any moment in it
_SECONDS_IN_AN_HOUR = 3600


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
            filters: Their dates say where it begins and ends, if not with the rows; it ends now,
                and begins in 1970, before which no call can be.
        """
        self.bucket = bucket
        self.timezone = timezone
        names = {getattr(row, named): row for row in rows}
        self._rows = {_ordinal(bucket, name): row for name, row in names.items() if name}
        edges = [*self._rows]
        start, end = filters.get("start_date"), filters.get("end_date")
        self._start, self._end = start, end
        if self._rows and start:
            now = datetime.now(UTC)
            last = min(end - timedelta(milliseconds=1), now) if end else now
            first = max(start, EPOCH)
            edges += [_ordinal(bucket, _name_at(bucket, at, timezone)) for at in (first, last)]
        self._places = range(min(edges), max(edges) + 1) if edges else range(0)

    def __len__(self) -> int:
        """How many hours, days ... have a row."""
        return len(self._rows)

    @property
    def length(self) -> int:
        """How many hours, days ... there are, with and without a row."""
        return len(self._places)

    def values(self, field: str) -> list[float | None]:
        """Return a number of each hour, day ...; None where there is no row."""
        return [getattr(self._rows.get(place), field, None) for place in self._places]

    def rows(self) -> list[Any]:
        """Return the row of each hour, day ...; None where there is none."""
        return [self._rows.get(place) for place in self._places]

    def spans(self) -> list[tuple[datetime, datetime]]:
        """Return from when to when each hour, day ... is, as far as it belongs to the stretch."""
        places = [*self._places, self._places.stop] if self._places else []
        edges = pairwise(_beginning(self.bucket, place, self.timezone) for place in places)
        return [self._within(*edge) for edge in edges]

    def spans_of_rows(self) -> list[tuple[Any, tuple[datetime, datetime]]]:
        """Return each row, and from when to when its hour, day ... is."""
        edges = {
            place: [_beginning(self.bucket, at, self.timezone) for at in (place, place + 1)]
            for place in sorted(self._rows)
        }
        return [(self._rows[place], self._within(*edge)) for place, edge in edges.items()]

    def _within(self, start: datetime, end: datetime) -> tuple[datetime, datetime]:
        return max(start, self._start or start), min(end, self._end or end)

    def gap_between(self, earlier: str, later: str) -> int:
        """Return how many hours, days ... lie between two rows, given by their names."""
        return max(0, _ordinal(self.bucket, later) - _ordinal(self.bucket, earlier) - 1)


def group_name(by: str, name: str | None) -> str | None:
    """Return what a group is called; an hour without its zone, which the heading says."""
    return name[: len("2026-11-25T10:00")].replace("T", " ") if name and by == "hour" else name


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


def _beginning(bucket: Bucket, place: int, timezone: str) -> datetime:
    """Return when the hour, day ... with a number begins."""
    zone = _zone(timezone)
    if bucket == "hour":
        at = place * _SECONDS_IN_AN_HOUR
        minute = datetime.fromtimestamp(at, zone).minute  # where hours begin at half past of UTC's
        return datetime.fromtimestamp(at + -minute % 60 * 60, zone)  # when clocks go back, too
    if bucket == "month":
        year, month = divmod(place - 1, 12)
        return datetime(year, month + 1, 1, tzinfo=zone)
    day = date.fromordinal(place if bucket == "day" else place * 7 + 1)
    return datetime.combine(day, time(), zone)


def _zone(name: str) -> tzinfo | None:
    is_offset = name[0] in "+-"
    return datetime.fromisoformat(f"2000-01-01T00:00{name}").tzinfo if is_offset else ZoneInfo(name)

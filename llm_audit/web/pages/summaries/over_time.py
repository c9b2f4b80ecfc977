"""What pages of sums share: the time that they open with, and how it is divided and named."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from llm_audit.display.courses import Course
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import Bucket
from llm_audit.web.asked import Asked, in_zone
from llm_audit.web.drawing.ticks import Tick, ticks

USUAL = "24h"
_BY: tuple[tuple[timedelta, Bucket], ...] = (  # how long a stretch may be that is divided so
    (timedelta(days=3), "hour"),
    (timedelta(days=100), "day"),
    (timedelta(days=750), "week"),
)
MOST_COLUMNS = 750  # of a picture: the hours of a month


def bucket_for(filters: CallFilters) -> Bucket:
    """Return by what a stretch of time is divided: hours, or days, weeks, months where too many."""
    length = (filters.get("end_date") or datetime.now(UTC)) - filters["start_date"]
    return next((bucket for longest, bucket in _BY if length <= longest), "month")


def named(asked: Asked, course: Course, said: Iterable[str], **changes: Any) -> dict[str, Any]:
    """Return what is said of each hour, day ..., the addresses of exactly its calls, and ticks.

    Args:
        asked: Which calls they are.
        course: The hours, days ...
        said: Of each of them; empty where its time says it all.
        **changes: Of the filters, for the addresses.
    """
    spans = course.spans()
    names = [
        asked.written(start) + (f": {words}" if words else "")
        for (start, _), words in zip(spans, said, strict=True)
    ]
    return {
        "names": names,
        "links": asked.during(spans, **changes),
        "ticks": ticks_of(asked, course),
    }


def ticks_of(asked: Asked, course: Course) -> list[Tick]:
    """Return the times that are named below a picture of hours, days ..."""
    starts = [in_zone(start, asked.zone) for start, _ in course.spans()]
    return ticks(course.bucket, starts, in_zone(asked.now, asked.zone))

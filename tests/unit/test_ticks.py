"""Which times are named below a picture of hours, days ..."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import get_args
from zoneinfo import ZoneInfo

from llm_audit.display.courses import Course
from llm_audit.queries.grouping import Bucket
from llm_audit.web.asked import in_zone
from llm_audit.web.drawing.ticks import MOST, ticks

NOW = datetime(2026, 11, 30, 21, 30, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def said(bucket: Bucket, starts: list[datetime]) -> list[str]:
    return [tick.text for tick in ticks(bucket, starts, NOW)]


def test_times_are_named_where_people_look_for_them() -> None:
    hours = [NOW - HOUR * 24] + [
        datetime(2026, 11, 29, 22, tzinfo=UTC) + HOUR * n for n in range(24)
    ]
    days = [datetime(2026, 11, 1, tzinfo=UTC) + DAY * n for n in range(30)]
    months = [datetime(2024 + n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in range(35)]
    kolkata = [
        datetime(2026, 11, 30, tzinfo=ZoneInfo("Asia/Kolkata")) + HOUR * n for n in range(24)
    ]

    assert said("hour", hours) == ["11-30", "06:00", "12:00", "18:00"]
    assert said("hour", [NOW - HOUR, NOW.replace(minute=0)]) == ["21:00"]
    assert said("hour", [NOW]) == ["21:30"]
    assert said("hour", kolkata) == ["11-30", "06:00", "12:00", "18:00"]
    assert said("day", days) == ["11-02", "11-09", "11-16", "11-23", "11-30"]
    assert said("day", [day - DAY * 365 for day in days[:2]]) == ["2025-11-01", "2025-11-02"]
    assert said("month", months) == ["2024-01", "2025-01", "2026-01"]
    assert said("day", []) == []


def test_ticks_are_few_and_apart_whatever_the_stretch() -> None:
    """So that they have room on a phone, in zones whose clocks change, too."""
    for bucket in get_args(Bucket):
        for zone in ("Europe/Berlin", "Asia/Kolkata"):
            for days in (0.01, 1, 3, 45, 700):
                filters = {"start_date": NOW - DAY * days, "end_date": NOW}
                rows = [type("Row", (), {"name": named(bucket, in_zone(NOW - HOUR, zone))})]
                course = Course(bucket, rows, named="name", timezone=zone, filters=filters)  # type: ignore[arg-type]
                starts = [in_zone(start, zone) for start, _ in course.spans()]
                found = ticks(bucket, starts, NOW)
                told = (bucket, zone, days, found)
                assert 1 <= len(found) <= MOST, told
                gaps = [b.x - a.x for a, b in pairwise(found)]
                assert all(gap > 14 for gap in gaps) or len(starts) <= MOST, told
                assert all(0 <= tick.x <= 100 for tick in found), told


def named(bucket: Bucket, at: datetime) -> str:
    written = {"hour": "%Y-%m-%dT%H:00%z", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
    return at.strftime(written[bucket])

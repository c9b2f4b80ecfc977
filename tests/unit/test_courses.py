"""Hours, days ... of a stretch of time follow one another, also where clocks are changed."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import get_args

from llm_audit.display.courses import Course
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import FORMATS, Bucket
from llm_audit.web.asked import in_zone

ZONES = ("Europe/Paris", "America/Havana", "America/St_Johns", "Asia/Beirut", "Asia/Kathmandu")


def test_each_begins_where_the_one_before_ends_whatever_clocks_do() -> None:
    """They go back and forward in these days, in Beirut and Havana at midnight."""
    for zone in (*ZONES, "+05:30"):
        for first in (datetime(2024, 3, 9, tzinfo=UTC), datetime(2024, 10, 25, tzinfo=UTC)):
            last = first + timedelta(days=25)
            filters = CallFilters(start_date=first, end_date=last)
            for bucket in get_args(Bucket):
                offset = "%z" if bucket == "hour" else ""
                name = in_zone(first, zone).strftime(FORMATS[bucket] + offset)
                if bucket == "hour":
                    name = name.replace(name[13:16], ":00", 1)
                rows = [SimpleNamespace(name=name)]
                course = Course(bucket, rows, named="name", timezone=zone, filters=filters)
                spans = [(a.timestamp(), b.timestamp()) for a, b in course.spans()]

                assert spans[0][0] == first.timestamp(), (zone, bucket)
                assert spans[-1][1] == last.timestamp(), (zone, bucket)
                assert all(start < end for start, end in spans), (zone, bucket)
                assert all(a[1] == b[0] for a, b in pairwise(spans)), (zone, bucket)
                if bucket == "hour":
                    assert {end - start for start, end in spans[1:-1]} == {3600}, zone

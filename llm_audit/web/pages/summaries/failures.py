"""What failed: each kind with its rate, its course, a sample, and the list behind it."""

from collections import Counter
from typing import Any

from llm_audit.call import FAILURE_STATUSES
from llm_audit.display.courses import Course
from llm_audit.display.figures import share
from llm_audit.queries.results import FailureCount, FailureGroup
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.charts import line, places, round_top
from llm_audit.web.page import Page
from llm_audit.web.pages.summaries.overview import KIND, USUAL, bucket_for, calls_of_kind, shares

_SHOWN = 100


async def page(asked: Asked) -> Page:
    """Show the kinds of failures, the most frequent first."""
    filters = asked.filters(since=USUAL, leave_out=("status", "not.status"))
    bucket = bucket_for(filters)
    summary = await asked.calls.failure_summary(**filters)
    usage = await asked.calls.usage_over_time(bucket, timezone=asked.zone, **filters)
    counts = await asked.calls.failures_over_time(bucket, timezone=asked.zone, **filters)
    course = Course(bucket, usage, named="bucket", timezone=asked.zone, filters=filters)
    groups = summary.groups[:_SHOWN]
    return Page(
        "summaries/failures",
        "Failures",
        {"summary": summary, "over_time": counts},
        {
            "usual": USUAL,
            "bucket": bucket,
            "groups": [(group, calls_of_kind(asked, group)) for group in groups],
            "left_out": summary.kinds - len(groups),
            "trends": _trends(course, counts),
            "rates": _rates(asked, course),
            "failed": sorted(FAILURE_STATUSES),
        },
    )


def key_of(kind: FailureGroup | FailureCount) -> tuple[str | None, ...]:
    """Return what tells one kind of failure from another."""
    return tuple(getattr(kind, name) for name in KIND)


def _rates(asked: Asked, course: Course) -> dict[str, Any]:
    """Return the line of the share of failures."""
    rates = shares(course)
    top = round_top(max((rate for rate in rates if rate is not None), default=0))
    spans = course.spans()
    return {
        "series": {"ERROR": line(rates, top)},
        "top": top,
        "columns": places(len(spans)),
        "names": [
            f"{asked.written(start)}: {share(rate)} failed"
            for (start, _), rate in zip(spans, rates, strict=True)
        ],
        "links": asked.during(spans, status=sorted(FAILURE_STATUSES), **{"not.status": None}),
    }


def _trends(course: Course, counts: list[FailureCount]) -> dict[tuple[str | None, ...], list[str]]:
    """Return a small line for each kind: how often it came in each hour, day ..."""
    found: dict[tuple[str | None, ...], Counter[str | None]] = {}
    for count in counts:
        found.setdefault(key_of(count), Counter())[count.bucket] += count.count
    places = [row.bucket if row is not None else None for row in course.rows()]
    return {
        kind: line([own[place] if place else 0 for place in places], max(own.values()))
        for kind, own in found.items()
    }

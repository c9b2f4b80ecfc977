"""The first page: what broke, what it cost and what is slow, against the time before."""

from collections.abc import Sequence
from typing import Any

from llm_audit.display.courses import Course
from llm_audit.queries.answers.summaries import Usage
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.charts import line, stacked
from llm_audit.web.page import Page
from llm_audit.web.pages.summaries.failures import shares
from llm_audit.web.pages.summaries.over_time import USUAL, bucket_for, named

_SUMS = (
    *("calls", "successes", "failures", "pending"),
    *("total_tokens", "estimated_cost", "calls_without_cost"),
)


async def page(asked: Asked) -> Page:
    """Show the six numbers and the picture of calls; the panels below come one by one."""
    filters = asked.filters(since=USUAL)
    bucket = bucket_for(filters)
    rows = await asked.calls.usage_over_time(bucket, timezone=asked.zone, **filters)
    before = await asked.calls.usage_over_time(bucket, timezone=asked.zone, **asked.before(filters))
    course = Course(bucket, rows, named="bucket", timezone=asked.zone, filters=filters)
    return Page(
        "summaries/overview",
        "Overview",
        {"now": total(rows), "before": total(before), "over_time": rows},
        {
            "bucket": bucket,
            "columns": _columns(asked, course),
            "trends": _trends(course),
        },
    )


def total(rows: Sequence[Usage]) -> dict[str, Any]:
    """Return what rows add up to, with the share of failures."""
    sums: dict[str, Any] = {name: sum(getattr(row, name) for row in rows) for name in _SUMS}
    judged = sums["successes"] + sums["failures"]
    return sums | {"failure_rate": sums["failures"] / judged if judged else None}


def _trends(course: Course) -> dict[str, list[str]]:
    """Return a small line for each number: how it went over time."""
    values: dict[str, list[float | None]] = {
        name: [value or 0 for value in course.values(name)]
        for name in ("calls", "pending", "estimated_cost", "total_tokens")
    }
    values["failures"] = shares(course)
    return {
        name: line(numbers, max((each for each in numbers if each), default=1))
        for name, numbers in values.items()
    }


def _columns(asked: Asked, course: Course) -> dict[str, Any]:
    """Return the picture of calls by how they ended."""
    parts = [
        {
            "SUCCESS": row.successes if row else 0,
            "OTHER": row.cancelled + row.incomplete + row.pending + row.other if row else 0,
            "ERROR": row.failures if row else 0,
        }
        for row in course.rows()
    ]
    said = [f"{sum(each.values()):,} calls, {each['ERROR']:,} failed" for each in parts]
    return {"chart": stacked(parts), **named(asked, course, said)}

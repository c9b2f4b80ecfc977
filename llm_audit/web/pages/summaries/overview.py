"""The first page: what broke, what it cost and what is slow, against the time before."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from llm_audit.call import FAILURE_STATUSES
from llm_audit.display.courses import Course
from llm_audit.display.figures import duration
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import Bucket
from llm_audit.queries.results import FailureGroup, Usage
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.charts import line, places, round_top, stacked
from llm_audit.web.page import Page

USUAL = "24h"
ROWS = 8
KIND = ("status", "error_type", "ended_by", "model", "task_name")  # what tells failures apart
_LONGEST_BY_HOUR = timedelta(days=3)
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
            "usual": USUAL,
            "bucket": bucket,
            "columns": _columns(asked, course),
            "trends": _trends(course),
            "failed": sorted(FAILURE_STATUSES),
        },
    )


async def failures(asked: Asked) -> Page:
    """Show what failed most often."""
    summary = await asked.calls.failure_summary(**asked.filters(since=USUAL))
    return Page(
        "parts/failures",
        "Failures",
        {"groups": summary.groups[:ROWS], "kinds": summary.kinds},
        {"groups": [(group, calls_of_kind(asked, group)) for group in summary.groups[:ROWS]]},
    )


async def models(asked: Asked) -> Page:
    """Show which models cost most."""
    rows = await asked.calls.cost_summary("model", **asked.filters(since=USUAL))
    return Page("parts/costs", "Models", {"rows": rows[:ROWS]}, {"by": "model", "of": len(rows)})


async def tasks(asked: Asked) -> Page:
    """Show which tasks cost most."""
    rows = await asked.calls.cost_summary("task_name", **asked.filters(since=USUAL))
    return Page("parts/costs", "Tasks", {"rows": rows[:ROWS]}, {"by": "task_name", "of": len(rows)})


async def retries(asked: Asked) -> Page:
    """Show what retries and redeliveries paid again."""
    rows = await asked.calls.retry_spend(**asked.filters(since=USUAL))
    return Page("parts/retries", "Paid again", {"rows": rows[:ROWS]}, {"of": len(rows)})


async def latency(asked: Asked) -> Page:
    """Show how long calls took over time."""
    filters = asked.filters(since=USUAL)
    bucket = bucket_for(filters)
    rows = await asked.calls.latency_summary(bucket, timezone=asked.zone, **filters)
    course = Course(bucket, rows, named="group", timezone=asked.zone, filters=filters)
    top = round_top(max((row.p95 for row in rows), default=0))
    series = {name: line(course.values(name), top) for name in ("p50", "p95")}
    spans = course.spans()
    names = [
        f"{asked.written(start)}: "
        + (f"p50 {duration(row.p50)}, p95 {duration(row.p95)}" if row else "no calls")
        for (start, _), row in zip(spans, course.rows(), strict=True)
    ]
    view = {"columns": places(len(spans)), "names": names, "links": asked.during(spans)}
    return Page(
        "parts/latency", "Latency", {"over_time": rows}, {"series": series, "top": top, **view}
    )


def bucket_for(filters: CallFilters) -> Bucket:
    """Return by what a stretch of time is divided: hours, or days where that were too many."""
    length = (filters.get("end_date") or datetime.now(UTC)) - filters["start_date"]
    return "hour" if length <= _LONGEST_BY_HOUR else "day"


def total(rows: Sequence[Usage]) -> dict[str, Any]:
    """Return what rows add up to, with the share of failures."""
    sums: dict[str, Any] = {name: sum(getattr(row, name) for row in rows) for name in _SUMS}
    judged = sums["successes"] + sums["failures"]
    return sums | {"failure_rate": sums["failures"] / judged if judged else None}


def calls_of_kind(asked: Asked, group: FailureGroup) -> str:
    """Return the address of exactly the calls of a kind of failure."""
    values = {name: getattr(group, name) for name in KIND}
    missing = [*asked.all("missing"), *(name for name in KIND if values[name] is None)]
    changes = {**values, "missing": list(dict.fromkeys(missing)), "not.status": None}
    return asked.same("calls", **changes)


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


def shares(course: Course) -> list[float | None]:
    """Return the share of failures in each hour, day ...; None where nothing was judged."""
    return [
        row.failures / (row.successes + row.failures)
        if row is not None and row.successes + row.failures
        else None
        for row in course.rows()
    ]


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
    spans = course.spans()
    names = [
        f"{asked.written(start)}: {sum(each.values()):,} calls, {each['ERROR']:,} failed"
        for (start, _), each in zip(spans, parts, strict=True)
    ]
    return {"chart": stacked(parts), "names": names, "links": asked.during(spans)}

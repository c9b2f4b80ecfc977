"""What calls cost and used, by model, user, task, day ..."""

from collections.abc import Sequence
from typing import Any, get_args

from llm_audit.display.courses import Course, group_name
from llm_audit.errors import UsageError
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import Bucket, GroupBy
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.charts import stacked
from llm_audit.web.page import Page
from llm_audit.web.pages.summaries.overview import USUAL

SHOWN = 200
BY: tuple[GroupBy, ...] = (
    *("model", "provider", "user_id", "company_id", "task_name", "call_type", "tag"),
    *("environment", "service", "session_id", "trace_id", "hour", "day", "week", "month"),
)


async def page(asked: Asked) -> Page:
    """Show what each group cost, the most expensive first; hours, days ... oldest first."""
    by = grouping_of(asked)
    filters = asked.filters(since=USUAL)
    rows = await asked.calls.cost_summary(by, timezone=asked.zone, **filters)
    is_time = by in get_args(Bucket)
    known = [row for row in rows if row.calls > row.calls_without_cost]
    return Page(
        "summaries/costs",
        "Costs",
        {"rows": rows, "by": by},
        {
            "usual": USUAL,
            "choices": BY,
            "is_time": is_time,
            "shown": rows[:SHOWN],
            "total": sum(row.estimated_cost for row in known),
            "columns": _columns(asked, by, rows, filters) if is_time else None,
            "name": lambda name: group_name(by, name),
            "links": links_of(asked, by, rows if is_time else rows[:SHOWN], filters),
        },
    )


def grouping_of(asked: Asked) -> GroupBy:
    """Return by what is grouped.

    Raises:
        UsageError: There is no such grouping.
    """
    by: Any = asked.one("by") or "model"
    if by not in BY:
        raise UsageError(f"by {by!r:.40}: there are {', '.join(BY)}.")
    return by  # type: ignore[no-any-return]


def links_of(
    asked: Asked, by: GroupBy, rows: Sequence[Any], filters: CallFilters
) -> dict[str | None, str]:
    """Return the address of exactly the calls of each group."""
    bucket: Any = by
    if by not in get_args(Bucket):
        return {row.group: asked.among("tags" if by == "tag" else by, row.group) for row in rows}
    course = Course(bucket, rows, named="group", timezone=asked.zone, filters=filters)
    links = zip(course.rows(), asked.during(course.spans()), strict=True)
    return {row.group: link for row, link in links if row is not None}


def _columns(asked: Asked, by: Any, rows: Any, filters: CallFilters) -> dict[str, Any]:
    """Return the picture of costs over time."""
    course = Course(by, rows, named="group", timezone=asked.zone, filters=filters)
    chart = stacked([{"plain": row.estimated_cost if row else 0} for row in course.rows()])
    spans = course.spans()
    names = [asked.written(start) for start, _ in spans]
    return {"chart": chart, "names": names, "links": asked.during(spans)}

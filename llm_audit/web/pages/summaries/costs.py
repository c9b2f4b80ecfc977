"""What calls cost and used, by model, user, task, day ..."""

from typing import Any

from llm_audit.display.courses import Course
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import GroupBy
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.charts import stacked
from llm_audit.web.page import Page
from llm_audit.web.pages.summaries.groups import grouping_of, view_of
from llm_audit.web.pages.summaries.over_time import MOST_COLUMNS, USUAL, named

_ROWS_OF_A_PART = 8


async def page(asked: Asked) -> Page:
    """Show what each group cost, the most expensive first; hours, days ... oldest first."""
    by = grouping_of(asked)
    filters = asked.filters(since=USUAL)
    rows = await asked.calls.cost_summary(by, timezone=asked.zone, **filters)
    view = view_of(asked, by, rows, filters)
    known = [row for row in rows if row.calls > row.calls_without_cost]
    total = sum(row.estimated_cost for row in known)
    columns = _columns(asked, by, rows, filters) if view["is_time"] else None
    view = {**view, "total": total, "columns": columns}
    return Page("summaries/costs", "Costs", {"rows": rows, "by": by}, view)


async def models(asked: Asked) -> Page:
    """Show which models cost most."""
    return await _most_expensive(asked, "model", "Models")


async def tasks(asked: Asked) -> Page:
    """Show which tasks cost most."""
    return await _most_expensive(asked, "task_name", "Tasks")


async def retries(asked: Asked) -> Page:
    """Show what retries and redeliveries paid again."""
    rows = await asked.calls.retry_spend(**asked.filters(since=USUAL))
    shown = rows[:_ROWS_OF_A_PART]
    return Page("parts/retries", "Paid again", {"rows": shown}, {"of": len(rows)})


async def _most_expensive(asked: Asked, by: GroupBy, title: str) -> Page:
    rows = await asked.calls.cost_summary(by, **asked.filters(since=USUAL))
    shown = rows[:_ROWS_OF_A_PART]
    return Page("parts/costs", title, {"rows": shown}, {"by": by, "of": len(rows)})


def _columns(asked: Asked, by: Any, rows: Any, filters: CallFilters) -> dict[str, Any] | None:
    """Return the picture of costs over time; None where it had too many columns to be one."""
    course = Course(by, rows, named="group", timezone=asked.zone, filters=filters)
    if course.length > MOST_COLUMNS:
        return None
    costs = [row.estimated_cost if row else 0 for row in course.rows()]
    chart = stacked([{"plain": cost} for cost in costs])
    return {"chart": chart, **named(asked, course, ("" for _ in costs))}

"""What pages share that have a row for each model, user, day ...: by what, and whose calls."""

from collections.abc import Sequence
from typing import Any, get_args

from llm_audit.display.courses import Course, group_name
from llm_audit.errors import UsageError
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import Bucket, GroupBy
from llm_audit.web.asked import Asked
from llm_audit.web.pages.summaries.over_time import bucket_for

_SHOWN = 200
_BY: tuple[GroupBy, ...] = (
    *("model", "provider", "user_id", "company_id", "task_name", "call_type", "tag"),
    *("environment", "service", "session_id", "trace_id", "hour", "day", "week", "month"),
)


def grouping_of(asked: Asked) -> GroupBy:
    """Return by what is grouped.

    Raises:
        UsageError: There is no such grouping.
    """
    by: Any = asked.one("by") or "model"
    if by not in _BY:
        raise UsageError(f"by {by!r:.40}: there are {', '.join(_BY)}.")
    return by  # type: ignore[no-any-return]


def view_of(asked: Asked, by: GroupBy, rows: Sequence[Any], filters: CallFilters) -> dict[str, Any]:
    """Return what a template draws of groups, whatever is summed up of each.

    Args:
        asked: Which calls they are of.
        by: What a group is.
        rows: One a group, with its name in `group`.
        filters: Of the calls.
    """
    is_time = by in get_args(Bucket)
    shown = rows[:_SHOWN]
    courses: dict[str | None, str] = {}
    if is_time:
        links = _links_of_times(asked, by, rows, filters)
    else:
        links = _links_of(asked, by, shown)
        courses = _links_of(asked, by, shown, page=asked.page, by=bucket_for(filters))
    return {
        "choices": _BY,
        "is_time": is_time,
        "shown": shown,
        "name": lambda name: group_name(by, name),
        "links": links,
        "courses": courses,
    }


def _links_of(
    asked: Asked, of: GroupBy, rows: Sequence[Any], **changes: Any
) -> dict[str | None, str]:
    """Return the address of exactly the calls of each group; no filter is an empty text."""
    name = "tags" if of == "tag" else of
    return {row.group: asked.among(name, row.group, **changes) for row in rows if row.group != ""}


def _links_of_times(
    asked: Asked, by: Any, rows: Sequence[Any], filters: CallFilters
) -> dict[str | None, str]:
    """Return the address of exactly the calls of each hour, day ..."""
    course = Course(by, rows, named="group", timezone=asked.zone, filters=filters)
    rows_in_time = course.spans_of_rows()
    links = asked.during(span for _, span in rows_in_time)
    return {row.group: link for (row, _), link in zip(rows_in_time, links, strict=True)}

"""A Celery canvas: its tasks as a tree, each with its attempts over time."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from llm_audit.display.traces import Axis, axis_over
from llm_audit.queries.answers.tasks import Task
from llm_audit.queries.lookup import missing
from llm_audit.queries.times import so_far_ms
from llm_audit.tolerant import UNKNOWN
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.canvas import Row, last_moment, rows_of, tree_of
from llm_audit.web.drawing.spans import Bar, bar, merged
from llm_audit.web.page import Page
from llm_audit.web.pages.missing import missing_page

_PAGE_ROWS = 150
_BARS = 12  # attempts of a task that are drawn one by one; others may run into each other
_GAPS = (4, 1.2)  # between those, in per cent: of one task, and of several
_TRACES = 8  # that are named


class Line(NamedTuple):
    """A row as it is drawn.

    Attributes:
        row: Which tasks it is about.
        bars: When their attempts ran.
        ends: How many of its tasks ended how: outcome, cause, how many.
        sums: What they come to.
        started_at: When the first of them began.
        duration_ms: From there to the end of the last of them.
    """

    row: Row
    bars: Sequence[Bar | None]
    ends: Sequence[tuple[str, str | None, int]]
    sums: dict[str, Any]
    started_at: datetime | None
    duration_ms: float | None


async def page(asked: Asked) -> Page:
    """Show a canvas by the id of its root, of a group in it, or of its trace."""
    workflow_id = asked.required("id", "workflow")
    canvas = await asked.calls.get_canvas(workflow_id)
    if not canvas.tasks and (root_id := await _root_of(asked, workflow_id)):
        workflow_id = root_id
        canvas = await asked.calls.get_canvas(workflow_id)
    tasks = canvas.tasks
    if not tasks:
        return missing_page(await asked.calls.ask(missing("task_id", workflow_id)))
    is_folded = asked.one("all") is None
    rows = rows_of(tree_of(tasks), is_folded=is_folded)
    first = asked.whole("row", 1, len(rows)) - 1
    shown = rows[first : first + _PAGE_ROWS]
    runs = any(task.running for task in tasks)
    attempts = (attempt for task in tasks for attempt in task.attempts)
    axis = axis_over(
        (at for each in attempts for at in (each.started_at, each.ended_at)), is_open=runs
    )
    known_ms = None if axis.start is None else axis.length_ms
    last = first + len(shown)
    view = {
        "lines": [_line(row, axis) for row in shown],
        "first": first,
        "rows": len(rows),
        "next": asked.same(row=last + 1) if last < len(rows) else None,
        "before": asked.same(row=max(1, first + 1 - _PAGE_ROWS)) if first else None,
        "is_folded": is_folded,
        "has_fold": any(row.node is None for row in rows),
        "total": _sums(tasks),
        "ends": _ends(tasks),
        "axis": axis,
        "runs": runs,
        "length_ms": so_far_ms(axis.start, known_ms, asked.now, runs=runs),
        "retried": sum(len(task.attempts) > 1 for task in tasks),
        "traces": _some([task.trace_id for task in tasks]),
        "name": _name(tasks, workflow_id),
    }
    return Page("tasks/workflow", "Workflow", {"id": workflow_id, "canvas": canvas}, view)


async def _root_of(asked: Asked, task_id: str) -> str | None:
    """Return the root of a task that is none itself."""
    calls = await asked.calls.list_by_filters(task_id=task_id, limit=1, with_content=False)
    return calls[0].task.root_id if calls and calls[0].task else None


def _name(tasks: Sequence[Task], workflow_id: str) -> str | None:
    """Return the name of the root, if it is known."""
    return next((task.name for task in tasks if task.task_id == workflow_id), tasks[0].name)


def _some(values: Sequence[str | None]) -> tuple[list[str], int]:
    """Return some of the different values there are, and how many more."""
    different = list(dict.fromkeys(value for value in values if value is not None))
    return different[:_TRACES], max(0, len(different) - _TRACES)


def _line(row: Row, axis: Axis) -> Line:
    attempts = [(task, attempt) for task in row.tasks for attempt in task.attempts]
    is_alone = len(row.tasks) == 1 and len(attempts) <= _BARS
    bars = [
        bar(
            str(attempt.end.status) if attempt.end else UNKNOWN,
            attempt.started_at,
            attempt.ended_at,
            axis,
            title=str(attempt.end.ended_by or attempt.end.status)
            if attempt.end and is_alone
            else "",
        )
        for _, attempt in attempts
    ]
    starts = [task.started_at for task in row.tasks if task.started_at]
    started_at, ended_at = min(starts, default=None), last_moment(row.tasks)
    took = None
    if started_at and ended_at:
        took = (ended_at - started_at).total_seconds() * 1_000
    return Line(
        row,
        bars if is_alone else merged(bars, _GAPS[len(row.tasks) > 1]),
        _ends(row.tasks),
        _sums(row.tasks),
        started_at,
        took,
    )


def _ends(tasks: Sequence[Task]) -> list[tuple[str, str | None, int]]:
    """Return how many tasks ended how, as far as their last attempts tell."""
    ends: Counter[tuple[str, str | None]] = Counter()
    for task in tasks:
        end = task.end
        ends[(UNKNOWN, None) if end is None else (str(end.status), end.ended_by)] += 1
    return [(*how, count) for how, count in ends.most_common()]


def _sums(tasks: Sequence[Task]) -> dict[str, Any]:
    names = ("calls", "failures", "running", "total_tokens", "estimated_cost", "calls_without_cost")
    sums: dict[str, Any] = {name: sum(getattr(task, name) for task in tasks) for name in names}
    again = ("attempts", "calls", "estimated_cost", "calls_without_cost")
    paid = {name: sum(getattr(task.paid_again, name) for task in tasks) for name in again}
    return {**sums, "attempts": sum(len(task.attempts) for task in tasks), "paid_again": paid}

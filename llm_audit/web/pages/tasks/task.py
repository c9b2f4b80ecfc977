"""One task: its attempts side by side, how each ended and why, and what was paid again."""

from collections.abc import Sequence
from typing import Any

from llm_audit.display.attempts import how_it_ended, numbers, what_came_next
from llm_audit.display.traces import axis_over
from llm_audit.errors import UsageError
from llm_audit.queries.answers.lines import CallPreview
from llm_audit.queries.answers.tasks import Task, TaskAttempt
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.lookup import missing
from llm_audit.tolerant import UNKNOWN as NO_STATUS
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.spans import Bar, bar
from llm_audit.web.page import Page
from llm_audit.web.pages.missing import missing_page
from llm_audit.web.rendering import UNKNOWN

_TABS = 12  # attempts that have one; all are in the picture above
_BARS = 500  # attempts in that picture
_CALLS = 150  # of an attempt, that have a row
_CALLS_OF_BOTH = 300  # of two attempts, that are set side by side
_PAIRS = 60  # of those, that have a row
_COMPARED = {
    "queue": "Queue",
    "worker": "Worker",
    "host": "Host",
    "pid": "Process",
    "retries": "Retries",
    "redelivered": "Redelivered",
}
_USERS = 3  # that are named
_NAMED = 30  # attempts, in one address
_AROUND = 20  # tasks that are named


async def page(asked: Asked) -> Page:
    """Show a task, and of its attempts the one that is asked for, or the last one."""
    task_id = asked.required("id", "task")
    found = await asked.calls.get_task(task_id)
    if found is None:
        return missing_page(await asked.calls.ask(missing("task_id", task_id)))
    task = found.task
    known = numbers(task.attempts)
    place = _place(asked, "attempt", known, len(known) - 1)
    beside = _place(asked, "against", known, place - 1 if place else min(1, len(known) - 1))
    chosen = task.attempts[place]
    other = task.attempts[beside] if beside >= 0 and beside != place else None
    own, compared, further = await _calls(asked, chosen, other)
    links = {number: asked.same(attempt=number, against=None) for number in known}
    is_earlier = beside < place
    pairs = []
    if compared:
        pairs = _pairs(compared, own) if is_earlier else _pairs(own, compared)
    sides = [] if other is None else [(beside, other), (place, chosen)][:: 1 if is_earlier else -1]
    view = {
        "numbers": known,
        "place": place,
        "chosen": chosen,
        "links": links,
        "tabs": _window(place, len(known)),
        "picture": _picture(task, known, links),
        "story": how_it_ended(chosen),
        "next": what_came_next(task, place),
        "calls": own,
        "further": further,
        "bars_of": _bars(own),
        "beside": beside,
        "sides": [(known[at], attempt) for at, attempt in sides],
        "differences": _differences(sides[0][1], sides[1][1]) if sides else [],
        "pairs": pairs[:_PAIRS],
        "more_pairs": len(pairs) - _PAIRS,
        "around": _around(task, found.around[:_AROUND]),
        "workflow": _workflow_of(task),
        "users": list(dict.fromkeys(call.user_id for call in own if call.user_id))[:_USERS],
        "later": _later(asked, task),
        "is_whole": found.is_whole,
        "more_around": max(0, len(found.around) - _AROUND),
    }
    title = f"Task {(task.name or task.task_id).rpartition('.')[2]}"
    return Page("tasks/task", title, {"task": task, "around": found.around, "calls": own}, view)


def _workflow_of(task: Task) -> str | None:
    """Return the id of what a task is part of: of a group of roots, its trace knows more."""
    if task.group_id is not None and task.root_id == task.task_id:
        return task.trace_id or task.group_id
    return task.root_id or task.group_id


def _later(asked: Asked, task: Task) -> str | None:
    """Return the address of the calls that were paid again; None if they cannot be named."""
    attempts = [attempt.attempt_id for attempt in task.attempts if attempt.is_later]
    if not attempts or None in attempts or len(attempts) > _NAMED:
        return None
    return asked.link("calls", task_id=task.task_id, attempt_id=attempts)


def _place(asked: Asked, name: str, known: Sequence[int], usual: int) -> int:
    """Return the place of the attempt whose number a parameter gives."""
    if asked.one(name) is None:
        return usual
    number = asked.whole(name, known[-1], known[-1])
    if number not in known:
        raise UsageError(f"Attempt {number} of this task made no call: nothing is known of it.")
    return known.index(number)


async def _calls(
    asked: Asked, chosen: TaskAttempt, other: TaskAttempt | None
) -> tuple[list[CallPreview], list[CallPreview], str | None]:
    """Return the last calls of an attempt, oldest first, and the address of earlier ones.

    Those of the other attempt come along if all fit into one answer.
    """
    limit = _CALLS
    attempts = [chosen]
    if other is not None and chosen.calls + other.calls <= _CALLS_OF_BOTH:
        attempts, limit = [chosen, other], _CALLS_OF_BOTH
    named = [attempt.attempt_id for attempt in attempts if attempt.attempt_id is not None]
    filters: CallFilters = {"task_id": chosen.task_id}
    if len(named) == len(attempts):
        filters["attempt_id"] = named
    if after := asked.one("after"):
        found = await asked.calls.preview_calls(limit=limit, after=after, **filters)
    else:
        found = await asked.calls.preview_calls(limit=limit, **filters)
    of_it = [call for call in found if _is_of(call, chosen)]
    own = of_it[:_CALLS]
    is_last = len(found) < limit and len(own) == len(of_it)
    is_all = is_last if after else len(own) == chosen.calls
    further = None if is_all or not found else asked.same(after=(own or found)[-1].id)
    compared = [call for call in found if other is not None and _is_of(call, other)]
    return own[::-1], compared[::-1], further


def _is_of(call: CallPreview, attempt: TaskAttempt) -> bool:
    if attempt.attempt_id is None and call.attempt_id is None:
        return call.retries == attempt.retries
    return call.attempt_id == attempt.attempt_id


def _window(place: int, count: int) -> range:
    """Return which attempts have a tab: those around the chosen one where there are many."""
    first = max(0, min(place - _TABS // 2, count - _TABS))
    return range(first, min(count, first + _TABS))


def _picture(task: Task, known: Sequence[int], links: dict[int, str]) -> list[Bar | None]:
    """Return the attempts over time."""
    attempts = list(zip(known, task.attempts, strict=True))[-_BARS:]
    moments = [at for _, each in attempts for at in (each.started_at, each.ended_at)]
    axis = axis_over(moments, is_open=bool(task.running))
    return [
        bar(
            str(each.end.status) if each.end else NO_STATUS,
            each.started_at,
            each.ended_at,
            axis,
            title=f"attempt {number}: {how_it_ended(each)}",
            link=links[number],
        )
        for number, each in attempts
    ]


def _bars(calls: Sequence[CallPreview]) -> list[Bar | None]:
    """Return the bar of each call."""
    runs = any(call.status == "PENDING" for call in calls)
    moments = [at for call in calls for at in (call.created_at, call.completed_at)]
    axis = axis_over(moments, is_open=runs)
    return [
        bar(str(call.status), call.created_at, call.completed_at, axis, title=str(call.status))
        for call in calls
    ]


def _differences(before: TaskAttempt, after: TaskAttempt) -> list[tuple[str, str, str]]:
    """Return in what two attempts differ: what it is called, and both values."""
    return [
        (words, _in_words(getattr(before, name)), _in_words(getattr(after, name)))
        for name, words in _COMPARED.items()
        if getattr(before, name) != getattr(after, name)
    ]


def _in_words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return UNKNOWN if value is None else str(value)


def _pairs(
    before: Sequence[CallPreview], after: Sequence[CallPreview]
) -> list[tuple[CallPreview | None, CallPreview | None]]:
    """Return calls of two attempts side by side: those of a kind in the order of time."""
    waiting: dict[tuple[Any, Any], list[CallPreview]] = {}
    for call in before:
        waiting.setdefault((call.call_type, call.model), []).append(call)
    pairs: list[tuple[CallPreview | None, CallPreview | None]] = []
    for call in after:
        alike = waiting.get((call.call_type, call.model))
        pairs.append((alike.pop(0) if alike else None, call))
    pairs += [(call, None) for calls in waiting.values() for call in calls]
    return pairs


def _around(task: Task, others: Sequence[Task]) -> list[tuple[str, str, Task | None]]:
    """Return the tasks around a task: what each is to it, its id, and what is known of it."""
    known = {other.task_id: other for other in others}
    named = {"runs in": task.outer_task_id, "started by": task.parent_id, "root": task.root_id}
    rows = []
    for relation, task_id in named.items():
        if task_id is not None and task_id != task.task_id:
            rows.append((relation, task_id, known.pop(task_id, None)))
    for other in known.values():
        relation = "ran in it" if other.outer_task_id == task.task_id else "started"
        rows.append((relation, other.task_id, other))
    return rows

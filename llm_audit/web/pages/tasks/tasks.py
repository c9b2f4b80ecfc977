"""The tasks: by name, by queue and worker, and the newest of them, as their calls tell."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal

from llm_audit.queries.answers.tasks import QueueAndWorker
from llm_audit.web.asked import Asked
from llm_audit.web.page import Page
from llm_audit.web.pages.summaries.over_time import USUAL

_NAMES = 100  # of tasks, on a page
_PAGE_ROWS = 50
_MOST_ROWS = 100
_ROWS_OF_A_PART = 12
_PLACES = 100  # queues or workers that have a row
_SUMS = ("calls", "successes", "failures", "pending")


async def page(asked: Asked) -> Page:
    """Show tasks by name; or only the newest ones, or only queues and workers."""
    show = asked.one("show")
    if show == "newest":
        limit = asked.whole("limit", _PAGE_ROWS, _MOST_ROWS)
        return await _newest(asked, "tasks/tasks", limit, asked.one("after"))
    if show == "workers":
        return await _workers(asked, "tasks/tasks", _PLACES)
    filters = asked.filters(since=USUAL)
    rows = await asked.calls.task_summary(**filters)
    retries = await asked.calls.retry_spend(**filters)
    first = asked.whole("row", 1, max(len(rows), 1)) - 1
    last = first + _NAMES
    view = {
        "again": {row.task_name: row for row in retries},
        "rows": rows[first:last],
        "further": asked.same(row=last + 1) if last < len(rows) else None,
    }
    return Page("tasks/tasks", "Tasks", {"by_name": rows, "paid_again": retries}, view)


async def newest(asked: Asked) -> Page:
    """Show the newest tasks."""
    return await _newest(asked, "parts/newest_tasks", _ROWS_OF_A_PART)


async def workers(asked: Asked) -> Page:
    """Show queues and workers."""
    return await _workers(asked, "parts/workers", _ROWS_OF_A_PART)


async def _newest(asked: Asked, template: str, limit: int, after: str | None = None) -> Page:
    tasks = await asked.calls.list_tasks(limit=limit, after=after, **asked.filters(since=USUAL))
    older = asked.older([task.first_id for task in tasks], limit)
    return Page(template, "Newest tasks", {"tasks": tasks, "next": older})


async def _workers(asked: Asked, template: str, rows: int) -> Page:
    summary = await asked.calls.worker_summary(**asked.filters(since=USUAL))
    kinds: tuple[Literal["queue", "worker"], ...] = ("queue", "worker")
    places = {kind: _places_of(summary.pairs, kind) for kind in kinds}
    view = {"places": places, "most": rows}
    return Page(template, "Queues and workers", {"summary": summary}, view)


def _places_of(
    pairs: Iterable[QueueAndWorker], kind: Literal["queue", "worker"]
) -> list[dict[str, Any]]:
    """Return what queues, or workers, add up to, most calls first.

    Args:
        pairs: Of queue and worker.
        kind: Which of them.
    """
    of: dict[str | None, list[QueueAndWorker]] = defaultdict(list)
    for pair in pairs:
        of[getattr(pair, kind)].append(pair)
    other: Literal["queue", "worker"] = "worker" if kind == "queue" else "queue"
    places = []
    for name, own in of.items():
        sums: dict[str, Any] = {each: sum(getattr(pair, each) for pair in own) for each in _SUMS}
        judged = sums["successes"] + sums["failures"]
        seen = [pair.last_seen for pair in own if pair.last_seen]
        places.append(
            {
                "name": name,
                "others": sorted({text for pair in own if (text := getattr(pair, other))}),
                "failure_rate": sums["failures"] / judged if judged else None,
                "last_seen": max(seen, default=None),
                **sums,
            }
        )
    return sorted(places, key=lambda place: (-place["calls"], str(place["name"])))

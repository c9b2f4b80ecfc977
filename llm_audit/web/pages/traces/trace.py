"""One trace: tree and waterfall in one, with the tasks that made its calls."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from llm_audit.display.traces import axis_of, sums_row, trace_row
from llm_audit.errors import UsageError
from llm_audit.queries.answers.attempts import AttemptBranch, attempt_branches
from llm_audit.queries.answers.trace_tree import Branch, TraceBranch, TraceTree, add_up
from llm_audit.queries.lookup import Missing, missing
from llm_audit.web.asked import Asked, in_zone
from llm_audit.web.drawing.spans import span
from llm_audit.web.drawing.traces.focus import (
    LISTS,
    SHOWS,
    Focus,
    alone_in_place,
    chosen,
    focus_of,
    next_failure,
)
from llm_audit.web.drawing.traces.idle import SHORT, idle_in, signs
from llm_audit.web.drawing.traces.minimap import minimap
from llm_audit.web.drawing.traces.rows import (
    PAGE_ROWS,
    by_id,
    depth_of,
    rows_by_depth,
    rows_of,
    ticks,
    unfolded,
    usual_depth,
)
from llm_audit.web.page import Page
from llm_audit.web.pages.missing import missing_page

MOST_CALLS = 20_000  # of a trace that are looked at
ATTEMPTS = 6  # that are shown above the calls
DEEPEST = 1_000_000
_DEPTHS = 6  # that are offered
_ANCESTORS = 3  # that are named


class Part(NamedTuple):
    """Which rows of all there are on this page, from 1."""

    first: int
    last: int
    of: int


async def page(asked: Asked) -> Page:
    """Show a trace, or a branch of it."""
    trace_id, show, at = asked.required("id", "trace"), asked.one("show"), asked.one("at")
    if show is not None and show not in SHOWS:
        raise UsageError(f"show has to be one of {', '.join(SHOWS)}.")
    tree = await asked.calls.get_trace_tree(trace_id, limit=MOST_CALLS)
    if not tree.children:
        return missing_page(await asked.calls.ask(missing("trace_id", trace_id)))
    branches = by_id(tree)
    if at is not None and at not in branches:
        return missing_page(Missing("call", at))
    focus = focus_of(tree, branches, at)
    data = {"trace_id": trace_id, "totals": sums_row(focus.top), "is_cut": tree.calls == MOST_CALLS}
    if asked.one("format") == "json":
        return Page("traces/trace", f"Trace {trace_id}", data | _all_of_it(focus, show))
    return Page("traces/trace", f"Trace {trace_id}", data, _view(asked, tree, focus, show))


def _all_of_it(focus: Focus, show: str | None) -> dict[str, Any]:
    """Return what machines get: every call and every attempt, nothing folded."""
    critical = {branch.call.id for branch in focus.top.critical_branches()}
    attempts = attempt_branches(unfolded(focus.top, None))
    names = ("task_id", "task_name", "attempt_id", "retries", "redelivered")
    return {
        "attempts": [
            {name: getattr(attempt, name) for name in names} | sums_row(attempt)
            for attempt in attempts
        ],
        "calls": [trace_row(branch, critical) for branch in chosen(focus.top, show, None)],
    }


def _view(asked: Asked, tree: TraceTree, focus: Focus, show: str | None) -> dict[str, Any]:
    """Return what the template draws."""
    top = focus.top
    counts = rows_by_depth(top)
    depth = None if show else asked.whole("depth", usual_depth(counts), DEEPEST)
    critical = {branch.call.id for branch in top.critical_branches()}
    attempts = attempt_branches(unfolded(top, None))
    found: Sequence[Any] = attempts if show == "tasks" else chosen(top, show, depth)
    part = _part(asked, found, focus.marked)
    here = found[part.first - 1 : part.last]
    if show in LISTS:
        here = [alone_in_place(branch) for branch in here]
    deepest = None if depth is None else depth_of(top) + depth
    axis = axis_of(_together(here, part, deepest), asked.now)
    idle = idle_in(unfolded(top, None), axis)
    if asked.one("gaps") == SHORT:
        axis = axis._replace(breaks=idle)
    lanes = here if show == "tasks" else attempts[:ATTEMPTS]
    return {
        "tree": tree,
        **focus._asdict(),
        "ancestors": [*focus.way[:1], *focus.way[1:][-_ANCESTORS:]],
        "left_out": max(len(focus.way) - 1 - _ANCESTORS, 0),
        "ticks": ticks(axis),
        "idle": signs(axis),
        "idle_ms": sum(end - start for start, end in idle),
        "begins": f"{in_zone(axis.start, asked.zone):%H:%M:%S}" if axis.start else "0",
        "map": minimap((one.call for one in tree.walk()), axis_of(tree, asked.now), axis),
        "show": show,
        "depth": depth,
        "depths": _depths(counts, depth),
        "critical": len(critical),
        "rows": [] if show == "tasks" else rows_of(here, axis, critical, top=top, depth=depth),
        "part": part,
        "page_rows": PAGE_ROWS,
        "lanes": [(one, span(one.started_at, _end(one), axis)) for one in lanes],
        "attempts": len(attempts),
        "tasks": len({attempt.task_id for attempt in attempts}),
        "first_failure": next_failure(tree, None),
        "next_failure": next_failure(tree, focus.marked),
        "orphans": [root for root in tree.children if root.orphan],
    }


def _part(asked: Asked, found: Sequence[Any], marked: TraceBranch | None) -> Part:
    """Return which rows are on this page: those from the one in the address, or at the mark."""
    place = next((n for n, one in enumerate(found) if marked and _is(one, marked)), 0)
    usual = place // PAGE_ROWS * PAGE_ROWS + 1
    first = min(asked.whole("from", usual, MOST_CALLS), max(len(found), 1))
    return Part(first, min(first + PAGE_ROWS - 1, len(found)), len(found))


def _together(shown: Sequence[Any], part: Part, deepest: int | None) -> Branch:
    """Return what adds up what is on this page, for its axis.

    Of a page of many, what has rows below it says nothing: it may go on far beyond them.
    """
    together = Branch(children=list(shown))
    if len(shown) < part.of:
        ends = [one for one in shown if not one.children or getattr(one, "depth", 0) == deepest]
        together.children = ends or together.children
    add_up(together)
    return together


def _is(one: TraceBranch | AttemptBranch, marked: TraceBranch) -> bool:
    return isinstance(one, TraceBranch) and one.call is marked.call


def _end(attempt: AttemptBranch) -> datetime | None:
    return None if attempt.pending else attempt.ended_at


def _depths(counts: Sequence[int], depth: int | None) -> list[tuple[int, int]]:
    """Return how many levels can be unfolded, each with the number of rows: those near the top."""
    offered = {*range(1, min(_DEPTHS, len(counts) - 1) + 1), *([depth] if depth else [])}
    return [(each, counts[min(each, len(counts) - 1)]) for each in sorted(offered)]

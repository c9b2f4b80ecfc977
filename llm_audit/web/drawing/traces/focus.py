"""What of a trace is looked at: all of it or a branch, and which of its calls."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from llm_audit.call import FAILURE_STATUSES
from llm_audit.queries.answers.trace_tree import Branch, TraceBranch, TraceTree, alone
from llm_audit.web.drawing.traces.rows import unfolded

LISTS = ("failed", "critical")  # of calls apart: their figures are without what is below them
SHOWS = (*LISTS, "all", "tasks")


class Focus(NamedTuple):
    """What is looked at.

    Attributes:
        top: A branch, or the whole trace.
        marked: The call in it that was asked for, if one was.
        way: The branches that the top is below of, the root first.
    """

    top: Branch
    marked: TraceBranch | None
    way: Sequence[TraceBranch]


def focus_of(tree: TraceTree, branches: Mapping[str, TraceBranch], at: str | None) -> Focus:
    """Return what is looked at for a call: its branch, or where it is if nothing is below it.

    Args:
        tree: The trace.
        branches: Its branches by the ids of their calls.
        at: The call's id, one of them; None for the whole trace.
    """
    if at is None:
        return Focus(tree, None, ())
    marked = branches[at]
    way = _way_to(marked, branches)
    if marked.children:
        return Focus(marked, marked, way)
    return Focus(way[-1], marked, way[:-1]) if way else Focus(tree, marked, ())


def chosen(top: Branch, show: str | None, depth: int | None) -> list[TraceBranch]:
    """Return the calls that have a row, from top to bottom.

    Args:
        top: What is looked at.
        show: One of `SHOWS`; None for those that are not folded.
        depth: How many levels are unfolded; None for all.
    """
    if show == "critical":
        return top.critical_branches()
    if show == "failed":
        return [one for one in unfolded(top, None) if one.call.status in FAILURE_STATUSES]
    return list(unfolded(top, depth))


def next_failure(tree: TraceTree, marked: TraceBranch | None) -> tuple[int, TraceBranch] | None:
    """Return the failure that follows a call in the order of rows, and its number, from 1.

    Args:
        tree: The trace.
        marked: The call; None for the first failure. After the last one comes the first.
    """
    number, first, is_passed = 0, None, marked is None
    for branch in tree.walk():
        if branch.call.status in FAILURE_STATUSES:
            number += 1
            first = first or branch
            if is_passed:
                return number, branch
        is_passed = is_passed or branch is marked
    return (1, first) if first is not None and first is not marked else None


def alone_in_place(branch: TraceBranch) -> TraceBranch:
    """Return a call where it is, as if there were nothing below it: what a list of some shows."""
    one = alone(branch.call)
    one.depth, one.orphan = branch.depth, branch.orphan
    return one


def _way_to(branch: TraceBranch, branches: Mapping[str, TraceBranch]) -> list[TraceBranch]:
    way: list[TraceBranch] = []
    while not branch.orphan and branch.call.parent_call_id is not None:
        branch = branches[branch.call.parent_call_id]
        way.append(branch)
    return way[::-1]

"""A trace as a tree: what each branch of it used, cost, and waited for.

    build_trace_tree(collection.aggregate(pipelines.trace_tree(trace_id)))

Links between calls are what users give: a parent may never have been recorded, and links may close
a circle. Every call is in the tree exactly once all the same. Nothing here is recursive, because
an agent's calls may be thousands deep.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from llm_audit.call import (
    FAILURE_STATUSES,
    LLMCallStatusEnum,
    LLMCallTypeEnum,
    UTCDatetime,
)
from llm_audit.queries.times import so_far_ms
from llm_audit.tolerant import TolerantModel

Orphan = Literal["parent not in this trace", "parents in a circle"]

SUMS = (
    *("calls", "failures", "pending", "prompt_tokens", "completion_tokens", "total_tokens"),
    *("estimated_cost", "calls_without_cost", "unreadable_calls"),
)
_STILL_RUNNING = datetime.max.replace(tzinfo=UTC)


class TraceCall(TolerantModel):
    """One call of a trace, without what was said."""

    id: str
    parent_call_id: str | None = None
    call_type: LLMCallTypeEnum | None = None
    status: LLMCallStatusEnum
    provider: str | None = None
    model: str | None = None
    task_id: str | None = None
    task_name: str | None = None
    retries: int | None = None
    redelivered: bool | None = None
    attempt_id: str | None = None
    tools_called: list[str] = Field(default_factory=list)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    estimated_cost: float | None = Field(None, description="USD")
    latency_ms: float | None = None
    error_type: str | None = None
    ended_by: str | None = None
    created_at: UTCDatetime | None = None
    completed_at: UTCDatetime | None = None


@dataclass(kw_only=True, eq=False)
class Branch:
    """A call with everything below it, or a whole trace: sums, and its time span.

    `started_at` and `ended_at` are the first and the last moment that are known; while `pending`
    is not 0, there is more to come. `estimated_cost` is in USD and knows nothing of
    `calls_without_cost`; in `unreadable_calls` some field has a wrong type, and is as if missing.
    `awaited` are the children that decided when this ended.
    """

    children: "list[TraceBranch]" = field(default_factory=list, repr=False)
    calls: int = 0
    failures: int = 0
    pending: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    estimated_cost: float = 0.0
    calls_without_cost: int = 0
    unreadable_calls: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    awaited: "list[TraceBranch]" = field(default_factory=list, repr=False)

    @property
    def duration_ms(self) -> float | None:
        """From the first to the last moment that are known, in milliseconds."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at) / timedelta(milliseconds=1)

    def length_ms(self, now: datetime) -> float | None:
        """Return how long this took, or has taken until now if something in it still runs."""
        return so_far_ms(self.started_at, self.duration_ms, now, runs=bool(self.pending))

    def walk(self) -> "Iterator[TraceBranch]":
        """Yield every branch below, each before its own children, oldest first."""
        waiting = list(reversed(self.children))
        while waiting:
            branch = waiting.pop()
            yield branch
            waiting.extend(reversed(branch.children))

    def critical_path(self) -> list[TraceCall]:
        """Return the calls that decided when this ended, in the order of time.

        Looking back from the end: the branch that ended last, then the one that ended last before
        that began, and so on, each with its own critical path. To be faster, make one of these
        faster. A running call ends last.
        """
        return [branch.call for branch in self.critical_branches()]

    def critical_branches(self) -> "list[TraceBranch]":
        """Return the branches of the calls on the critical path."""
        path = []
        waiting = list(reversed(self.awaited))
        while waiting:
            branch = waiting.pop()
            path.append(branch)
            waiting.extend(reversed(branch.awaited))
        return path


@dataclass(kw_only=True, eq=False)
class TraceBranch(Branch):
    """A call of a trace and everything below it; the sums include the call itself.

    `orphan` says why a call that names a parent is a root, if it is one; `depth` is 0 for roots.
    """

    call: TraceCall
    depth: int = 0
    orphan: Orphan | None = None

    def critical_branches(self) -> "list[TraceBranch]":
        """Return this branch, then those below it that decided when it ended."""
        return [self, *super().critical_branches()]


@dataclass(kw_only=True, eq=False)
class TraceTree(Branch):
    """A trace: its roots are `children`, oldest first."""


def build_trace_tree(rows: Iterable[Mapping[str, Any]]) -> TraceTree:
    """Make a tree of the rows of `pipelines.trace_tree`.

    Args:
        rows: As they come, oldest first.

    Returns:
        The tree; without roots if there are no rows.
    """
    branches = {call.id: TraceBranch(call=call) for call in map(TraceCall.model_validate, rows)}
    tree = TraceTree(children=_roots(branches))
    in_order = []
    for branch in tree.walk():
        in_order.append(branch)
        for child in branch.children:
            child.depth = branch.depth + 1
    for branch in reversed(in_order):  # children before their parents
        _count(branch)
        add_up(branch)
        branch.awaited = _awaited(branch.children, branch.call.created_at)
    add_up(tree)
    tree.awaited = _awaited(tree.children, None)
    return tree


def _roots(branches: Mapping[str, TraceBranch]) -> list[TraceBranch]:
    """Hang every branch under its parent, and return those that have none, oldest first."""
    for branch in branches.values():
        parent_id = branch.call.parent_call_id
        if parent_id is not None and parent_id not in branches:
            branch.orphan = "parent not in this trace"
    for first in _first_of_circles(branches):
        branches[first].orphan = "parents in a circle"
    roots = []
    for branch in branches.values():
        if branch.orphan or branch.call.parent_call_id is None:
            roots.append(branch)
        else:
            branches[branch.call.parent_call_id].children.append(branch)
    return roots


def _first_of_circles(branches: Mapping[str, TraceBranch]) -> Iterator[str]:
    """Yield the oldest call of each circle of parents."""
    order = {call_id: number for number, call_id in enumerate(branches)}
    seen: set[str] = set()
    for start in branches:
        way: dict[str, None] = {}
        step: str | None = start
        while step is not None and step in branches and step not in seen:
            seen.add(step)
            way[step] = None
            step = branches[step].call.parent_call_id
        if step in way:
            circle = list(way)[list(way).index(step) :]
            yield min(circle, key=order.__getitem__)


def alone(call: TraceCall) -> TraceBranch:
    """Return the branch of a call as if there were nothing below it."""
    branch = TraceBranch(call=call)
    _count(branch)
    return branch


def _count(branch: TraceBranch) -> None:
    """Count a call itself."""
    call = branch.call
    branch.calls = 1
    branch.failures = int(call.status in FAILURE_STATUSES)
    branch.pending = int(call.status == LLMCallStatusEnum.PENDING)
    branch.prompt_tokens = call.prompt_tokens or 0
    branch.completion_tokens = call.completion_tokens or 0
    branch.total_tokens = call.total_tokens or 0
    branch.estimated_cost = call.estimated_cost or 0.0
    branch.calls_without_cost = int(call.estimated_cost is None)
    branch.unreadable_calls = int(bool(call.unreadable))
    branch.started_at = call.created_at or call.completed_at
    branch.ended_at = call.completed_at or call.created_at


def add_up(branch: Branch) -> None:
    """Add what is below, whose sums are known."""
    for child in branch.children:
        branch.calls += child.calls
        branch.failures += child.failures
        branch.pending += child.pending
        branch.prompt_tokens += child.prompt_tokens
        branch.completion_tokens += child.completion_tokens
        branch.total_tokens += child.total_tokens
        branch.estimated_cost += child.estimated_cost
        branch.calls_without_cost += child.calls_without_cost
        branch.unreadable_calls += child.unreadable_calls
    starts = (below.started_at for below in (branch, *branch.children))
    ends = (below.ended_at for below in (branch, *branch.children))
    branch.started_at = min((at for at in starts if at), default=None)
    branch.ended_at = max((at for at in ends if at), default=None)


def _awaited(children: Iterable[TraceBranch], not_before: datetime | None) -> list[TraceBranch]:
    """Choose the children that decided when their parent's branch ended, the first one first."""
    timed = [(end, child) for child in children if (end := _end(child)) is not None]
    timed.sort(key=lambda pair: pair[0], reverse=True)
    chosen: list[TraceBranch] = []
    until = _STILL_RUNNING
    for end, child in timed:
        if end <= until and (not_before is None or end > not_before):
            chosen.append(child)
            until = child.started_at or end
    return chosen[::-1]


def _end(branch: Branch) -> datetime | None:
    return _STILL_RUNNING if branch.pending else branch.ended_at

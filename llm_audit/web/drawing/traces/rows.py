"""The rows of a trace: which calls have one, and what is drawn in it. Nothing here is recursive."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from llm_audit.call import FAILURE_STATUSES, LLMCallStatusEnum
from llm_audit.display.traces import Axis
from llm_audit.queries.answers.attempts import attempt_of
from llm_audit.queries.answers.trace_tree import Branch, TraceBranch, TraceTree
from llm_audit.web.drawing.spans import Span, room, span

PAGE_ROWS = 80
INDENTED = 12  # levels: deeper down, rows no longer move to the right
_TICKS = 5
_LAST_TICK = 0.93  # of the length: further to the right, there is no room for its words
_APART = 0.1  # of the width, that the words of two ticks need
_STEPS_MS = (
    *(step * unit for unit in (1, 10, 100, 1_000) for step in (1, 2, 5)),
    *(step * unit for unit in (1_000, 60_000) for step in (10, 15, 30, 60, 120, 300)),
    *(step * 3_600_000 for step in (1, 2, 3, 6, 12, 24)),
)


class Drawn(NamedTuple):
    """The bar of a row.

    Attributes:
        own: The call itself; None if its time is not known.
        below: What is below it.
        runs: Whether the call still runs.
    """

    own: Span | None
    below: Span | None
    runs: bool


class Row(NamedTuple):
    """A call in the picture.

    Attributes:
        branch: The call with what the figures of its row are about.
        level: How far it is moved to the right.
        depth: How far down it is, where that does not show; None where it does.
        drawn: Its bar.
        below: How many calls are below it.
        failures_below: Of these, how many failed.
        is_folded: Whether none of them has a row.
        is_critical: Whether it is on the critical path.
        is_first_of_attempt: Whether the row above is of another attempt of a task, or of none.
    """

    branch: TraceBranch
    level: int
    depth: int | None
    drawn: Drawn
    below: int
    failures_below: int
    is_folded: bool
    is_critical: bool
    is_first_of_attempt: bool


def unfolded(top: Branch, depth: int | None) -> Iterator[TraceBranch]:
    """Yield the branches that have a row: the top, if it is a call, and what is below it.

    Args:
        top: A call, or the whole trace.
        depth: How many levels below the top; None for all. The roots of a trace are its level 0.
    """
    waiting = [top] if isinstance(top, TraceBranch) else top.children[::-1]
    deepest = None if depth is None else depth_of(top) + depth
    while waiting:
        branch = waiting.pop()
        yield branch
        if deepest is None or branch.depth < deepest:
            waiting += branch.children[::-1]


def depth_of(top: Branch) -> int:
    """Return the depth of a call, 0 for a whole trace."""
    return top.depth if isinstance(top, TraceBranch) else 0


def rows_by_depth(top: Branch) -> list[int]:
    """Return how many rows there are if one level is unfolded, two, and so on."""
    counts = Counter(branch.depth - depth_of(top) for branch in unfolded(top, None))
    return list(accumulate(counts[depth] for depth in range(len(counts))))


def usual_depth(rows: Sequence[int]) -> int:
    """Return how many levels are shown where nothing says so: as many as fit, but some.

    Args:
        rows: As `rows_by_depth` returns them.
    """
    first = next((depth for depth, count in enumerate(rows) if count > 1), 0)
    fitting = [depth for depth, count in enumerate(rows) if count <= PAGE_ROWS]
    return max(first, fitting[-1] if fitting else 0)


def by_id(tree: TraceTree) -> dict[str, TraceBranch]:
    """Return the branches of a trace by the ids of their calls, from top to bottom."""
    return {branch.call.id: branch for branch in tree.walk()}


def rows_of(
    shown: Iterable[TraceBranch],
    axis: Axis,
    critical: Collection[str],
    *,
    top: Branch,
    depth: int | None,
) -> list[Row]:
    """Return the rows of calls.

    Args:
        shown: The calls, from top to bottom.
        axis: Of their time.
        critical: The ids of the calls on the critical path.
        top: What the picture is of.
        depth: How many levels of it are unfolded; None for all.
    """
    rows, attempt_above = [], None
    for branch in shown:
        level = branch.depth - depth_of(top)
        attempt = attempt_of(branch.call)
        failed = branch.call.status in FAILURE_STATUSES
        rows.append(
            Row(
                branch,
                min(level, INDENTED),
                branch.depth if level > INDENTED else None,
                drawn(branch, axis),
                branch.calls - 1,
                branch.failures - failed,
                bool(branch.children) and depth is not None and level >= depth,
                branch.call.id in critical,
                attempt != attempt_above,
            )
        )
        attempt_above = attempt
    return rows


def drawn(branch: TraceBranch, axis: Axis) -> Drawn:
    """Return the bar of a call and of what is below it."""
    call = branch.call
    runs = call.status == LLMCallStatusEnum.PENDING
    end = None if runs else call.completed_at or call.created_at
    start = call.created_at or end
    below = None
    if branch.children:
        below = span(branch.started_at, None if branch.pending else branch.ended_at, axis)
    return Drawn(span(start, end, axis), below, runs)


def ticks(axis: Axis) -> list[tuple[float, float]]:
    """Return the marks of an axis: where each is, and how many milliseconds after the start.

    Where time is left out, what comes after it begins with one.
    """
    steps = (step for step in sorted(_STEPS_MS) if axis.shown_ms / step <= _TICKS)
    step = next(steps, axis.shown_ms / _TICKS) or 1
    begun = [0.0, *(end for _, end in axis.breaks)]
    ended = [*(start for start, _ in axis.breaks), axis.length_ms]
    marks: list[float] = []
    for first, last in zip(begun, ended, strict=True):
        number = int(first // step) + 1
        marks += [first, *(n * step for n in range(number, number + _TICKS + 1) if n * step < last)]
    whole = room(axis)
    shown, right = [], -_LAST_TICK
    for mark in marks:
        place = axis.place_ms(mark)
        if place <= _LAST_TICK and place - right >= _APART:
            shown.append((place * whole, mark))
            right = place
    return shown

"""Time of a trace in which no call was made: where it is, and how it is left out of the picture."""

from collections.abc import Iterable
from typing import NamedTuple

from llm_audit.call import LLMCallStatusEnum
from llm_audit.display.traces import MS, Axis
from llm_audit.queries.answers.trace_tree import TraceBranch
from llm_audit.web.drawing.spans import room

SHORT = "short"  # what the parameter says
_MOST = 8  # stretches that are left out, the longest ones
_SHORTEST = 1 / 20  # of what is left
_WORTH = 1 / 2  # of the whole, that may be left


class Idle(NamedTuple):
    """What is left out.

    Attributes:
        x: Where on the axis, in per cent of the width.
        width: How wide its sign is.
        length_ms: How long it was.
    """

    x: float
    width: float
    length_ms: float


def idle_in(branches: Iterable[TraceBranch], axis: Axis) -> tuple[tuple[float, float], ...]:
    """Return when nothing ran, in milliseconds from the start, if that is most of the time.

    What a call does while calls below it run, or between them, is none of ours: only calls with
    nothing below them count.

    Args:
        branches: All of what is looked at.
        axis: Of what is drawn.
    """
    if axis.start is None or not axis.length_ms:
        return ()
    busy: list[tuple[float, float]] = []
    for branch in branches:
        call = branch.call
        if branch.children or call.created_at is None:
            continue
        begun = (call.created_at - axis.start) / MS
        runs = call.status == LLMCallStatusEnum.PENDING
        ended = call.completed_at or call.created_at
        busy.append((begun, axis.length_ms if runs else (ended - axis.start) / MS))
    gaps: list[tuple[float, float]] = []
    until = 0.0
    for first, last in [*sorted(busy), (axis.length_ms, axis.length_ms)]:
        if (begins := min(first, axis.length_ms)) > until:
            gaps.append((until, begins))
        until = max(until, last)
    shown, short = axis.length_ms, []
    for start, end in sorted(gaps, key=lambda gap: gap[0] - gap[1])[:_MOST]:
        if end - start >= shown * _SHORTEST:
            short.append((start, end))
            shown -= end - start
    return tuple(sorted(short)) if shown <= axis.length_ms * _WORTH else ()


def signs(axis: Axis) -> list[Idle]:
    """Return the sign of each stretch that an axis leaves out."""
    whole = room(axis)
    return [
        Idle(
            axis.place_ms(start) * whole,
            (axis.place_ms(end) - axis.place_ms(start)) * whole,
            end - start,
        )
        for start, end in axis.breaks
    ]

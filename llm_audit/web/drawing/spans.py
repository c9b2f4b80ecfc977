"""Stretches of time as bars: all that are seen together are on one axis, in per cent of the width.

What still runs goes on into a gutter to the right, as its length would make slivers of all else.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from llm_audit.call import LLMCallStatusEnum
from llm_audit.display.traces import Axis

GUTTER = 4
_NARROWEST = 0.3


class Span(NamedTuple):
    """A stretch of time as it is drawn.

    Attributes:
        x: Its left edge, in per cent.
        width: How wide it is, in per cent.
    """

    x: float
    width: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width


class Bar(NamedTuple):
    """A stretch of time that stands for an outcome.

    Attributes:
        kind: The outcome.
        span: Where it is.
        title: What it is, in words.
        link: Where a click leads.
    """

    kind: str
    span: Span
    title: str = ""
    link: str | None = None


def room(axis: Axis) -> float:
    """Return how much of the width an axis takes: the rest is the gutter."""
    return 100 - GUTTER * axis.is_open


def span(start: datetime | None, end: datetime | None, axis: Axis) -> Span | None:
    """Return a stretch of time as it is drawn; without an end, it goes on to the edge.

    It is None if it is not known, or not within the axis.
    """
    if start is None or not axis.meets(start, end):
        return None
    left = axis.place(start) * room(axis)
    right = 100.0 if end is None else axis.place(end) * room(axis)
    width = max(right - left, _NARROWEST)
    return Span(min(left, 100 - width), width)


def bar(
    kind: str,
    start: datetime | None,
    end: datetime | None,
    axis: Axis,
    *,
    title: str = "",
    link: str | None = None,
) -> Bar | None:
    """Return the bar of something that ended, or runs; None if it is not known when it began.

    Args:
        kind: Its outcome.
        start: When it began.
        end: When it ended, if that is known.
        axis: Of all that is seen together.
        title: What it is, in words.
        link: Where a click leads.
    """
    last = None if kind == LLMCallStatusEnum.PENDING else end or start
    place = span(start, last, axis)
    return None if place is None else Bar(kind, place, title, link)


def merged(bars: Iterable[Bar | None], gap: float) -> list[Bar]:
    """Return bars of many stretches: those of a kind that are near each other are one.

    However many they were, they are few; what succeeded lies below everything else.

    Args:
        bars: In any order.
        gap: How much has to be between two of them, in per cent.
    """
    of_kind: dict[str, list[Span]] = {}
    for kind, place, *_ in sorted((one for one in bars if one), key=lambda one: one.span.x):
        spans = of_kind.setdefault(kind, [])
        if spans and place.x - spans[-1].right < gap:
            last = spans.pop()
            spans.append(Span(last.x, max(last.right, place.right) - last.x))
        else:
            spans.append(place)
    kinds = sorted(of_kind, key=lambda kind: (kind != LLMCallStatusEnum.SUCCESS, kind))
    return [Bar(kind, place) for kind in kinds for place in of_kind[kind]]

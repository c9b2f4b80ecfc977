"""Stretches of time as bars beside rows: all on one axis, as wide as its place.

The axis ends at the last moment that is known. What still runs goes on into a gutter to the right,
as its length would make slivers of everything else.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

WIDTH = 1000
_GUTTER = 40
_NARROWEST = 4


class Span(NamedTuple):
    """A bar.

    Attributes:
        kind: The outcome that it stands for.
        x: Its left edge.
        width: How wide it is.
        title: What it is, in words.
        link: Where a click leads.
    """

    kind: str
    x: float
    width: float
    title: str = ""
    link: str | None = None


class Axis:
    """The time from the first to the last known moment of all that is drawn.

    Args:
        moments: Beginnings and ends; what is not known of them is None.
        runs: Whether something still runs, so that there is a gutter.
    """

    def __init__(self, moments: Iterable[datetime | None], *, runs: bool) -> None:
        known = [moment for moment in moments if moment is not None]
        self.start = min(known, default=None)
        self.end = max(known, default=None)
        self._width = WIDTH - (_GUTTER if runs else 0)

    @property
    def length_ms(self) -> float | None:
        """How long it is."""
        if self.start is None or self.end is None:
            return None
        return (self.end - self.start) / timedelta(milliseconds=1)

    def span(
        self,
        kind: str,
        start: datetime | None,
        end: datetime | None,
        title: str = "",
        link: str | None = None,
    ) -> Span | None:
        """Return a bar from start to end, or into the gutter; None if no start is known."""
        if start is None:
            return None
        left = min(self._place(start), WIDTH - _NARROWEST)
        right = WIDTH if kind == "PENDING" else self._place(end or start)
        return Span(kind, round(left, 1), round(max(right - left, _NARROWEST), 1), title, link)

    def _place(self, at: datetime) -> float:
        if not self.length_ms or self.start is None:
            return 0.0
        return (at - self.start) / timedelta(milliseconds=1) / self.length_ms * self._width


def merged(spans: Iterable[Span | None], gap: float) -> list[Span]:
    """Return bars of many stretches: those of a kind that are near each other are one.

    However many they were, they are few; what succeeded lies below everything else.

    Args:
        spans: In any order.
        gap: How much has to be between two bars.
    """
    of_kind: dict[str, list[Span]] = {}
    for span in sorted((span for span in spans if span), key=lambda span: span.x):
        bars = of_kind.setdefault(span.kind, [])
        if bars and span.x - (bars[-1].x + bars[-1].width) < gap:
            last = bars.pop()
            right = max(last.x + last.width, span.x + span.width)
            span = Span(span.kind, last.x, round(right - last.x, 1))  # noqa: PLW2901
        bars.append(Span(span.kind, span.x, span.width))
    kinds = sorted(of_kind, key=lambda kind: (kind != "SUCCESS", kind))
    return [span for kind in kinds for span in of_kind[kind]]

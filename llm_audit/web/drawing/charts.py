"""Charts as SVG: where each bar and each point is. Templates draw them; every bar is a link.

All lengths are in the units of the chart's own `viewBox`, so a chart is as wide as its place.
"""

from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 600, 90
_GAP = 0.18  # of a bar's place
_STEPS = (1, 2, 2.5, 5, 10)


class Bar(NamedTuple):
    """A bar, or a part of one that is stacked.

    Attributes:
        kind: What it stands for: an outcome, say, which is its colour.
        x: Its left edge.
        y: Its upper edge.
        width: How wide it is.
        height: How high.
    """

    kind: str
    x: float
    y: float
    width: float
    height: float


class Column(NamedTuple):
    """One place of a chart, from 0: its bars, and where it begins, for a link over all of it."""

    place: int
    x: float
    width: float
    bars: Sequence[Bar]


class Chart(NamedTuple):
    """Columns side by side.

    Attributes:
        columns: From left to right.
        top: The value at the upper edge, a round number.
    """

    columns: Sequence[Column]
    top: float


def stacked(values: Sequence[dict[str, float]]) -> Chart:
    """Return a chart of bars whose parts are stacked, the first at the bottom.

    Args:
        values: For each column its parts by kind, in order; none of them negative.
    """
    top = round_top(max((sum(parts.values()) for parts in values), default=0))
    place = WIDTH / max(len(values), 1)
    columns = []
    for index, parts in enumerate(values):
        x, base, bars = index * place, 0.0, []
        for kind, value in parts.items():
            if value > 0:
                height = max(value / top * HEIGHT, 1)  # what is there is seen
                y = max(HEIGHT - base - height, 0)
                bars.append(_bar(kind, x, y, place, height))
                base += height
        columns.append(Column(index, round(x, 2), round(place, 2), bars))
    return Chart(columns, top)


def line(values: Sequence[float | None], top: float) -> list[str]:
    """Return the `points` of a line, several of them where values are missing in between.

    Args:
        values: From left to right.
        top: The value at the upper edge.
    """
    place = WIDTH / max(len(values), 1)
    runs: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            y = HEIGHT - min(value / top, 1) * HEIGHT if top else HEIGHT
            runs[-1].append((index * place + place / 2, y))
    return [_points(run if len(run) > 1 else _dash(*run[0], place)) for run in runs if run]


def _dash(x: float, y: float, place: float) -> list[tuple[float, float]]:
    """Return what is seen of a line that is one point."""
    return [(x - place / 4, y), (x + place / 4, y)]


def _points(run: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in run)


def places(count: int) -> list[Column]:
    """Return the places of a chart without bars, each to be a link over all of it."""
    place = WIDTH / max(count, 1)
    return [Column(n, round(n * place, 2), round(place, 2), ()) for n in range(count)]


def round_top(largest: float) -> float:
    """Return the round number that a chart goes up to: the next one above the largest value."""
    if largest <= 0:
        return 1
    magnitude = 10 ** (len(f"{largest:.0f}") - 1) if largest >= 1 else _below_one(largest)
    return next(step * magnitude for step in _STEPS if step * magnitude >= largest)


def _below_one(largest: float) -> float:
    magnitude = 1.0
    while magnitude > largest:
        magnitude /= 10
    return magnitude


def _bar(kind: str, x: float, y: float, place: float, height: float) -> Bar:
    gap = place * _GAP
    return Bar(kind, round(x + gap / 2, 2), round(y, 2), round(place - gap, 2), round(height, 2))

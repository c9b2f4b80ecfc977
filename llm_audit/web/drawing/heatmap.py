"""How long calls took over time, as a picture: a square is darker, the more calls it stands for."""

from collections.abc import Sequence
from typing import NamedTuple

from llm_audit.display.courses import Course
from llm_audit.queries.results import LatencyCell

WIDTH, STEP = 600, 10
_FAINTEST = 0.12
_STEPS_OF_A_DECADE = 4


class Square(NamedTuple):
    """One square: its place, how dark it is, and what it stands for."""

    place: int
    x: float
    y: float
    width: float
    opacity: float
    step: int
    calls: int


class Heatmap(NamedTuple):
    """A picture of squares.

    Attributes:
        squares: From left to right, from the fastest to the slowest.
        height: Of all.
        labels: Where a power of ten of milliseconds begins, and which.
    """

    squares: Sequence[Square]
    height: int
    labels: Sequence[tuple[float, float]]


def heatmap(course: Course, cells: Sequence[LatencyCell]) -> Heatmap:
    """Return the picture of latencies.

    Args:
        course: The hours, days ... of the picture, whose rows are named by `bucket`.
        cells: How many calls took how long in each.
    """
    if not cells:
        return Heatmap([], 0, [])
    names = [row.bucket if row is not None else None for row in course.rows()]
    places = {name: place for place, name in enumerate(names) if name is not None}
    lowest, highest = min(cell.step for cell in cells), max(cell.step for cell in cells)
    most = max(cell.calls for cell in cells)
    width = WIDTH / max(len(names), 1)
    height = (highest - lowest + 1) * STEP
    squares = [
        Square(
            places[cell.bucket],
            round(places[cell.bucket] * width, 2),
            height - (cell.step - lowest + 1) * STEP,
            round(width, 2),
            round(max(_FAINTEST, (cell.calls / most) ** 0.5), 2),
            cell.step,
            cell.calls,
        )
        for cell in cells
        if cell.bucket in places
    ]
    labels = [
        (height - (step - lowest) * STEP, 10 ** (step / _STEPS_OF_A_DECADE))
        for step in range(lowest, highest + 1)
        if step % _STEPS_OF_A_DECADE == 0
    ]
    return Heatmap(squares, height, labels)

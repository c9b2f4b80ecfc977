"""How long calls took over time, as a picture: a square is darker, the more calls it stands for."""

from collections.abc import Sequence
from typing import NamedTuple

from llm_audit.display.courses import Course
from llm_audit.queries.answers.summaries import LatencyCell
from llm_audit.queries.pipelines.latencies import STEPS_PER_DECADE

WIDTH, STEP = 600, 10
_FAINTEST = 0.12


class Square(NamedTuple):
    """One square: where it is, how dark, how many calls it stands for, and how long they took."""

    place: int
    x: float
    y: float
    width: float
    opacity: float
    calls: int
    min_latency_ms: float
    max_latency_ms: float


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
            cell.calls,
            0 if cell.step <= 0 else 10 ** (cell.step / STEPS_PER_DECADE),
            10 ** ((cell.step + 1) / STEPS_PER_DECADE),
        )
        for cell in cells
        if cell.bucket in places
    ]
    labels = [
        (height - (step - lowest) * STEP, 10 ** (step / STEPS_PER_DECADE))
        for step in range(lowest, highest + 1)
        if step % STEPS_PER_DECADE == 0
    ]
    return Heatmap(squares, height, labels)

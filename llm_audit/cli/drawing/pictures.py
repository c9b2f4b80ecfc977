"""Pictures of what happens over time: lines of small bars, with gaps where nothing happened."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llm_audit.cli.drawing import terminal
from llm_audit.display.courses import Course

STEPS = "▁▂▃▄▅▆▇█"
FAILED_CELL = "▒"  # told apart without colours too

_FEWEST = 3  # hours, days ...: a picture of less says nothing
_WIDEST = 120


class Line(NamedTuple):
    """One line of a picture: which number of the rows it shows, and what stands beside it."""

    name: str
    field: str
    remark: str = ""
    style: str = "cyan"


def print_course(console: Console, course: Course, lines: Sequence[Line]) -> None:
    """Print lines below each other, as wide as the terminal has room for."""
    if len(course) < _FEWEST:
        return
    beside = max(len(line.name) for line in lines) + max(len(line.remark) for line in lines)
    width = min(console.width - beside - len("  "), _WIDEST)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False)
    for name, field, remark, style in lines:
        picture = Text(sparkline(course.values(field), width), style)
        table.add_row(Text(name, "dim"), picture, terminal.words(remark))
    console.print()
    console.print(table)


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Return a line of small bars, each as high as its share of the largest.

    Args:
        values: None makes a gap, a zero the smallest bar.
        width: How long it may be; where there are more values, several are one bar, their mean.
    """
    together = max(1, -(-len(values) // max(width, 1)))
    means = [_mean(values[n : n + together]) for n in range(0, len(values), together)]
    largest = max((mean for mean in means if mean is not None), default=0)
    return "".join(" " if mean is None else _step(mean, largest) for mean in means)


def bar_with_failures(calls: int, failures: int, largest: int, width: int) -> Text:
    """Return a bar as long as the calls' share of the largest, in which failures are told apart."""
    failed = _cells(failures, largest, width)
    whole = max(_cells(calls, largest, width), failed + (failures < calls))
    return Text.assemble(("█" * (whole - failed), "cyan"), (FAILED_CELL * failed, terminal.FAILURE))


def _cells(count: int, largest: int, width: int) -> int:
    """Return how long a bar is; what is there at all is seen."""
    return max(1, round(count / largest * width)) if count else 0


def _step(value: float, largest: float) -> str:
    return STEPS[round(value / largest * (len(STEPS) - 1))] if largest > 0 else STEPS[0]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

"""A whole trace in a strip: how many calls began when, how many failed, and where one is."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from llm_audit.call import FAILURE_STATUSES
from llm_audit.display.traces import Axis
from llm_audit.queries.answers.trace_tree import TraceCall

BINS = 120
HEIGHT = 30
_MS = timedelta(milliseconds=1)


class Bin(NamedTuple):
    """Calls that began in the same stretch of time.

    Attributes:
        place: From 0.
        start: The first millisecond of it.
        end: The one after the last; None if there is none, at the end of all time.
        calls: How many there are.
        failures: Of these, how many failed.
        height: Of the bar.
        failed_height: Of its part that failed.
    """

    place: int
    start: datetime
    end: datetime | None
    calls: int
    failures: int
    height: int
    failed_height: int


class Minimap(NamedTuple):
    """The strip.

    Attributes:
        bins: Those with calls.
        width: How many there is room for.
        window: Where the stretch begins that the rows show, and how long it is, in bins; None if
            they show all.
    """

    bins: list[Bin]
    width: int
    window: tuple[float, float] | None


def minimap(calls: Iterable[TraceCall], whole: Axis, window: Axis) -> Minimap | None:
    """Return the strip of a trace, or None if no time is known.

    Args:
        calls: All of them.
        whole: Their axis.
        window: The axis of what the rows show.
    """
    if whole.start is None or window.start is None:
        return None
    bin_ms = int(whole.length_ms // BINS) + 1  # whole ones, as a filter has them
    first = whole.start.replace(microsecond=whole.start.microsecond // 1000 * 1000)
    counts: dict[int, list[int]] = {}
    for call in calls:
        if call.created_at is not None:
            count = counts.setdefault(int((call.created_at - first) / _MS // bin_ms), [0, 0])
            count[0] += 1
            count[1] += call.status in FAILURE_STATUSES
    most = max((count for count, _ in counts.values()), default=1)
    bins = [
        Bin(
            place,
            first + place * bin_ms * _MS,
            _after(first, (place + 1) * bin_ms),
            number,
            failures,
            _height(number, most),
            _height(failures, most),
        )
        for place, (number, failures) in sorted(counts.items())
    ]
    width = int(whole.length_ms // bin_ms) + 1
    if (window.start, window.length_ms) == (whole.start, whole.length_ms):
        return Minimap(bins, width, None)
    x = (window.start - first) / _MS / bin_ms
    return Minimap(bins, width, (round(x, 2), round(max(window.length_ms / bin_ms, 1), 2)))


def _after(first: datetime, milliseconds: int) -> datetime | None:
    try:
        return first + milliseconds * _MS
    except OverflowError:
        return None


def _height(count: int, most: int) -> int:
    return -(-count * HEIGHT // most)  # what is there is seen

"""Which times are named below a picture: few, on the hour, at the beginning of a day, week ..."""

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate, chain, repeat
from operator import mul
from typing import Literal, NamedTuple

from llm_audit.queries.grouping import Bucket

MOST = 5  # that have room beside each other on a phone
_STEPS: dict[Bucket, tuple[int, ...]] = {  # after the last, twice as many, and again
    "hour": (1, 2, 3, 6, 12, 24),
    "day": (1, 2, 7),
    "week": (1, 2, 4),
    "month": (1, 2, 3, 6, 12),
}
_EDGE = 8  # percent, within which a text does not fit around its place


class Tick(NamedTuple):
    """A time below a picture.

    Attributes:
        x: Where it is, in percent of the width.
        anchor: Which end of the text is there.
        text: What it says.
    """

    x: float
    anchor: Literal["start", "middle", "end"]
    text: str


def ticks(bucket: Bucket, starts: Sequence[datetime], now: datetime) -> list[Tick]:
    """Return the times below a picture whose columns are hours, days ...

    Args:
        bucket: What a column is.
        starts: When each begins, in the time zone of the page; a first one may begin within.
        now: A year that is not this one is named.
    """
    numbers = {
        at: _number(bucket, start)
        for at, start in enumerate(starts)
        if bucket != "hour" or _is_full(start)
    }
    chosen = next(
        places
        for step in chain(_STEPS[bucket], accumulate(repeat(2), mul, initial=_STEPS[bucket][-1]))
        if len(places := [at for at, number in numbers.items() if number % step == 0]) <= MOST
    )
    if not chosen and starts:
        chosen = [0]
    within = 0 if bucket == "hour" else 0.5  # an hour is where it begins, a day all of its column
    return [
        _tick(100 * (at + within) / len(starts), _text(bucket, starts[at], now)) for at in chosen
    ]


def _is_full(start: datetime) -> bool:
    return not (start.minute or start.second or start.microsecond)


def _number(bucket: Bucket, start: datetime) -> int:
    """Return a number that is a multiple of many where a day, a week or a year begins."""
    if bucket == "month":
        return start.year * 12 + start.month - 1
    day = start.toordinal() - 1  # the first day of all was a Monday
    if bucket == "hour":
        return day * 24 + start.hour
    return day if bucket == "day" else day // 7


def _text(bucket: Bucket, start: datetime, now: datetime) -> str:
    if bucket == "month":
        return f"{start:%Y-%m}"
    if bucket == "hour" and (start.hour or start.minute):
        return f"{start:%H:%M}"
    return f"{start:%m-%d}" if start.year == now.year else f"{start:%Y-%m-%d}"


def _tick(x: float, text: str) -> Tick:
    anchor: Literal["start", "middle", "end"] = "middle"
    if x < _EDGE:
        anchor = "start"
    elif x > 100 - _EDGE:
        anchor = "end"
    return Tick(round(x, 2), anchor, text)

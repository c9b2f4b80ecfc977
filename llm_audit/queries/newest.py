"""The newest traces, sessions and the like: what calls have in common, those that began last first.

A value of a field is placed by its first call that matches. That never changes, however many calls
follow, so pages of it are exact.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from llm_audit.ids import Id
from llm_audit.queries.filters import checked_limit
from llm_audit.queries.pipelines.newest import began_last, first_calls, walked
from llm_audit.queries.steps import Steps, rows

# Calls that are looked at at once, before all are: as many as a large trace may have, or first
# fewer where a filter may have MongoDB read many more.
WALKS = (10_000,)
WALKS_WITH_FILTERS = (2_000, 20_000)
_DATES = {"start_date", "end_date"}
_MORE = 1.5  # times as many values as are wanted have to be seen


class _Placed(Protocol):
    first_id: Any


Line = TypeVar("Line", bound=_Placed)


def newest(
    field: str, *, limit: int, after: Id | None, filters: Mapping[str, Any]
) -> Steps[dict[str, str]]:
    """Return the values of a field that began last, each with the id of its first call.

    The newest calls are walked back until there are enough values that began among them: what began
    earlier may have to stand behind what has not been seen yet. Where some values have most of the
    calls, or come again and again, a longer walk follows; in the end, all calls are looked at.

    Args:
        field: `trace_id` or another one with an index.
        limit: How many values at the most.
        after: Only those whose first call that matches is older than the one with this id.
        filters: A `CallFilters`; the first call is the first one that matches.

    Raises:
        UsageError: An argument is wrong.
    """
    checked_limit(limit)
    firsts: dict[str, str] = {}
    known: list[str] = []
    until = after
    for walk in WALKS if set(filters) <= _DATES else WALKS_WITH_FILTERS:
        seen = yield from rows(walked(field, known, until, filters, walk), dict)
        if seen:
            until = min(row["oldest"] for row in seen)
        # a list that a stranger stored is found by what is in it, and is no value
        known += [row["_id"] for row in seen if type(row["_id"]) is str]
        is_all = sum(row["calls"] for row in seen) < walk
        if not is_all and len(known) < _MORE * limit:  # some of them began earlier
            continue
        if new := [value for value in known if value not in firsts]:
            found = yield from rows(first_calls(field, new, filters), dict)
            firsts |= {row["_id"]: row["first"] for row in found if type(row["_id"]) is str}
        began = [value for value, first in firsts.items() if is_all or first >= str(until)]
        if is_all or len(began) >= limit:
            began.sort(key=firsts.__getitem__, reverse=True)
            return {value: firsts[value] for value in began[:limit]}
    last = yield from rows(began_last(field, limit, after, filters), dict)
    return {row["_id"]: row["first"] for row in last}


def in_their_places(
    found: Iterable[Line], places: Mapping[str, str], value_of: Callable[[Line], str]
) -> list[Line]:
    """Return the lines of values in the order of `newest`, each told its place.

    Args:
        found: What was summed up of each value, in any order.
        places: As `newest` returns them.
        value_of: Returns the value that a line is about.
    """
    lines = {value: line for line in found if (value := value_of(line)) in places}
    for value, line in lines.items():
        line.first_id = places[value]
    return [lines[value] for value in places if value in lines]

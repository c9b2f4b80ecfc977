"""The calls, newest first, a line each; and beside them what narrows them down, and what is new."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from llm_audit.errors import UsageError
from llm_audit.queries.answers.lines import CallPreview, Facet
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.pipelines.previews import Largest
from llm_audit.web.asked import Asked
from llm_audit.web.page import Page
from llm_audit.web.pages.summaries.over_time import USUAL
from llm_audit.web.parameters import EXCLUDABLE, FIELDS, NOT

_PAGE_ROWS = 100
_MOST_ROWS = 200
_MOST_IN_JSON = 500
_VALUES_OF_A_FACET = 12
_LATE = timedelta(minutes=1)  # a call's id is made when it starts, its document when it is shipped
COLUMNS = (
    *("time", "outcome", "task", "type", "model", "asked", "answered", "took", "tokens", "cost"),
    *("provider", "user", "company", "session", "trace", "service", "tags"),
)
_USUAL_COLUMNS = COLUMNS[:10]
ORDERS: dict[str, tuple[Largest, str]] = {  # columns, by what they order, and what is first then
    "took": ("latency_ms", "slowest"),
    "tokens": ("total_tokens", "most tokens"),
    "cost": ("estimated_cost", "most expensive"),
}


async def page(asked: Asked) -> Page:
    """Show the newest calls that match, and lead to older ones; or those that cost most ...

    Raises:
        UsageError: There is no such order.
    """
    most = _MOST_IN_JSON if asked.one("format") == "json" else _MOST_ROWS
    limit = asked.whole("limit", _PAGE_ROWS, most)
    order = asked.one("order")
    if order is None:
        found = await asked.calls.preview_calls(
            limit=limit, after=asked.one("after"), **asked.filters()
        )
        older = asked.older([call.id for call in found], limit)
    elif order in ORDERS:
        figure, _ = ORDERS[order]
        found = await asked.calls.largest_calls(figure, limit=limit, **asked.filters(since=USUAL))
        older = None
    else:
        raise UsageError(f"order {order!r:.40}: there are {', '.join(ORDERS)}.")
    return Page(
        "calls/calls",
        "Calls",
        {"calls": found, "next": older},
        {
            "columns": _columns(asked),
            "all_columns": COLUMNS,
            "orders": ORDERS,
            "order": order,
            "filter_names": [*FIELDS, *(NOT + name for name in EXCLUDABLE)],
            "live": asked.part("news", **_shown(found)) if _is_live(asked) else None,
        },
    )


async def facets(asked: Asked) -> Page:
    """Show the values that the calls have, each a link to those that have it."""
    found = await asked.calls.facets(**asked.filters())
    named = sorted(found, key=attrgetter("field"))
    groups = {name: list(values) for name, values in groupby(named, attrgetter("field"))}
    shown = {name: groups[name] for name in dict.fromkeys(each.field for each in found)}
    return Page(
        "parts/facets",
        "Facets",
        {"facets": found},
        {"groups": {name: _most_frequent(values) for name, values in shown.items()}},
    )


async def news(asked: Asked) -> Page:
    """Say how many calls have come in since the page was made."""
    since = asked.one("from")
    filters: CallFilters = {**asked.filters(), "start_date": _moment(since)}
    count = await asked.calls.count_by_filters(**filters)
    return Page("parts/news", "New calls", {"new": max(0, count - asked.count("shown"))})


def _most_frequent(values: Sequence[Facet]) -> tuple[Sequence[Facet], int]:
    """Return the values that are shown, and how many are not."""
    ordered = sorted(values, key=attrgetter("calls"), reverse=True)
    return ordered[:_VALUES_OF_A_FACET], max(0, len(values) - _VALUES_OF_A_FACET)


def _is_live(asked: Asked) -> bool:
    others = ("after", "until", "order")
    return asked.one("live") is not None and not any(asked.one(name) for name in others)


def _shown(found: Sequence[CallPreview]) -> dict[str, object]:
    """Return from when on the calls on the page are all there are, and how many these are.

    From a minute before the newest on, so that one which arrives late is seen to be new, too.
    """
    times = [call.created_at for call in found if call.created_at]
    if not times:
        return {"from": datetime.fromtimestamp(0).astimezone().isoformat(), "shown": 0}
    start = max(times[0] - _LATE, times[-1])
    return {"from": start.isoformat(), "shown": sum(at >= start for at in times)}


def _moment(text: str | None) -> datetime:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        raise UsageError("from is no time.") from None


def _columns(asked: Asked) -> tuple[str, ...]:
    """Return the columns that are asked for, in our order.

    Raises:
        UsageError: One of them is none.
    """
    given = (asked.one("columns") or ",".join(_USUAL_COLUMNS)).split(",")
    if unknown := [name for name in given if name not in COLUMNS]:
        raise UsageError(
            f"columns: there is no {unknown[0]!r:.40}; there are {', '.join(COLUMNS)}."
        )
    return tuple(name for name in COLUMNS if name in given)

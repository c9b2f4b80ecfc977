"""What failed: each kind with its rate, its course, a sample, and the list behind it."""

from collections import Counter
from typing import Any

from llm_audit.call import FAILURE_STATUSES
from llm_audit.display.courses import Course
from llm_audit.display.figures import share
from llm_audit.queries.answers.summaries import FailureCount, FailureGroup
from llm_audit.queries.pipelines.failures import NEWEST_FAILURES
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.charts import line, places, round_top
from llm_audit.web.page import Page
from llm_audit.web.pages.summaries.over_time import USUAL, bucket_for, named

_SHOWN = 100
_MESSAGES = 20
_ROWS_OF_A_PART = 8
_OF_ITS_OWN = ("status", "not.status")  # filters: whatever failed is shown, against what did not
_KIND = ("status", "error_type", "ended_by", "model", "task_name")  # what tells them apart


async def page(asked: Asked) -> Page:
    """Show the kinds of failures, the most frequent first."""
    filters = asked.filters(since=USUAL, leave_out=_OF_ITS_OWN)
    bucket = bucket_for(filters)
    summary = await asked.calls.failure_summary(**filters)
    counts = await asked.calls.failures_over_time(bucket, timezone=asked.zone, **filters)
    course = Course(bucket, counts, named="bucket", timezone=asked.zone, filters=filters)
    groups = summary.groups[:_SHOWN]
    return Page(
        "summaries/failures",
        "Failures",
        {"summary": summary, "over_time": counts},
        {
            "groups": [(group, _calls(asked, group)) for group in groups],
            "left_out": summary.kinds - len(groups),
            "trends": _trends(course, counts),
        },
    )


async def rate(asked: Asked) -> Page:
    """Show the share of calls that failed, over time."""
    filters = asked.filters(since=USUAL, leave_out=_OF_ITS_OWN)
    bucket = bucket_for(filters)
    usage = await asked.calls.usage_over_time(bucket, timezone=asked.zone, **filters)
    course = Course(bucket, usage, named="bucket", timezone=asked.zone, filters=filters)
    view = {"bucket": bucket, "rates": _rates(asked, course)}
    return Page("parts/failure_rate", "Failure rate", {"over_time": usage}, view)


async def messages(asked: Asked) -> Page:
    """Show what failures say, whatever their kind."""
    rows = await asked.calls.failure_messages(**asked.filters(since=USUAL, leave_out=_OF_ITS_OWN))
    read = sum(row.count for row in rows)
    view = {"shown": rows[:_MESSAGES], "is_cut": read >= NEWEST_FAILURES, "most": NEWEST_FAILURES}
    return Page("parts/messages", "What failures say", {"messages": rows}, view)


async def most_frequent(asked: Asked) -> Page:
    """Show what failed most often."""
    summary = await asked.calls.failure_summary(**asked.filters(since=USUAL))
    groups = summary.groups[:_ROWS_OF_A_PART]
    return Page(
        "parts/failures",
        "Failures",
        {"groups": groups, "kinds": summary.kinds},
        {"groups": [(group, _calls(asked, group)) for group in groups]},
    )


def shares(course: Course) -> list[float | None]:
    """Return the share of failures in each hour, day ...; None where nothing was judged."""
    return [
        row.failures / (row.successes + row.failures)
        if row is not None and row.successes + row.failures
        else None
        for row in course.rows()
    ]


def _calls(asked: Asked, group: FailureGroup) -> str:
    """Return the address of exactly the calls of a kind of failure."""
    values = {name: getattr(group, name) for name in _KIND}
    missing = [*asked.all("missing"), *(name for name in _KIND if values[name] is None)]
    changes = {**values, "missing": list(dict.fromkeys(missing)), "not.status": None}
    return asked.same("calls", **changes)


def _key(kind: FailureGroup | FailureCount) -> tuple[str | None, ...]:
    """Return what tells one kind of failure from another."""
    return tuple(getattr(kind, name) for name in _KIND)


def _rates(asked: Asked, course: Course) -> dict[str, Any]:
    """Return the line of the share of failures."""
    rates = shares(course)
    top = round_top(max((rate for rate in rates if rate is not None), default=0))
    said = [f"{share(rate)} failed" for rate in rates]
    return {
        "series": {"ERROR": line(rates, top)},
        "top": top,
        "columns": places(len(rates)),
        **named(asked, course, said, status=sorted(FAILURE_STATUSES), **{"not.status": None}),
    }


def _trends(course: Course, counts: list[FailureCount]) -> dict[tuple[str | None, ...], list[str]]:
    """Return a small line for each kind: how often it came in each hour, day ..."""
    found: dict[tuple[str | None, ...], Counter[str | None]] = {}
    for count in counts:
        found.setdefault(_key(count), Counter())[count.bucket] += count.count
    places = [row.bucket if row is not None else None for row in course.rows()]
    return {
        kind: line([own[place] if place else 0 for place in places], max(own.values()))
        for kind, own in found.items()
    }

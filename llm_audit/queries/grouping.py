"""What the summaries can be grouped by, and the stages and expressions of it."""

import re
from functools import cache
from typing import Any, Literal, get_args
from zoneinfo import available_timezones

from llm_audit.errors import UsageError
from llm_audit.queries.filters import STORED_AS

Expression = dict[str, Any]
Bucket = Literal["hour", "day", "week", "month"]
GroupBy = Literal[
    "model",
    "provider",
    "call_type",
    "status",
    "user_id",
    "company_id",
    "session_id",
    "trace_id",
    "task_name",
    "environment",
    "service",
    "tag",
    "hour",
    "day",
    "week",
    "month",
]

UTC = "UTC"
FORMATS = {"hour": "%Y-%m-%dT%H:%M", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
# From where to where a UUIDv7 can be ours: see `ids.py`.
_FIRST_DATE, _LAST_DATE = "1970-01-01", "2109-01-01"
_OFFSET = re.compile(r"[+-](0\d|1[0-4])(:?(00|15|30|45))?")


def checked_bucket(bucket: object) -> None:
    """Refuse what no stretch of time is called.

    Raises:
        UsageError: It is none.
    """
    if bucket not in get_args(Bucket):
        raise UsageError(f"bucket {bucket!r:.50} is not one of {', '.join(get_args(Bucket))}.")


def unwound(group_by: GroupBy) -> list[Expression]:
    """Return the stages that make a call one document for each of its groups.

    Raises:
        UsageError: There is no such group_by.
    """
    if group_by not in get_args(GroupBy):
        known = ", ".join(get_args(GroupBy))
        raise UsageError(f"group_by {group_by!r:.50} is not one of {known}.")
    if group_by != "tag":
        return []
    # a rule that redacts may have made several tags alike
    distinct = {"$cond": [{"$isArray": "$tags"}, {"$setUnion": ["$tags"]}, or_null("$tags")]}
    return [
        {"$set": {"tags": distinct}},
        {"$unwind": {"path": "$tags", "preserveNullAndEmptyArrays": True}},
    ]


def key(group_by: GroupBy, timezone: str) -> Any:
    """Return the expression for a call's group: a str or the group's beginning, else null.

    Raises:
        UsageError: There is no such time zone.
    """
    checked_timezone(timezone)
    if group_by in FORMATS:
        return truncated(_date("$created_at"), group_by, timezone)
    return text_or_null(_field(group_by))


def first_key(group_by: GroupBy, timezone: str) -> Any:
    """Return the expression for the part of a group that a call is added to before its group.

    What is expensive to find for every call is left to `second_key`: days, weeks and months, and a
    time zone. They are made of hours, or of quarters of one, which begin alike in every zone. So is
    that a missing field, and one that is no text, is like null.

    Raises:
        UsageError: There is no such time zone.
    """
    checked_timezone(timezone)
    if group_by not in FORMATS:
        return _field(group_by)
    if timezone == UTC:
        return truncated(_date("$created_at"), "hour", UTC)
    return {"$dateTrunc": {"date": _date("$created_at"), "unit": "minute", "binSize": 15}}


def second_key(part: str, group_by: GroupBy, timezone: str) -> Any:
    """Return the expression for the group of a part."""
    return truncated(part, group_by, timezone) if group_by in FORMATS else text_or_null(part)


def named_and_sorted(group_by: GroupBy, timezone: str, order: dict[str, int]) -> list[Expression]:
    """Return the stages that name the group and sort the rows: by time, else by this order."""
    if group_by in FORMATS:
        # sorted by the instant: when clocks go back, the later of two hours has the lesser name
        return [
            {"$sort": {"_id": 1}},
            {"$set": {"group": label("$_id", group_by, timezone)}},
            {"$unset": "_id"},
        ]
    return [{"$set": {"group": "$_id"}}, {"$unset": "_id"}, {"$sort": order | {"group": 1}}]


def truncated(instant: str | Expression, bucket: str, timezone: str) -> Expression:
    """Return the expression for the instant at which the hour, day ... of another began there."""
    return {
        "$dateTrunc": {
            "date": instant,
            "unit": bucket,
            **_in_zone(timezone),
            **({"startOfWeek": "monday"} if bucket == "week" else {}),
        }
    }


def label(instant: str, bucket: str, timezone: str) -> Expression:
    """Return the expression for what an hour, day ... is called there; hours say their offset."""
    offset = "" if bucket != "hour" else "Z" if timezone == UTC else "%z"
    return {
        "$dateToString": {
            "date": instant,
            "format": FORMATS[bucket] + offset,
            **_in_zone(timezone),
        }
    }


def checked_timezone(timezone: object) -> str:
    """Return a time zone that MongoDB understands.

    Raises:
        UsageError: It is neither an IANA name nor an offset.
    """
    if isinstance(timezone, str) and (timezone in _names() or _OFFSET.fullmatch(timezone)):
        return timezone
    raise UsageError(
        f"timezone {timezone!r:.50} is neither an IANA name such as 'Europe/Paris' nor an offset "
        "such as '+05:30', in quarters of an hour; a machine that knows no names needs the "
        "package tzdata."
    )


def or_null(field: str) -> Expression:
    """Return the expression for a field that makes a missing one null, so both are one group."""
    return {"$ifNull": [field, None]}


def text_or_null(field: str) -> Expression:
    """Return the expression for a field that makes everything but text null."""
    return {"$cond": [{"$eq": [{"$type": field}, "string"]}, field, None]}


def _date(field: str) -> Expression:
    """Return the expression for a date of a call, null where there is none that one can have."""
    first, last = {"$toDate": _FIRST_DATE}, {"$toDate": _LAST_DATE}
    is_one = {"$and": [{"$gte": [field, first]}, {"$lt": [field, last]}]}
    return {"$cond": [is_one, field, None]}


def _in_zone(timezone: str) -> dict[str, str]:
    # MongoDB looks a zone up for every document, UTC too if it is named
    return {"timezone": timezone} if timezone != UTC else {}


def _field(group_by: str) -> str:
    return f"${STORED_AS.get(group_by, group_by)}"


@cache
def _names() -> frozenset[str]:
    return frozenset(available_timezones() - {"localtime"} | {UTC})

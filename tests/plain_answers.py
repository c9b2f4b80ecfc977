"""The same questions as the pipelines', answered slowly and plainly in Python."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest
from made_up_calls import FAILURES, Call

Groups = Callable[[Call], Iterable[Any]]
TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")


def grouped(calls: Iterable[Call], groups_of: Groups) -> dict[Any, list[Call]]:
    found: dict[Any, list[Call]] = defaultdict(list)
    for call in calls:
        for group in groups_of(call):
            found[group].append(call)
    return found


def groups_by(group_by: str, zone: tzinfo = UTC) -> Groups:
    """Return the function that gives the groups that a call belongs to."""
    if group_by == "tag":
        return lambda call: set(call.get("tags") or [None])
    if group_by == "task_name":
        return lambda call: [call.get("task", {}).get("name")]
    if group_by in {"hour", "day", "week", "month"}:
        return lambda call: [bucket_name(call.get("created_at"), group_by, zone)]
    return lambda call: [call.get(group_by)]


def bucket_name(at: datetime | None, bucket: str, zone: tzinfo) -> str | None:
    if at is None:
        return None
    local = at.astimezone(zone)
    if bucket == "week":
        year, week, _ = local.isocalendar()
        return f"{year}-W{week:02}"
    if bucket == "hour":
        return local.strftime("%Y-%m-%dT%H:00") + ("Z" if zone is UTC else local.strftime("%z"))
    return local.strftime({"day": "%Y-%m-%d", "month": "%Y-%m"}[bucket])


def bucket_start(at: datetime | None, bucket: str, zone: tzinfo) -> datetime | None:
    if at is None:
        return None
    local = at.astimezone(zone)
    if bucket == "hour":
        return at - timedelta(
            minutes=local.minute, seconds=local.second, microseconds=at.microsecond
        )
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    back = {"day": 0, "week": local.weekday(), "month": local.day - 1}[bucket]
    return (midnight - timedelta(days=back)).astimezone(UTC)


def with_status(calls: Iterable[Call], *statuses: str) -> int:
    return sum(call["status"] in statuses for call in calls)


def failed(calls: Iterable[Call]) -> int:
    return with_status(calls, *FAILURES)


def succeeded(calls: Iterable[Call]) -> int:
    return with_status(calls, "SUCCESS")


def failure_rate(calls: list[Call]) -> Any:
    judged = failed(calls) + succeeded(calls)
    return pytest.approx(failed(calls) / judged) if judged else None


def total(calls: Iterable[Call], field: str) -> Any:
    return sum(call.get(field) or 0 for call in calls)


def spent(calls: list[Call]) -> dict[str, Any]:
    return {
        "estimated_cost": pytest.approx(total(calls, "estimated_cost")),
        "calls_without_cost": sum(call.get("estimated_cost") is None for call in calls),
    }


def used(calls: list[Call]) -> dict[str, Any]:
    return {
        "calls": len(calls),
        **{field: total(calls, field) for field in TOKENS},
        **spent(calls),
        "unreadable_calls": 0,
    }


def tool_usage(calls: list[Call]) -> dict[str, dict[str, Any]]:
    """Return the rows by tool."""
    return {
        tool: {
            "tool": tool,
            "calls": sum(call["tools_called"].count(tool) for call in users),
            "malformed_calls": malformed(users, tool),
            "argument_validity": pytest.approx(
                1 - malformed(users, tool) / sum(c["tools_called"].count(tool) for c in users)
            ),
            "llm_calls": len(users),
            "traces": len({call["trace_id"] for call in users if "trace_id" in call}),
            "failures": failed(users),
            "failure_rate": failure_rate(users),
            **spent(users),
        }
        for tool, users in grouped(calls, lambda call: set(call.get("tools_called", []))).items()
    }


def malformed(calls: list[Call], tool: str) -> int:
    return sum(
        min(call.get("malformed_tool_calls", []).count(tool), call["tools_called"].count(tool))
        for call in calls
    )


def failure_summary(calls: list[Call]) -> dict[str, Any]:
    return {
        "calls": len(calls),
        "successes": succeeded(calls),
        "failures": failed(calls),
        "failure_rate": failure_rate(calls),
        "cancelled": with_status(calls, "CANCELLED"),
        "incomplete": with_status(calls, "INCOMPLETE"),
        "pending": with_status(calls, "PENDING"),
        "other": 0,
        "kinds": len(failure_groups(calls)),
        "groups": failure_groups(calls),
    }


def failure_groups(calls: list[Call]) -> list[dict[str, Any]]:
    def scope_of(call: Call) -> tuple[Any, Any]:
        return call.get("model"), call.get("task", {}).get("name")

    def group_of(call: Call) -> list[tuple[Any, ...]]:
        kind = (call["status"], call.get("error_type"), call.get("ended_by"), *scope_of(call))
        return [kind] if call["status"] in FAILURES else []

    scopes = grouped(calls, lambda call: [scope_of(call)])
    groups = []
    for (status, error_type, ended_by, *scope), same in grouped(calls, group_of).items():
        newest = max(same, key=lambda call: call["_id"])
        dates = [call["created_at"] for call in same if "created_at" in call]
        judged = failed(scopes[tuple(scope)]) + succeeded(scopes[tuple(scope)])
        groups.append(
            {
                "status": status,
                "error_type": error_type,
                "ended_by": ended_by,
                "model": scope[0],
                "task_name": scope[1],
                "count": len(same),
                "rate": pytest.approx(len(same) / judged),
                "first_seen": min(dates, default=None),
                "last_seen": max(dates, default=None),
                "sample_id": newest["_id"],
            }
        )
    return sorted(groups, key=lambda group: (group["count"], group["sample_id"]), reverse=True)


def cost_summary(
    calls: list[Call], group_by: str, zone: tzinfo = UTC
) -> dict[str | None, dict[str, Any]]:
    """Return the rows by group."""
    return {
        group: {"group": group, **used(members)}
        for group, members in grouped(calls, groups_by(group_by, zone)).items()
    }


def usage_over_time(calls: list[Call], bucket: str, zone: tzinfo = UTC) -> list[dict[str, Any]]:
    buckets = grouped(calls, lambda call: [bucket_start(call.get("created_at"), bucket, zone)])
    return [
        {
            "bucket": bucket_name(start, bucket, zone),
            "start": start,
            "successes": succeeded(members),
            "failures": failed(members),
            "abandoned": with_status(members, "ABANDONED"),
            "cancelled": with_status(members, "CANCELLED"),
            "incomplete": with_status(members, "INCOMPLETE"),
            "pending": with_status(members, "PENDING"),
            "other": 0,
            **used(members),
        }
        for start, members in sorted(
            buckets.items(), key=lambda item: item[0] or datetime.min.replace(tzinfo=UTC)
        )
    ]


def is_later(call: Call) -> bool:
    """Tell whether a call of a task was made in a later attempt."""
    task = call["task"]
    return task.get("retries", 0) > 0 or task.get("redelivered", False)


def retry_spend(calls: list[Call]) -> dict[str | None, dict[str, Any]]:
    """Return the rows by task name."""

    def attempt(call: Call) -> tuple[Any, ...]:
        task = call["task"]
        return call.get("task_id"), task.get("attempt_id", task.get("retries"))

    later = [call for call in calls if "task" in call and is_later(call)]
    return {
        name: {
            "task_name": name,
            "tasks": len({call.get("task_id") for call in members}),
            "attempts": len({attempt(call) for call in members}),
            "calls": len(members),
            "total_tokens": total(members, "total_tokens"),
            **spent(members),
        }
        for name, members in grouped(later, groups_by("task_name")).items()
    }


def workflow(calls: list[Call], wanted: str) -> list[Call]:
    """Return the calls whose trace, or whose task's root or group, this is."""
    return [
        call
        for call in calls
        if wanted == call.get("trace_id")
        or wanted in {call.get("task", {}).get(name) for name in ("root_id", "group_id")}
    ]


def says(call: Call, text: str) -> bool:
    """Tell whether a text is in any text of what was said."""
    fields = ("system_prompt", "messages", "input", "response_message", "other_choices")
    return any(text.lower() in said.lower() for said in texts_in([call.get(f) for f in fields]))


def texts_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in texts_in(part)]


def assert_latencies(
    rows: list[dict[str, Any]], calls: list[Call], group_by: str, zone: tzinfo = UTC
) -> None:
    """Check that each percentile is the exact one, or at most 0.51 % more."""
    measured = [call for call in calls if "latency_ms" in call]
    expected = grouped(measured, groups_by(group_by, zone))
    assert {row["group"]: row["calls"] for row in rows} == {
        group: len(members) for group, members in expected.items()
    }
    for row in rows:
        latencies = sorted(call["latency_ms"] for call in expected[row["group"]])
        for percent in (50, 90, 95, 99):
            exact = latencies[math.ceil(percent * len(latencies) / 100) - 1]
            assert exact <= row[f"p{percent}"] <= exact * 1.0051

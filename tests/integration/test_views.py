"""Every view against a slow and plain computation over the same calls."""

import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest
from made_up_calls import CALLS, FAILURES, START, Call, store
from pymongo.database import Database

from llm_audit.call import CallFields, Kind, named
from llm_audit.queries.publishing import create_views
from llm_audit.queries.views import VIEWS
from llm_audit.store.indexes import VIEWS_INDEX

TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")
LAST_MILLISECOND = START + timedelta(days=1, milliseconds=-1)

CORNERS: list[Call] = [
    {"_id": "only the status", "status": "SUCCESS"},
    {"_id": "runs", "status": "PENDING", "trace_id": "runs", "session_id": "runs"},
    {
        "_id": "last millisecond of a day",
        "status": "ABANDONED",
        "created_at": LAST_MILLISECOND,
        "trace_id": "midnight",
        "session_id": "midnight",
        "user_id": "1",
        "tools_called": ["read", "write", "read"],
    },
    {
        "_id": "first millisecond of the next",
        "status": "SUCCESS",
        "created_at": LAST_MILLISECOND + timedelta(milliseconds=1),
        "completed_at": LAST_MILLISECOND + timedelta(milliseconds=1501),
        "trace_id": "midnight",
        "session_id": "midnight",
        "user_id": "2",
        "estimated_cost": 0.5,
        "tools_called": ["write"],
    },
    {
        "_id": "null instead of missing",
        "status": "ERROR",
        "created_at": START,
        "trace_id": None,
        "session_id": None,
        "model": None,
        "estimated_cost": None,
        "tools_called": ["read"],
    },
    {
        "_id": "runs still, and asked already",
        "status": "PENDING",
        "created_at": START,
        "tools_called": ["only pending"],
    },
]
ALL = [*CALLS, *CORNERS]

SHOWN = {"_id", *named(Kind.WHO, Kind.FIGURE, Kind.LABEL)}


@pytest.fixture(scope="module")
def published(mongo_client: pymongo.MongoClient[Call]) -> Iterator[Database[Call]]:
    """Store the calls and publish their views once, for the tests that only read."""
    database = mongo_client[f"test_{uuid.uuid4().hex}"]
    store(database, indexed=True)
    database["llm_calls"].insert_many(CORNERS)
    create_views(database, "llm_calls")
    yield database
    mongo_client.drop_database(database)


def grouped(groups_of: Callable[[Call], Iterable[Any]]) -> dict[Any, list[Call]]:
    found: dict[Any, list[Call]] = defaultdict(list)
    for call in ALL:
        for group in groups_of(call):
            found[group].append(call)
    return found


def day_of(call: Call) -> datetime | None:
    at = call.get("created_at")
    return at and datetime(at.year, at.month, at.day, tzinfo=UTC)


def counted(calls: list[Call], *statuses: str) -> int:
    return sum(call["status"] in statuses for call in calls)


def total(calls: list[Call], field: str) -> Any:
    return sum(call.get(field) or 0 for call in calls)


def outcomes(calls: list[Call]) -> dict[str, Any]:
    successes, failures = counted(calls, "SUCCESS"), counted(calls, *FAILURES)
    judged = successes + failures
    return {
        "successes": successes,
        "failures": failures,
        "abandoned": counted(calls, "ABANDONED"),
        "cancelled": counted(calls, "CANCELLED"),
        "incomplete": counted(calls, "INCOMPLETE"),
        "pending": counted(calls, "PENDING"),
        "failure_rate": pytest.approx(failures / judged) if judged else None,
    }


def costs(calls: list[Call]) -> dict[str, Any]:
    return {
        "estimated_cost": pytest.approx(total(calls, "estimated_cost")),
        "calls_without_cost": sum(call.get("estimated_cost") is None for call in calls),
    }


def summed_up(calls: list[Call]) -> dict[str, Any]:
    tokens = {name: total(calls, name) for name in TOKENS}
    return {"calls": len(calls)} | outcomes(calls) | tokens | costs(calls)


def extreme(which: Callable[..., Any], calls: list[Call], field: str) -> Any:
    return which((call[field] for call in calls if call.get(field) is not None), default=None)


def by(names: tuple[str, ...], rows: Iterable[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    """Return rows by their keys, after seeing that no two have the same."""
    listed = list(rows)
    keyed = {tuple(row[name] for name in names): row for row in listed}
    assert len(keyed) == len(listed)
    return keyed


def without_bodies(call: Call) -> Call:
    return {name: value for name, value in call.items() if name in SHOWN}


def test_calls_are_shown_without_bodies(published: Database[Call]) -> None:
    """Every call is there, with every field that is known and no body."""
    rows = by(("_id",), published["v_calls"].find())

    assert rows == by(("_id",), map(without_bodies, ALL))
    assert all("messages" in call for call in CALLS if "created_at" in call)


def test_what_a_call_shows_is_decided(database: Database[Call]) -> None:
    """Of a call with every field there is, and with one that is not known, SHOWN is shown."""
    task = {"name": "tasks.ask", "retries": 0, "args": ["secret"]}
    scores = [{"name": "helpful", "value": True, "comment": "secret"}]
    call = dict.fromkeys(CallFields.model_fields, "any")
    attempts = [{"status": 429, "body": "secret"}]
    call |= {"_id": "1", "task": task, "scores": scores, "attempts": attempts}
    database["llm_calls"].insert_one({**call, "a_later_version": "secret"})
    create_views(database, "llm_calls")
    (row,) = database["v_calls"].find()

    assert row["task"] == {"name": "tasks.ask", "retries": 0}
    assert row["scores"] == [{"name": "helpful", "value": True}]
    assert row["attempts"] == [{"status": 429}]
    assert row.keys() == SHOWN


def test_failures_are_the_calls_that_failed(published: Database[Call]) -> None:
    """ABANDONED calls are among them and say so; PENDING and cancelled ones are not."""
    rows = by(("_id",), published["v_failures"].find())
    expected = [without_bodies(call) for call in ALL if call["status"] in FAILURES]

    assert rows == by(("_id",), expected)
    assert {row["status"] for row in rows.values()} == set(FAILURES)


def test_tool_usage_daily(published: Database[Call]) -> None:
    """Each tool is counted on each day in UTC: as often as asked for, by call and by trace."""
    groups = grouped(lambda call: {(day_of(call), tool) for tool in call.get("tools_called", ())})
    expected = [
        {
            "day": day,
            "tool": tool,
            "calls": sum(call["tools_called"].count(tool) for call in calls),
            "llm_calls": len(calls),
            "traces": len({call.get("trace_id") for call in calls} - {None}),
            **outcomes(calls),
            **costs(calls),
        }
        for (day, tool), calls in groups.items()
    ]
    rows = by(("day", "tool"), published["v_tool_usage_daily"].find())

    assert rows == by(("day", "tool"), expected)
    assert {tool for _, tool in rows} == {"read", "search", "write", "only pending"}
    assert rows[START, "only pending"]["failure_rate"] is None


def test_cost_daily(published: Database[Call]) -> None:
    """Costs, tokens and outcomes add up by day in UTC and by all that names who paid for what."""
    fields = ("provider", "model", "call_type", "task_name", "company_id", "environment", "service")
    keys = ("day", *fields)

    def key(call: Call) -> tuple[Any, ...]:
        call = call | {"task_name": call.get("task", {}).get("name")}
        return (day_of(call), *(call.get(name) for name in fields))

    groups = grouped(lambda call: [key(call)])
    expected = [
        dict(zip(keys, group, strict=True)) | summed_up(calls) for group, calls in groups.items()
    ]
    rows = by(keys, published["v_cost_daily"].find())

    assert rows == by(keys, expected)
    assert sum(row["calls"] for row in rows.values()) == len(ALL)


def test_sessions(published: Database[Call]) -> None:
    """Each session has one row; calls outside of sessions have none."""
    groups = grouped(lambda call: [call["session_id"]] if call.get("session_id") else [])
    expected = [
        {
            "session_id": session,
            "user_id": extreme(max, calls, "user_id"),
            "company_id": extreme(max, calls, "company_id"),
            "first_seen": extreme(min, calls, "created_at"),
            "last_seen": extreme(max, calls, "created_at"),
            **summed_up(calls),
        }
        for session, calls in groups.items()
    ]
    rows = by(("session_id",), published["v_sessions"].find())

    assert rows == by(("session_id",), expected)
    assert rows["midnight",]["failures"] == rows["midnight",]["abandoned"] == 1


def test_traces(published: Database[Call]) -> None:
    """Each trace has one row, which says how long it took; calls outside of traces have none."""
    groups = grouped(lambda call: [call["trace_id"]] if call.get("trace_id") else [])
    expected = []
    for trace, calls in groups.items():
        started_at = extreme(min, calls, "created_at")
        ended_at = extreme(max, calls, "completed_at")
        ended = None not in {started_at, ended_at}
        expected.append(
            {
                "trace_id": trace,
                "session_id": extreme(max, calls, "session_id"),
                "user_id": extreme(max, calls, "user_id"),
                "company_id": extreme(max, calls, "company_id"),
                "started_at": started_at,
                "ended_at": ended_at,
                "duration_ms": (ended_at - started_at) // timedelta(milliseconds=1)
                if ended
                else None,
                **summed_up(calls),
            }
        )
    rows = by(("trace_id",), published["v_traces"].find())

    assert rows == by(("trace_id",), expected)
    assert rows["midnight",]["duration_ms"] == 1501
    assert (rows["runs",]["pending"], rows["runs",]["failure_rate"]) == (1, None)


def test_no_calls_make_empty_views(database: Database[Call]) -> None:
    """Views of an empty collection have no rows, and none that is made up."""
    database.create_collection("llm_calls")
    create_views(database, "llm_calls")

    assert {name: list(database[name].find()) for name in VIEWS} == {name: [] for name in VIEWS}


@pytest.mark.parametrize("name", VIEWS)
def test_definitions_are_plain_json(name: str) -> None:
    """A definition can be pasted into mongosh."""
    assert json.loads(json.dumps(VIEWS[name]())) == VIEWS[name]()


def stages_of(plan: Any) -> Iterator[str]:
    """Yield the names of the stages and indexes of the winning plan that an explain gives."""
    if isinstance(plan, list):
        for part in plan:
            yield from stages_of(part)
    elif isinstance(plan, dict):
        yield from (plan[key] for key in ("stage", "indexName") if key in plan)
        yield from (key for key in plan if key.startswith("$") and key != "$cursor")
        for key, part in plan.items():
            if key not in {"command", "rejectedPlans", "slotBasedPlan"}:
                yield from stages_of(part)


@pytest.mark.parametrize(
    ("view", "query", "index"),
    [
        ("v_calls", {"trace_id": "trace 3"}, "trace_id_newest"),
        ("v_calls", {"_id": {"$gte": CALLS[9]["_id"]}}, "_id_"),
        ("v_calls", {"created_at": {"$gte": START, "$lt": LAST_MILLISECOND}}, VIEWS_INDEX),
        ("v_failures", {}, "status_newest"),
        ("v_failures", {"trace_id": "trace 3"}, "trace_id_newest"),
        ("v_tool_usage_daily", {}, "tools_called_newest"),
        ("v_sessions", {}, "session_id_newest"),
        ("v_sessions", {"session_id": "3"}, "session_id_newest"),
        ("v_traces", {}, "trace_id_newest"),
        ("v_traces", {"trace_id": "trace 3"}, "trace_id_newest"),
    ],
)
def test_views_use_indexes(view: str, query: Call, index: str, published: Database[Call]) -> None:
    """A filter is applied before the calls are read, by the index that the docstring names."""
    plan = published.command("explain", {"find": view, "filter": query})
    stages = set(stages_of(plan))

    assert index in stages
    assert not stages & {"COLLSCAN", "$match"}


@pytest.mark.parametrize(
    ("view", "field"), [("v_traces", "trace_id"), ("v_sessions", "session_id")]
)
def test_one_row_reads_its_own_calls_only(view: str, field: str, published: Database[Call]) -> None:
    """Asked for one trace or session, MongoDB looks at no call of another."""
    value = next(call[field] for call in CALLS if field in call)
    own = sum(call.get(field) == value for call in CALLS)
    plan = published.command(
        {
            "explain": {"find": view, "filter": {field: value}},
            "verbosity": "executionStats",
        }
    )

    assert f"'totalDocsExamined': {own}," in str(plan)

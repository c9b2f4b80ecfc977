"""The newest traces: which they are, in which order, and that pages of them are exact."""

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pymongo
import pytest
from made_up_calls import CALLS, FAILURES, START, USERS, Call, call_id, store
from pymongo.database import Database
from waiting import Recording

from llm_audit import SyncLLMCallRepository, UsageError
from llm_audit.queries import newest
from llm_audit.queries.answers.lines import TraceSummary


@pytest.fixture(scope="module")
def stored(mongo_client: pymongo.MongoClient[Call]) -> Iterator[Database[Call]]:
    database = mongo_client["test_newest"]
    mongo_client.drop_database(database)
    store(database)
    yield database
    mongo_client.drop_database(database)


@pytest.fixture
def questions(stored: Database[Call], recording: Recording) -> Iterator[SyncLLMCallRepository]:
    recording(database=stored.name)
    with SyncLLMCallRepository() as repository:
        yield repository


FILTERS: list[tuple[dict[str, Any], Any]] = [
    ({}, lambda _: True),
    ({"user_id": USERS[1]}, lambda call: call.get("user_id") == str(USERS[1])),
    ({"status": list(FAILURES)}, lambda call: call["status"] in FAILURES),
    ({"tags": ["rag", "hidden"]}, lambda call: call.get("tags") == ["rag", "hidden"]),
    ({"trace_id": ["trace 1", "trace 2"]}, lambda call: call["trace_id"] in ("trace 1", "trace 2")),
    (
        {"start_date": START + timedelta(hours=30), "end_date": START + timedelta(hours=40)},
        lambda call: (
            START + timedelta(hours=30) <= call["created_at"] < START + timedelta(hours=40)
        ),
    ),
]


@pytest.mark.parametrize("walks", [(3,), (3, 30), (20, 400), (1_000,)])
def test_pages_of_traces_are_exact(
    walks: tuple[int, ...], questions: SyncLLMCallRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each trace with a call that matches is on one page, placed by the first such call."""
    monkeypatch.setattr(newest, "WALKS", walks)
    monkeypatch.setattr(newest, "WALKS_WITH_FILTERS", walks)
    for filters, matches in FILTERS:
        firsts: dict[str, str] = {}
        for call in CALLS:  # newest first
            if call.get("trace_id") and matches(call):
                firsts[call["trace_id"]] = call["_id"]
        found: list[TraceSummary] = []
        while True:
            after = found[-1].first_id if found else None
            page = questions.list_traces(limit=7, after=after, **filters)
            found += page
            if len(page) < 7:
                break
        expected = sorted(firsts, key=firsts.__getitem__, reverse=True)
        assert [trace.trace_id for trace in found] == expected, filters
        assert [trace.first_id for trace in found] == [firsts[it] for it in expected], filters


def test_what_is_said_of_a_trace(questions: SyncLLMCallRepository) -> None:
    """All of its calls count, whichever match; the root is the first call without a parent."""
    for trace in questions.list_traces(limit=100, user_id=USERS[1]):
        calls = [call for call in CALLS[::-1] if call.get("trace_id") == trace.trace_id]
        roots = [call for call in calls if not call.get("parent_call_id")] or calls
        assert trace.root_id == roots[0]["_id"]
        assert trace.calls == len(calls)
        assert trace.failures == sum(call["status"] in FAILURES for call in calls)
        assert trace.pending == sum(call["status"] == "PENDING" for call in calls)
        assert trace.started_at == calls[0]["created_at"]
        assert trace.tasks == len({call["task_id"] for call in calls if "task_id" in call})
        costs = [call["estimated_cost"] for call in calls if "estimated_cost" in call]
        assert trace.estimated_cost == pytest.approx(sum(costs))
        assert trace.calls_without_cost == len(calls) - len(costs)


def test_traces_of_strangers_and_of_one_tenant(
    mongo_client: pymongo.MongoClient[Call], recording: Recording
) -> None:
    """Fields of wrong types are as if missing; of a tenant, only its own calls are counted."""
    own = mongo_client["test_newest_odd"]
    mongo_client.drop_database(own)
    lot = random.Random(1)
    ids = [call_id(START + timedelta(seconds=n), lot) for n in range(6)]
    odd = {"created_at": "soon", "completed_at": 7, "task": "t", "messages": 5, "model": {"a": 1}}
    own["llm_calls"].insert_many(
        [
            {"_id": ids[0], "trace_id": "a", "status": "SUCCESS", "company_id": "1", **odd},
            {"_id": ids[1], "trace_id": "a", "status": "ERROR", "company_id": "2"},
            {"_id": ids[2], "trace_id": "b", "company_id": "2"},
            {"_id": ids[3], "trace_id": 7, "status": "SUCCESS", "company_id": "1"},
            {"_id": 8, "trace_id": "c", "status": "SUCCESS", "company_id": "1"},
        ]
    )
    recording(database=own.name)
    with SyncLLMCallRepository() as everybody:
        assert [trace.trace_id for trace in everybody.list_traces()] == ["b", "a"]
        [mine] = everybody.for_company("1").list_traces()
        assert (mine.trace_id, mine.calls, mine.failures) == ("a", 1, 0)
        assert mine.started_at is None
        with pytest.raises(UsageError, match="limit"):
            everybody.list_traces(limit=0)
    mongo_client.drop_database(own)

"""Tasks, queues and workers, against a slow and plain look at the same calls."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import plain_answers
import pymongo
import pytest
from made_up_calls import CALLS, FAILURES, START, Call, instant, store
from pymongo.database import Database
from waiting import Recording

from llm_audit import SyncLLMCallRepository
from llm_audit.queries.answers.tasks import Task
from llm_audit.queries.pipelines import tasks as pipelines
from llm_audit.queries.questions import tasks as asked

SECOND_DAY = {"start_date": START + timedelta(days=1), "end_date": START + timedelta(days=2)}
OF_TASKS = [call for call in CALLS[::-1] if "task_id" in call]  # oldest first


@pytest.fixture(scope="module")
def stored(mongo_client: pymongo.MongoClient[Call]) -> Iterator[Database[Call]]:
    database = mongo_client["test_tasks"]
    mongo_client.drop_database(database)
    store(database)
    yield database
    mongo_client.drop_database(database)


@pytest.fixture
def questions(stored: Database[Call], recording: Recording) -> Iterator[SyncLLMCallRepository]:
    recording(database=stored.name)
    with SyncLLMCallRepository() as repository:
        yield repository


def calls_of(task_id: str) -> list[Call]:
    return [call for call in OF_TASKS if call["task_id"] == task_id]


def attempt_of(call: Call) -> object:
    return call["task"].get("attempt_id", call["task"]["retries"])


def assert_is(task: Task, calls: list[Call]) -> None:
    """Check everything of a task that is summed up."""
    own: dict[object, list[Call]] = defaultdict(list)
    for call in calls:
        own[attempt_of(call)].append(call)
    assert len(task.attempts) == len(own), task.task_id
    for attempt, each in zip(task.attempts, own.values(), strict=True):
        assert attempt.first_call_id == each[0]["_id"]
        assert attempt.calls == len(each)
        ends = Counter((call["status"], call.get("ended_by")) for call in each)
        assert {(end.status, end.ended_by): end.calls for end in attempt.ends} == ends
    again = [each for each in own.values() if any(map(plain_answers.is_later, each))]
    assert task.paid_again.attempts == len(again)
    later = [call for each in again for call in each]
    for sums, of in ((task, calls), (task.paid_again, later)):
        costs = [call["estimated_cost"] for call in of if "estimated_cost" in call]
        assert sums.calls == len(of)
        assert sums.estimated_cost == pytest.approx(sum(costs))
        assert sums.calls_without_cost == len(of) - len(costs)
        assert sums.total_tokens == sum(call.get("total_tokens", 0) for call in of)
    assert task.failures == sum(call["status"] in FAILURES for call in calls)
    assert task.started_at == calls[0]["created_at"]


def test_tasks_by_name(questions: SyncLLMCallRepository) -> None:
    """They count as costs, latencies and failures by task name do, and say how calls end."""
    filters: dict[str, Any]
    for filters in ({}, SECOND_DAY, {"environment": "test"}, {"status": ["SUCCESS", "TIMEOUT"]}):
        costs = {row.group: row for row in questions.cost_summary("task_name", **filters)}
        latencies = {row.group: row for row in questions.latency_summary("task_name", **filters)}
        rows = questions.task_summary(**filters)
        assert {row.task_name for row in rows} == costs.keys() - {None}, filters
        assert [row.calls for row in rows] == sorted((row.calls for row in rows), reverse=True)
        for row in rows:
            cost, latency = costs[row.task_name], latencies[row.task_name]
            assert (row.calls, row.total_tokens) == (cost.calls, cost.total_tokens)
            assert row.calls_without_cost == cost.calls_without_cost
            assert row.estimated_cost == pytest.approx(cost.estimated_cost)
            assert (row.p50, row.p95) == (latency.p50, latency.p95)
            ends = {(end.status, end.ended_by): end.calls for end in row.ends}
            for (status, ended_by), count in ends.items():
                wanted = filters | {"task_name": row.task_name, "status": str(status)}
                if ended_by:
                    assert questions.count_by_filters(**wanted, ended_by=ended_by) == count
            assert sum(ends.values()) == row.calls
            failed = sum(count for (status, _), count in ends.items() if status in FAILURES)
            judged = failed + sum(n for (status, _), n in ends.items() if status == "SUCCESS")
            assert row.failures == failed
            assert row.failure_rate == pytest.approx(failed / judged)


def test_queues_and_workers(
    questions: SyncLLMCallRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pair of queue and worker counts the calls that its filters find."""
    summary = questions.worker_summary(**SECOND_DAY)
    calls = [
        call
        for call in OF_TASKS
        if (at := instant(call["_id"])) and SECOND_DAY["start_date"] <= at < SECOND_DAY["end_date"]
    ]
    expected = Counter((call["task"].get("queue"), call["task"]["worker"]) for call in calls)
    assert {(pair.queue, pair.worker): pair.calls for pair in summary.pairs} == expected
    for pair in summary.pairs:
        if pair.queue and pair.worker:
            found = {"queue": pair.queue, "worker": pair.worker, **SECOND_DAY}
            assert questions.count_by_filters(**found) == pair.calls
            assert questions.count_by_filters(**found, status="PENDING") == pair.pending
    assert summary.is_whole
    assert summary.calls_read == questions.count_by_filters(**SECOND_DAY)

    for module in (asked, pipelines):
        monkeypatch.setattr(module, "CALLS_OF_WORKERS_MAX", 10)
    part = questions.worker_summary()
    assert (part.calls_read, part.is_whole) == (10, False)


def test_a_task_its_attempts_and_what_is_around_it(questions: SyncLLMCallRepository) -> None:
    """Every task of the newest ones, and each asked for by its id, is what its calls say."""
    tasks: list[Task] = []
    while page := questions.list_tasks(limit=7, after=tasks[-1].first_id if tasks else None):
        tasks += page
    assert {task.task_id for task in tasks} == {call["task_id"] for call in OF_TASKS}
    assert len(tasks) == len({task.task_id for task in tasks})
    begun = [task.first_id for task in tasks]
    assert begun == sorted(begun, reverse=True)
    for task in tasks[:10]:
        assert_is(task, calls_of(task.task_id))
        found = questions.get_task(task.task_id)
        assert found
        assert found.task == task
        roots = {found.task.root_id} & {other.task_id for other in tasks}
        assert roots - {task.task_id} <= {other.task_id for other in found.around}
    [failed, *_] = questions.list_tasks(status=list(FAILURES), task_name="tasks.ask")
    assert_is(failed, calls_of(failed.task_id))
    assert failed.first_id in {c["_id"] for c in OF_TASKS if c["status"] in FAILURES}
    assert questions.get_task("none") is None


def test_a_canvas(questions: SyncLLMCallRepository) -> None:
    """By the id of its root, of a group, or of its trace."""
    for workflow_id in ("task 3", "group 1", "trace 5"):
        of_it = [
            call
            for call in OF_TASKS
            if workflow_id
            in (call["task"]["root_id"], call["task"].get("group_id"), call.get("trace_id"))
        ]
        canvas = questions.get_canvas(workflow_id)
        assert canvas.is_whole
        assert [task.task_id for task in canvas.tasks] == list(
            dict.fromkeys(call["task_id"] for call in of_it)
        )
        for task in canvas.tasks:
            assert_is(task, [call for call in of_it if call["task_id"] == task.task_id])
    assert questions.get_canvas("none").tasks == []


def test_a_tenant_sees_its_own_calls_of_a_task(questions: SyncLLMCallRepository) -> None:
    mine = [call for call in OF_TASKS if call.get("company_id") == "1"]
    of_company = questions.for_company("1")
    for task in of_company.list_tasks(limit=1_000):
        assert_is(task, [call for call in mine if call["task_id"] == task.task_id])
        found = of_company.get_task(task.task_id)
        assert found
        for other in found.around:
            own = [call for call in mine if call["task_id"] == other.task_id]
            assert other.calls <= len(own)
    assert sum(row.calls for row in of_company.worker_summary().pairs) == len(mine)

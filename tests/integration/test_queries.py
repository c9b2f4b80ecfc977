import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pymongo
import pytest
import pytest_asyncio
from local_time import local_time
from made_up_calls import CALLS, START, USERS, Call, bound, instant, store
from pymongo.database import Database
from pymongo.monitoring import CommandListener, CommandStartedEvent

from llm_audit import LLMCall, LLMCallRepository, LLMCallTypeEnum, UsageError, embedded, pipelines
from llm_audit.queries.questions import QUESTIONS
from llm_audit.references import CallReference
from llm_audit.store.indexes import LOOKED_UP

Selects = Callable[[Call], bool]
DAY = timedelta(days=1)


class Asked(CommandListener):
    """Keeps the pipelines that were sent to the server."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        """Keep an aggregation."""
        if event.command_name == "aggregate":
            self.commands.append(dict(event.command))

    def succeeded(self, event: object) -> None:
        """Nothing to keep."""

    def failed(self, event: object) -> None:
        """Nothing to keep."""


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture(scope="module")
def made_up(mongo_client: pymongo.MongoClient[Call]) -> Iterator[Database[Call]]:
    """Store the made-up calls once, for the tests that only read."""
    database = mongo_client[f"test_{uuid.uuid4().hex}"]
    store(database, indexed=True)
    yield database
    mongo_client.drop_database(database)


@pytest_asyncio.fixture(autouse=True)
async def calls(
    mongod: embedded.Mongod, made_up: Database[Call], asked: Asked
) -> AsyncIterator[None]:
    """Bind LLMCall to the made-up calls."""
    async with bound(mongod.url, made_up, asked):
        yield


@pytest_asyncio.fixture
async def own(mongod: embedded.Mongod, database: Database[Call]) -> AsyncIterator[Database[Call]]:
    """Bind LLMCall to a copy of the made-up calls that the test may add to."""
    store(database, indexed=True)
    async with bound(mongod.url, database):
        yield database


def ids(calls: list[LLMCall]) -> list[str]:
    return [call.id for call in calls]


def since(start: datetime, end: datetime | None = None) -> Selects:
    def selects(call: Call) -> bool:
        at = instant(call["_id"])
        return at is not None and start <= at and (end is None or at < end)

    return selects


def is_(**values: Any) -> Selects:
    return lambda call: all(call.get(name) == value for name, value in values.items())


def in_task(**values: Any) -> Selects:
    return lambda call: is_(**values)(call.get("task", {}))


def in_workflow(*ids: str) -> Selects:
    def selects(call: Call) -> bool:
        task = call.get("task", {})
        return not {task.get("root_id"), task.get("group_id"), call.get("trace_id")}.isdisjoint(ids)

    return selects


SELECTIONS: list[tuple[dict[str, Any], Selects]] = [
    ({}, lambda _: True),
    ({"call_type": LLMCallTypeEnum.CHAT}, is_(call_type="CHAT")),
    ({"status": ["error", "TIMEOUT"]}, lambda call: call["status"] in {"ERROR", "TIMEOUT"}),
    ({"provider": "openai"}, is_(provider="openai")),
    ({"model": ("gpt-4", "claude")}, lambda call: call.get("model") in {"gpt-4", "claude"}),
    ({"trace_id": CallReference("trace 3")}, is_(trace_id="trace 3")),
    ({"session_id": 3}, is_(session_id="3")),
    ({"user_id": USERS[2]}, is_(user_id=str(USERS[2]))),
    ({"company_id": [1, "2"]}, lambda call: call.get("company_id") in {"1", "2"}),
    ({"review_id": 77}, is_(review_id="77")),
    ({"task_id": "task 7"}, is_(task_id="task 7")),
    ({"task_name": "tasks.ask"}, lambda call: call.get("task", {}).get("name") == "tasks.ask"),
    ({"parent_call_id": "parent 1"}, is_(parent_call_id="parent 1")),
    ({"tags": "rag"}, lambda call: "rag" in call.get("tags", [])),
    ({"tags": ["hidden", "rag"]}, is_(tags=["rag", "hidden"])),
    ({"tool": "read"}, lambda call: "read" in call.get("tools_called", [])),
    ({"tool": ["read", "search"]}, lambda call: bool(call.get("tools_called"))),
    ({"environment": "test"}, is_(environment="test")),
    ({"service": ["api"]}, is_(service="api")),
    ({"captured_by": "httpx"}, is_(captured_by="httpx")),
    ({"error_type": "APIError"}, is_(error_type="APIError")),
    ({"ended_by": ["worker_lost"]}, is_(ended_by="worker_lost")),
    ({"attempt_id": "attempt 0 of 45"}, in_task(attempt_id="attempt 0 of 45")),
    ({"queue": ["slow", "none"]}, in_task(queue="slow")),
    ({"worker": "one@host"}, in_task(worker="one@host")),
    ({"workflow_id": ["task 3", "group 2"]}, in_workflow("task 3", "group 2")),
    ({"workflow_id": "trace 3"}, in_workflow("trace 3")),
    ({"missing": ["model"]}, lambda call: call.get("model") is None),
    ({"missing": "tags"}, lambda call: not call.get("tags")),
    (
        {"missing": ["tool"], "excluding": {"tool": "read"}},
        lambda call: not call.get("tools_called"),
    ),
    (
        {"missing": ["task_name", "company_id"], "excluding": {"company_id": 2}},
        lambda call: call.get("company_id") is None and not call.get("task", {}).get("name"),
    ),
    ({"excluding": {"model": "gpt-4"}}, lambda call: call.get("model") != "gpt-4"),
    (
        {"tags": "rag", "excluding": {"tags": "hidden", "user_id": USERS[2]}},
        lambda call: call.get("tags") == ["rag"] and call["user_id"] != str(USERS[2]),
    ),
    (
        {"status": ["ERROR", "SUCCESS"], "excluding": {"status": "ERROR"}},
        is_(status="SUCCESS"),
    ),
    (
        {"excluding": {"workflow_id": "task 3", "trace_id": "trace 3"}},
        lambda call: not in_workflow("task 3")(call) and call.get("trace_id") != "trace 3",
    ),
    ({"excluding": {"status": ["SUCCESS"]}}, lambda call: call["status"] != "SUCCESS"),
]
OF_A_WORKFLOW = {"task.root_id", "task.group_id"}  # no filters: see test_pipelines.py
DATES: list[tuple[dict[str, Any], Selects]] = [
    ({"start_date": START + DAY}, since(START + DAY)),
    ({"end_date": START + DAY}, since(START, START + DAY)),
    ({"start_date": START, "end_date": START + DAY}, since(START, START + DAY)),
]


def names(value: object) -> str:
    """Name a case by its filters."""
    if not isinstance(value, dict):
        return ""
    return ", ".join(f"{name} {given}" for name, given in value.items()) or "no filter"


@pytest.mark.parametrize(("filters", "selects"), [*SELECTIONS, *DATES], ids=names)
async def test_filters_select(filters: dict[str, Any], selects: Selects) -> None:
    """A filter gives exactly the calls that a plain look at each of them gives, newest first."""
    expected = [call["_id"] for call in CALLS if selects(call)]

    assert ids(await LLMCallRepository.list_by_filters(limit=None, **filters)) == expected
    assert ids(await LLMCallRepository.list_by_filters(limit=3, **filters)) == expected[:3]
    assert await LLMCallRepository.count_by_filters(**filters) == len(expected)
    assert (await LLMCallRepository.failure_summary(**filters)).calls == len(expected)


@pytest.mark.parametrize(("dates", "inside"), DATES, ids=names)
async def test_filters_and_dates_combine(dates: dict[str, Any], inside: Selects) -> None:
    """With several filters, a call has to meet them all."""
    filters = {"company_id": 1, "status": "SUCCESS", **dates}
    wanted = is_(company_id="1", status="SUCCESS")
    expected = [call["_id"] for call in CALLS if wanted(call) and inside(call)]

    assert expected
    assert ids(await LLMCallRepository.list_by_filters(limit=None, **filters)) == expected


async def test_dates_without_a_zone_are_local() -> None:
    """Where it is nine hours later than in UTC, nine in the morning is UTC's midnight."""
    nine = datetime(2026, 5, 2, 9)  # noqa: DTZ001  (what users write)
    with local_time("JST-9"):
        found = await LLMCallRepository.list_by_filters(start_date=nine, limit=None)

    assert ids(found) == [call["_id"] for call in CALLS if since(START + DAY)(call)]


def value_of(call: Call, path: str) -> Any:
    value: Any = call
    for name in path.split("."):
        value = (value[0] if isinstance(value, list) else value).get(name, {})
    return value


@pytest.mark.parametrize("dates", [{}, DATES[2][0]], ids=["always", "between dates"])
@pytest.mark.parametrize("field", [name for name in LOOKED_UP if name not in OF_A_WORKFLOW])
async def test_indexes_serve_the_filters(
    field: str, dates: dict[str, Any], made_up: Database[Call], asked: Asked
) -> None:
    """An indexed filter, also with dates, reads its index in order: nothing is sorted."""
    value = "TIMEOUT" if field == "status" else next(v for c in CALLS if (v := value_of(c, field)))
    renamed = {"tools_called": "tool", "task.name": "task_name", "scores.name": "score"}
    name = renamed.get(field, field)
    filters = {name: value[0] if isinstance(value, list) else value, **dates}
    await LLMCallRepository.list_by_filters(**filters)
    plan = plan_of(made_up, asked)

    assert stages_of(plan) == ["LIMIT", "FETCH", "IXSCAN"]
    assert plan["inputStage"]["inputStage"]["indexName"] == f"{field}_newest"


async def test_several_values_are_merged_in_order(made_up: Database[Call], asked: Asked) -> None:
    """Calls of several statuses come from one index scan each, merged: nothing is sorted."""
    await LLMCallRepository.list_by_filters(status=["ERROR", "TIMEOUT"])
    plan = plan_of(made_up, asked)

    assert {"SORT", "COLLSCAN"}.isdisjoint(stages_of(plan))
    assert "SORT_MERGE" in stages_of(plan)


def plan_of(made_up: Database[Call], asked: Asked) -> dict[str, Any]:
    """Return how MongoDB finds what was asked for last."""
    sent = {key: asked.commands[-1][key] for key in ("aggregate", "pipeline", "cursor")}
    plan: dict[str, Any] = made_up.command("explain", sent)["queryPlanner"]["winningPlan"]
    return plan


def stages_of(plan: dict[str, Any]) -> list[str]:
    """Name the stages of a query plan, from the last to the first."""
    inputs = [plan["inputStage"]] if "inputStage" in plan else plan.get("inputStages", [])
    return [plan["stage"], *(stage for one in inputs for stage in stages_of(one))]


@pytest.mark.parametrize("filters", [{}, {"status": "SUCCESS"}, DATES[0][0]], ids=names)
async def test_paging_walks_everything_once(filters: dict[str, Any], own: Database[Call]) -> None:
    """Page by page every call is seen once, also when new ones come in meanwhile."""
    expected = ids(await LLMCallRepository.list_by_filters(limit=None, **filters))
    seen: list[str] = []
    while page := await LLMCallRepository.list_by_filters(
        limit=7, after=seen[-1] if seen else None, **filters
    ):
        seen += ids(page)
        newer = {"_id": f"ffffffff-ffff-7fff-8fff-{len(seen):012}", "status": "SUCCESS"}
        own["llm_calls"].insert_one(newer)

    assert seen == expected
    assert len(seen) > 7 * 7


@pytest.mark.parametrize("limit", [0, -1, 2.0, True, "10"])
async def test_a_wrong_limit_is_named(limit: Any) -> None:
    """A limit of zero would mean "all" to MongoDB, and is refused."""
    with pytest.raises(UsageError, match="limit has to be an int from 1"):
        await LLMCallRepository.list_by_filters(limit=limit)


@pytest.mark.parametrize("form", [str, uuid.UUID, CallReference])
async def test_get_finds_a_call(form: Callable[[str], Any]) -> None:
    """A call is found by its id in any form."""
    wanted = CALLS[10]
    call = await LLMCallRepository.get(form(wanted["_id"]))

    assert isinstance(call, LLMCall)
    assert (call.id, call.status, call.messages) == (
        wanted["_id"],
        wanted["status"],
        wanted["messages"],
    )
    assert call.created_at == wanted["created_at"]


async def test_get_finds_nothing() -> None:
    """An id that nobody has recorded gives None."""
    assert await LLMCallRepository.get(uuid.uuid4()) is None


async def test_a_call_that_only_a_finish_reached_parses(own: Database[Call]) -> None:
    """The id and the status are enough to read a call."""
    own["llm_calls"].insert_one({"_id": "bare", "status": "ABANDONED", "ended_by": "revoked"})

    call = await LLMCallRepository.get("bare")

    assert call is not None
    assert (call.status, call.ended_by, call.messages, call.task) == (
        "ABANDONED",
        "revoked",
        [],
        None,
    )


async def test_a_trace_reads_from_its_beginning() -> None:
    """All calls of a trace, and no others, oldest first."""
    expected = [call["_id"] for call in reversed(CALLS) if call.get("trace_id") == "trace 3"]

    assert len(expected) > 3
    assert ids(await LLMCallRepository.get_calls_by_trace("trace 3")) == expected


async def test_a_trace_is_a_tree(own: Database[Call]) -> None:
    """Calls hang under their parents; what was said in them is not read."""
    trace = [
        {
            "_id": f"01a00000-000{n}-7000-8000-000000000000",
            "status": "SUCCESS",
            "trace_id": "a tree",
            "messages": [{"role": "user", "content": "long" * 1000}],
            "estimated_cost": 0.5,
            "task": {"name": "tasks.ask", "retries": n},
            **({"parent_call_id": f"01a00000-000{parent}-7000-8000-000000000000"} if n else {}),
        }
        for n, parent in enumerate([None, 0, 1, 0, 9])
    ]
    own["llm_calls"].insert_many(trace)

    tree = await LLMCallRepository.get_trace_tree("a tree")
    rows = list(own["llm_calls"].aggregate(pipelines.trace_tree("a tree")))

    assert [(branch.call.id[12], branch.depth) for branch in tree.walk()] == [
        *(("0", 0), ("1", 1), ("2", 2)),
        *(("3", 1), ("4", 0)),
    ]
    assert [root.orphan for root in tree.children] == [None, "parent not in this trace"]
    assert (tree.calls, tree.estimated_cost) == (5, 2.5)
    assert (tree.children[1].call.task_name, tree.children[1].call.retries) == ("tasks.ask", 4)
    assert max(len(str(row)) for row in rows) < 300


async def test_a_session_is_a_conversation(own: Database[Call]) -> None:
    """The calls of a session, in any provider's shape, each with what is new in it."""
    session_id = uuid.uuid4()
    question = {"role": "user", "content": "Hello!"}
    answer = {"role": "assistant", "content": "Hi."}
    own["llm_calls"].insert_many(
        [
            {
                "_id": "01a00000-0002-7000-8000-000000000000",
                "status": "PENDING",
                "session_id": str(session_id),
                "messages": [question, answer, {"role": "user", "content": "Bye!"}],
            },
            {
                "_id": "01a00000-0001-7000-8000-000000000000",
                "status": "SUCCESS",
                "session_id": str(session_id),
                "messages": [question],
                "tools": [{"type": "function"}],
                "response_message": answer,
            },
        ]
    )

    conversation = await LLMCallRepository.get_session(session_id)

    assert conversation.session_id == str(session_id)
    assert [[part.content for part in turn.new] for turn in conversation.turns] == [
        ["Hello!"],
        ["Bye!"],
    ]
    assert [turn.continues for turn in conversation.turns] == [None, conversation.turns[0].id]
    assert [turn.status for turn in conversation.turns] == ["SUCCESS", "PENDING"]


async def test_a_task_reads_from_its_first_attempt(own: Database[Call]) -> None:
    """All calls of a task in all its attempts, oldest first; the id may be a UUID."""
    task_id = uuid.uuid4()
    attempts = [
        {
            "_id": f"01a00000-000{n}-7000-8000-000000000000",
            "status": "SUCCESS",
            "task_id": str(task_id),
            "task": {"name": "tasks.ask", "retries": n, "attempt_id": f"attempt {n}"},
        }
        for n in (2, 0, 1)
    ]
    own["llm_calls"].insert_many(attempts)

    calls = await LLMCallRepository.get_calls_by_task(task_id)

    assert [call.task and (call.task.retries, call.task.attempt_id) for call in calls] == [
        (0, "attempt 0"),
        (1, "attempt 1"),
        (2, "attempt 2"),
    ]


@pytest.mark.parametrize("wanted", ["task 3", "group 1", "trace 3"])
async def test_a_workflow_reads_from_its_beginning(wanted: str) -> None:
    """All calls whose root, group or trace this is, each once, oldest first."""
    expected = [
        call["_id"]
        for call in reversed(CALLS)
        if wanted in {call.get("trace_id"), *call.get("task", {}).values()}
    ]

    assert len(expected) > 3
    assert ids(await LLMCallRepository.get_workflow(wanted)) == expected


def test_queries_before_init_say_what_to_do() -> None:
    """In a process that has not called init(), every query says so."""
    script = """if True:
        import asyncio
        from llm_audit import LLMCallRepository, NotInitializedError

        from llm_audit.queries.questions import QUESTIONS

        for name in QUESTIONS:
            try:
                arguments = ["x"] if name.startswith(("get", "s", "tool_a")) else []
                asyncio.run(getattr(LLMCallRepository, name)(*arguments))
            except NotInitializedError as error:
                assert "await llm_audit.init()" in str(error)
                print(name)
    """
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.stderr == ""
    assert done.stdout.split() == list(QUESTIONS)

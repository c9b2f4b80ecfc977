"""One set of questions, asked in async and in sync code, of all calls or of a tenant's."""

import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pymongo
import pytest
import pytest_asyncio
from made_up_calls import CALLS, Call, store
from nowhere import NOWHERE
from pydantic import BaseModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import ExecutionTimeout
from pymongo.monitoring import CommandListener, CommandStartedEvent
from waiting import Recording

import llm_audit
from llm_audit import (
    ConfigurationError,
    LLMAuditError,
    LLMCallRepository,
    SyncLLMCallRepository,
    UnavailableError,
    UsageError,
    embedded,
)
from llm_audit.queries.answers.trace_tree import TraceTree
from llm_audit.queries.questions import QUESTIONS
from llm_audit.settings import Settings
from llm_audit.store.answers.plain_errors import plain_errors

CALL = next(call for call in CALLS if call.get("task_id") and call.get("session_id"))
# Of each question some arguments that have an answer.
ASKED: dict[str, tuple[Any, ...]] = {
    "get": (CALL["_id"],),
    "search": ("hello",),
    "get_calls_by_trace": ("trace 3",),
    "get_trace_tree": ("trace 3",),
    "get_session": (CALL["session_id"],),
    "get_calls_by_task": (CALL["task_id"],),
    "get_workflow": ("group 1",),
    "get_task": (CALL["task_id"],),
    "get_canvas": ("group 1",),
    "score_summary": ("helpful",),
    "tool_arguments": ("read",),
    "largest_calls": ("latency_ms",),
}
WITHOUT_ANSWER = {"tool_arguments"}  # the made-up calls were answered nothing
MORE = {"search": {"end_date": CALL["created_at"]}}


@pytest.fixture(scope="module")
def stored(mongo_client: pymongo.MongoClient[Call]) -> Iterator[Database[Call]]:
    """Store the made-up calls once."""
    database = mongo_client["test_repositories"]
    mongo_client.drop_database(database)
    store(database)
    yield database
    mongo_client.drop_database(database)


@pytest.fixture
def calls(stored: Database[Call], recording: Recording) -> Collection[Call]:
    """Have the settings name them."""
    recording(database=stored.name)
    return stored["llm_calls"]


@pytest.fixture
def sync(calls: Collection[Call]) -> Iterator[SyncLLMCallRepository]:  # noqa: ARG001  (settings)
    with SyncLLMCallRepository() as repository:
        yield repository


@pytest_asyncio.fixture
async def on_own_client(
    mongod: embedded.Mongod, calls: Collection[Call]
) -> AsyncIterator[LLMCallRepository]:
    """Ask in async code without `init()`, as the viewer does."""
    async with pymongo.AsyncMongoClient[Call](mongod.url) as client:
        yield LLMCallRepository(client[calls.database.name]["llm_calls"])


def comparable(answer: Any) -> Any:
    """Return an answer as it can be compared: a tree by its calls, sums to some digits."""
    if isinstance(answer, TraceTree):
        return [(comparable(branch.call), branch.depth) for branch in answer.walk()]
    if isinstance(answer, BaseModel):
        return comparable(answer.model_dump())
    if isinstance(answer, dict):
        return {name: comparable(value) for name, value in answer.items()}
    if isinstance(answer, list):
        return [comparable(value) for value in answer]
    return round(answer, 9) if isinstance(answer, float) else answer


@pytest.mark.parametrize("name", QUESTIONS)
async def test_both_repositories_answer_alike(
    name: str, sync: SyncLLMCallRepository, on_own_client: LLMCallRepository
) -> None:
    """Each question has the same arguments and the same answer in async and in sync code."""
    ask_sync, ask_async = getattr(sync, name), getattr(on_own_client, name)
    assert inspect.signature(ask_sync) == inspect.signature(ask_async)
    assert inspect.getdoc(ask_sync) == inspect.getdoc(ask_async)
    assert inspect.iscoroutinefunction(ask_async)
    assert not inspect.iscoroutinefunction(ask_sync)

    arguments, filters = ASKED.get(name, ()), MORE.get(name, {})
    answer = comparable(ask_sync(*arguments, **filters))
    assert answer or name in WITHOUT_ANSWER
    assert comparable(await ask_async(*arguments, **filters)) == answer
    database = await llm_audit.init()
    assert comparable(await getattr(LLMCallRepository, name)(*arguments, **filters)) == answer
    await database.client.close()


def test_what_was_said_is_left_out(sync: SyncLLMCallRepository) -> None:
    """Without content, a page of calls has every field but those that hold what was said."""
    whole = sync.list_by_filters(limit=20)
    lines = sync.list_by_filters(limit=20, with_content=False)

    assert [line.id for line in lines] == [call.id for call in whole]
    assert any(call.messages for call in whole)
    assert not any(line.messages or line.metadata or line.error_message for line in lines)
    assert [(line.total_tokens, line.task, line.tags) for line in lines] == [
        (call.total_tokens, call.task, call.tags) for call in whole
    ]


@pytest.mark.parametrize("field", ["company_id", "user_id"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_tenant_sees_its_own_calls_only(
    name: str, field: str, sync: SyncLLMCallRepository, mongo_client: pymongo.MongoClient[Call]
) -> None:
    """Every question of a bound repository is answered as if there were no other calls."""
    tenant = CALL[field] if field == "user_id" else "1"
    bind: dict[str, Callable[..., SyncLLMCallRepository]] = {
        "company_id": sync.for_company,
        "user_id": sync.for_user,
    }
    alone = mongo_client["test_repositories"][f"of_one_{field}"]
    alone.drop()
    alone.insert_many([call for call in CALLS if call.get(field) == tenant])
    others = next(call for call in CALLS if call.get(field) not in {None, tenant})
    arguments, filters = ASKED.get(name, ()), MORE.get(name, {})

    answer = getattr(bind[field](tenant), name)(*arguments, **filters)
    expected = getattr(SyncLLMCallRepository(alone), name)(*arguments, **filters)

    assert comparable(answer) == comparable(expected)
    assert bind[field](tenant).get(others["_id"]) is None
    assert bind[field](tenant).list_by_filters(**{field: others[field]}) == []


def test_both_tenants_at_once(sync: SyncLLMCallRepository) -> None:
    """Bound to a company and a user, it knows the calls that are of both."""
    found = sync.for_company(1).for_user(CALL["user_id"]).list_by_filters(limit=None)

    assert {(call.company_id, call.user_id) for call in found} == {("1", CALL["user_id"])}
    assert len(found) < sync.for_company(1).count_by_filters()


@pytest.mark.parametrize("tenant", [None, "", "  ", [], {"$ne": None}], ids=repr)
def test_a_tenant_has_a_name(tenant: Any) -> None:
    """None and an empty text are refused, strict or not, and so is whatever is no id."""
    for repository in (SyncLLMCallRepository(), LLMCallRepository()):
        for bind in (repository.for_company, repository.for_user):
            with pytest.raises(UsageError, match=r"company_id|user_id"):
                bind(tenant)


def test_a_tenant_stays_the_same() -> None:
    """Who holds a bound repository cannot bind it to somebody else."""
    bound = SyncLLMCallRepository().for_company(1)
    bound.for_company("1")

    with pytest.raises(UsageError, match="another company_id"):
        bound.for_company(2)


def test_threads_share_a_connection(sync: SyncLLMCallRepository) -> None:
    """Threads that ask first at the same time all get an answer, on one client."""
    start, seen = threading.Barrier(8, timeout=30), list[int]()

    def ask() -> None:
        start.wait()
        seen.append(sync.count_by_filters())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == [len(CALLS)] * 8
    assert len(sync._clients) == 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_asks_after_a_fork(sync: SyncLLMCallRepository) -> None:
    """A forked child has a connection of its own; the parent's goes on."""
    assert sync.count_by_filters() == len(CALLS)
    child = os.fork()
    if child == 0:
        os._exit(0 if sync.count_by_filters() == len(CALLS) else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert sync.count_by_filters() == len(CALLS)


def test_closed_and_asked_again(sync: SyncLLMCallRepository) -> None:
    """After `close()` the next question opens another connection."""
    assert sync.count_by_filters()
    sync.close()
    assert not sync._clients
    assert sync.count_by_filters() == len(CALLS)


AWAY = (
    r"MongoDB at 127\.0\.0\.1:1 cannot be asked \(ServerSelectionTimeoutError\): start it, or say "
)
OURS, GIVEN = "LLM_AUDIT_MONGO_URL", "the URL of the client that was given"


def test_a_server_that_is_away_is_said_in_a_sentence() -> None:
    """Whether the client is ours or was given, the error names the server and what to do."""
    llm_audit.configure(mongo_url=NOWHERE)
    with SyncLLMCallRepository() as sync, pytest.raises(UnavailableError, match=AWAY) as raised:
        sync.count_by_filters()
    assert OURS in str(raised.value)
    with pymongo.MongoClient[Call](NOWHERE) as client:
        given = SyncLLMCallRepository(client["a"]["b"])
        with pytest.raises(UnavailableError, match=AWAY) as raised:
            given.get_trace_tree("t")
        assert GIVEN in str(raised.value)


def test_a_server_that_is_away_is_said_in_async_code() -> None:
    """The async repository says the same. In a process of its own: PyMongo leaves sockets open."""
    script = f"""if True:
        import asyncio, llm_audit, pymongo
        from llm_audit import LLMCallRepository, UnavailableError

        async def main():
            llm_audit.configure(mongo_url={NOWHERE!r}, create_collection=False)
            await llm_audit.init()
            given = pymongo.AsyncMongoClient({NOWHERE!r})["a"]["b"]
            for repository in (LLMCallRepository, LLMCallRepository(given)):
                try:
                    await repository.get("1")
                except UnavailableError as error:
                    print(error)

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    ours, given = done.stdout.splitlines()
    assert re.match(f"{AWAY}.*{OURS}", ours)
    assert re.match(f"{AWAY}.*{GIVEN}", given)


def test_what_cannot_be_asked_is_said(mongod: embedded.Mongod) -> None:
    """A closed client, and a setting that cannot be, are named."""
    with pymongo.MongoClient[Call](mongod.url) as client:
        closed = SyncLLMCallRepository(client["a"]["b"])
        assert closed.count_by_filters() == 0
    with pytest.raises(UsageError, match=r"reads a\.b was closed"):
        closed.count_by_filters()

    with pytest.raises(ConfigurationError, match="database"):
        llm_audit.configure(mongo_url=mongod.url, database="a b")


def test_every_question_has_a_time_limit(mongod: embedded.Mongod) -> None:
    """What MongoDB works on ends there, too; the error names the setting."""
    asked = _Asked()
    client: pymongo.MongoClient[Call] = pymongo.MongoClient(mongod.url, event_listeners=[asked])
    llm_audit.configure(query_timeout_seconds=7)
    with client, SyncLLMCallRepository(client["limits"]["llm_calls"]) as repository:
        for name in QUESTIONS:
            asked.limits.clear()
            getattr(repository, name)(*ASKED.get(name, ()))
            assert asked.limits
            assert set(asked.limits) <= {7_000, 1_000}, name
        llm_audit.configure(query_timeout_seconds=None)
        asked.limits.clear()
        repository.count_by_filters()
    assert asked.limits == [None]
    with (
        pytest.raises(LLMAuditError, match="raise query_timeout_seconds"),
        plain_errors(Settings()),
    ):
        raise ExecutionTimeout("operation exceeded time limit", 50)


class _Asked(CommandListener):
    """Notes the time limit of each aggregation."""

    def __init__(self) -> None:
        self.limits: list[int | None] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "aggregate":
            self.limits.append(event.command.get("maxTimeMS"))

    def succeeded(self, event: object) -> None:
        """Do nothing."""

    def failed(self, event: object) -> None:
        """Do nothing."""

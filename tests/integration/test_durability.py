"""Awaiting a call in the mode `acknowledged`: it is in MongoDB then, or the wait was bounded."""

import asyncio
import json
import logging
import pickle
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

import bson
import pymongo
import pytest
from children import output_of
from nowhere import NOWHERE
from waiting import PATIENCE, Calls, Recording, until

import llm_audit
from llm_audit import LLMLogger, embedded
from llm_audit.recorder import process
from llm_audit.references import CallReference

MESSAGES = [{"role": "user", "content": "x" * 300}]
ANSWER = {"role": "assistant", "content": "y" * 300}

# A parent and its forked child each await what they record; each looks before it ends.
AWAIT_AFTER_FORK = """
import asyncio, os
import llm_audit, pymongo
from llm_audit import LLMLogger
from llm_audit.settings import get_settings

llm_audit.configure(
    durability="acknowledged", acknowledged_timeout_seconds=30, pending_after_seconds=3600
)
settings = get_settings()

def status_of(call_id):
    with pymongo.MongoClient(settings.mongo_url.get_secret_value()) as client:
        return client[settings.database][settings.collection].find_one({"_id": call_id})["status"]

async def record():
    call_id = await LLMLogger.start(model="m", messages=[])
    started = status_of(call_id)
    await LLMLogger.complete(call_id)
    os.write(1, f"{os.getpid()} {started} {status_of(call_id)}\\n".encode())

asyncio.run(record())
pid = os.fork()
if pid == 0:
    asyncio.run(record())
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
asyncio.run(record())
"""


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.Mongod]:
    """Run a mongod that may be harmed."""
    with embedded.Mongod() as server:
        yield server


@pytest.fixture
def harmed_calls(recording: Recording, server: embedded.Mongod) -> Iterator[Calls]:
    """Record in the mode `acknowledged` onto the server that may be harmed; give its calls."""
    if server.pid is None:
        server.restart()
    with pymongo.MongoClient(server.url, tz_aware=True) as client:
        calls = client[f"test_{uuid.uuid4().hex}"]["llm_calls"]
        recording(
            mongo_url=server.url,
            database=calls.database.name,
            durability="acknowledged",
            acknowledged_timeout_seconds=PATIENCE,
        )
        yield calls
        if server.pid is not None:
            server.thaw()


@pytest.fixture
def acknowledged(recording: Recording) -> None:
    """Record in the mode `acknowledged`; a start that is put off would be put off for an hour."""
    recording(
        durability="acknowledged",
        acknowledged_timeout_seconds=PATIENCE,
        pending_after_seconds=3600,
    )


def start(**given: Any) -> CallReference:
    return LLMLogger.start(model="m", messages=MESSAGES, **given)


def stored(calls: Calls, call_id: str) -> Mapping[str, Any]:
    """Return a call as it is in MongoDB now, without waiting for anything."""
    return calls.find_one({"_id": call_id}) or {}


def callbacks() -> Mapping[Callable[[], None], int]:
    """Return who waits for this process's shipper."""
    running = process.running()
    assert running is not None
    return running.shipper.acknowledged._callbacks


async def somebody_waits() -> None:
    """Wait, without blocking the event loop, until another coroutine waits for MongoDB."""
    async with asyncio.timeout(PATIENCE):
        while not callbacks():  # noqa: ASYNC110  (what is awaited is the thing under test)
            await asyncio.sleep(0)


@asynccontextmanager
async def counting_ticks() -> AsyncIterator[list[None]]:
    """Count how often another coroutine gets its turn during the block."""
    ticks: list[None] = []

    async def tick() -> None:
        while True:
            ticks.append(None)
            await asyncio.sleep(0.001)

    task = asyncio.create_task(tick())
    yield ticks
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.usefixtures("acknowledged")
async def test_an_awaited_start_is_there(calls: Calls) -> None:
    """When awaiting a start returns, the call is in MongoDB as PENDING: nothing is put off."""
    call_id = await start()
    call = stored(calls, call_id)
    assert (call["status"], call["messages"]) == ("PENDING", MESSAGES)


@pytest.mark.usefixtures("acknowledged")
async def test_an_awaited_end_is_there(calls: Calls) -> None:
    """When awaiting `complete` or `fail` returns, the outcome is in MongoDB."""
    call_id = await start()
    assert await LLMLogger.complete(call_id, response_message=ANSWER) == call_id
    assert stored(calls, call_id)["response_message"] == ANSWER

    failed = await LLMLogger.fail(start(), ValueError("no"))
    assert stored(calls, failed)["status"] == "ERROR"


@pytest.mark.usefixtures("acknowledged")
async def test_an_awaited_end_from_elsewhere_is_there(calls: Calls) -> None:
    """The outcome of a call that another process has started is awaited like any other."""
    elsewhere = str(uuid.uuid4())
    await LLMLogger.complete(elsewhere, response_message=ANSWER)
    assert stored(calls, elsewhere)["status"] == "SUCCESS"


@pytest.mark.usefixtures("acknowledged")
async def test_only_one_of_many_is_awaited(calls: Calls) -> None:
    """Awaiting one call also waits for what this process has recorded before it."""
    before = [start() for _ in range(20)]
    await start()
    assert calls.count_documents({"_id": {"$in": before}, "status": "PENDING"}) == len(before)


@pytest.mark.usefixtures("acknowledged")
async def test_many_may_await_at_once(calls: Calls) -> None:
    """Two hundred coroutines that await each get their call acknowledged, and leave nothing."""

    async def record() -> str:
        call_id = await start()
        assert stored(calls, call_id)
        return await LLMLogger.complete(call_id, response_message=ANSWER)

    call_ids = await asyncio.gather(*(record() for _ in range(200)))
    assert calls.count_documents({"_id": {"$in": call_ids}, "status": "SUCCESS"}) == 200
    assert not callbacks()


@pytest.mark.usefixtures("acknowledged")
async def test_log_call_waits_at_both_ends(calls: Calls) -> None:
    """`async with` waits for the start when it is entered, and for the end when it is left."""
    async with LLMLogger.log_call(model="m", messages=MESSAGES) as completed:
        assert stored(calls, completed)["status"] == "PENDING"
        LLMLogger.complete(completed, response_message=ANSWER)
    assert stored(calls, completed)["status"] == "SUCCESS"

    async with LLMLogger.log_call(model="m", messages=MESSAGES) as left:
        pass
    assert stored(calls, left)["status"] == "INCOMPLETE"

    with pytest.raises(LookupError):
        async with LLMLogger.log_call(model="m", messages=MESSAGES) as failed:
            raise LookupError
    assert stored(calls, failed)["status"] == "ERROR"


@pytest.mark.usefixtures("acknowledged")
async def test_a_reference_stays_what_it_was(calls: Calls) -> None:
    """wait_for and gather take a reference that waits; it is the same id wherever it goes."""
    call_id = await asyncio.wait_for(start(), PATIENCE)
    assert stored(calls, call_id)["status"] == "PENDING"
    assert await asyncio.gather(start(), call_id, LLMLogger.complete(call_id)) != []
    assert calls.count_documents({"status": "PENDING"}) == 1
    assert stored(calls, call_id)["status"] == "SUCCESS"

    assert json.loads(json.dumps({"id": call_id})) == {"id": call_id}
    assert bson.decode(bson.encode({"id": call_id})) == {"id": call_id}
    assert type(pickle.loads(pickle.dumps(call_id))) is str


def test_two_loops_in_two_threads(recording: Recording, calls: Calls) -> None:
    """Event loops in several threads each wait for their own calls."""
    recording(durability="acknowledged", acknowledged_timeout_seconds=PATIENCE)

    async def record() -> int:
        there = 0
        for _ in range(20):
            call_id = await start()
            there += stored(calls, call_id)["status"] == "PENDING"
            await LLMLogger.complete(call_id)
            there += stored(calls, call_id)["status"] == "SUCCESS"
        return there

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda _: asyncio.run(record()), range(2)))
    assert found == [40, 40]


def test_a_forked_child_awaits_its_own(recording: Recording) -> None:
    """After a fork, child and parent each wait for what they record themselves."""
    lines = [line.split() for line in output_of(AWAIT_AFTER_FORK, recording())]
    assert [statuses for _, *statuses in lines] == [["PENDING", "SUCCESS"]] * 3
    pids = [pid for pid, *_ in lines]
    assert pids[0] == pids[2] != pids[1]


@pytest.mark.parametrize("harm", ["kill", "freeze"])
async def test_with_mongodb_away_waiting_is_bounded(
    recording: Recording, server: embedded.Mongod, harmed_calls: Calls, harm: str
) -> None:
    """Without MongoDB, awaiting ends in time, without an error; the call arrives later."""
    recording(
        mongo_url=server.url,
        database=harmed_calls.database.name,
        durability="acknowledged",
        acknowledged_timeout_seconds=0.3,
    )
    first = start()
    assert first.wait(PATIENCE)
    getattr(server, harm)()
    async with counting_ticks() as ticks:
        call_id = await start()
        completed = await LLMLogger.complete(call_id, response_message=ANSWER)
    assert len(ticks) > 10  # a loop that is blocked has a turn or two between the waits
    assert completed == call_id
    assert not llm_audit.flush(0)
    assert not callbacks()

    server.restart() if harm == "kill" else server.thaw()
    assert llm_audit.flush(PATIENCE)
    assert stored(harmed_calls, call_id)["response_message"] == ANSWER
    assert harmed_calls.count_documents({}) == 2


async def test_waiting_goes_on_until_mongodb_is_back(
    server: embedded.Mongod, harmed_calls: Calls
) -> None:
    """Whoever waits when MongoDB goes away has their call in it when it is back in time."""
    await start()
    server.freeze()
    waiting = asyncio.ensure_future(start())
    await somebody_waits()
    server.thaw()
    assert stored(harmed_calls, await waiting)["status"] == "PENDING"


async def test_a_bound_of_zero_does_not_wait(recording: Recording) -> None:
    """With `acknowledged_timeout_seconds=0`, awaiting returns without MongoDB."""
    recording(
        mongo_url=NOWHERE,
        durability="acknowledged",
        acknowledged_timeout_seconds=0,
        exit_timeout_seconds=0,
    )
    assert await LLMLogger.complete(await start())
    assert llm_audit.shutdown(0).unacknowledged_operations == 2


async def test_cancelling_whoever_waits(server: embedded.Mongod, harmed_calls: Calls) -> None:
    """A cancelled task ends as cancelled, leaves nobody waiting, and its call arrives."""
    await start()
    server.freeze()
    waiting = asyncio.ensure_future(LLMLogger.complete(start()))
    await somebody_waits()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not callbacks()

    server.thaw()
    assert llm_audit.flush(PATIENCE)
    assert harmed_calls.count_documents({"status": "SUCCESS"}) == 1


async def test_a_shorter_time_limit_of_the_callers(
    server: embedded.Mongod, harmed_calls: Calls
) -> None:
    """wait_for ends the wait at its own limit with its own error; the call arrives all the same."""
    await start()
    server.freeze()
    call_id = start()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call_id, 0.05)
    assert not callbacks()
    server.thaw()
    assert await call_id == call_id
    assert stored(harmed_calls, call_id)


def test_a_loop_that_is_closed_while_somebody_waits(
    server: embedded.Mongod, harmed_calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """When the acknowledgement comes after the loop was closed, shipping goes on unharmed."""
    assert start().wait(PATIENCE)
    server.freeze()
    loop = asyncio.new_event_loop()

    async def wait() -> None:
        await start()

    waiting = loop.create_task(wait())
    waiting._log_destroy_pending = False  # that it is never finished is the point
    loop.run_until_complete(somebody_waits())
    loop.close()
    assert callbacks()
    with caplog.at_level(logging.DEBUG, logger="llm_audit"):
        server.thaw()
        assert llm_audit.flush(PATIENCE)
        until(lambda: not callbacks())
        assert start().wait(PATIENCE)
    assert not waiting.done()
    assert [record for record in caplog.records if record.name == "llm_audit"] == []
    assert harmed_calls.count_documents({}) == 3


def test_await_outside_of_asyncio(
    recording: Recording, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no asyncio loop runs, awaiting returns at once and says once that it cannot wait."""
    recording(durability="acknowledged")
    for _ in range(2):
        awaiting = start().__await__()
        with pytest.raises(StopIteration):
            next(awaiting)
    assert len([line for line in caplog.messages if "only in asyncio" in line]) == 1
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({}) == 2


def test_in_mode_journal_nobody_waits(recording: Recording) -> None:
    """At the default level, awaiting never gives the loop away, with MongoDB out of reach."""
    recording(mongo_url=NOWHERE, exit_timeout_seconds=0)
    call_id = start()
    with pytest.raises(StopIteration) as returned:
        next(call_id.__await__())
    assert returned.value.value == call_id
    assert llm_audit.flush(0).unacknowledged_operations == 1
    llm_audit.shutdown(0)


def test_wait_is_true_when_it_is_there(recording: Recording, calls: Calls) -> None:
    """`wait` at the default level: true, and the call is there although it could wait an hour."""
    recording(pending_after_seconds=3600)
    call_id = start()
    assert call_id.wait(PATIENCE)
    assert stored(calls, call_id)["status"] == "PENDING"
    assert LLMLogger.complete(call_id).wait(PATIENCE)
    assert stored(calls, call_id)["status"] == "SUCCESS"


@pytest.mark.parametrize("timeout_seconds", [0, None])
def test_wait_is_false_when_time_is_over(
    recording: Recording, timeout_seconds: float | None
) -> None:
    """`wait` says that the call is not there yet; by default it takes the setting's time."""
    recording(mongo_url=NOWHERE, exit_timeout_seconds=0, acknowledged_timeout_seconds=0.05)
    assert start().wait(timeout_seconds) is False
    llm_audit.shutdown(0)


def test_wait_sees_the_call_arrive_after_an_outage(
    server: embedded.Mongod, harmed_calls: Calls
) -> None:
    """`wait` is false while MongoDB is down, and true for the same reference once it is back."""
    server.kill()
    call_id = start()
    assert call_id.wait(0.05) is False
    server.restart()
    assert call_id.wait(PATIENCE) is True
    assert stored(harmed_calls, call_id)


def test_wait_is_false_after_a_shutdown_that_delivered_nothing(recording: Recording) -> None:
    """What could not be delivered before the recorder stopped is not taken for acknowledged."""
    recording(mongo_url=NOWHERE)
    call_id = start()
    assert not llm_audit.shutdown(0)
    assert call_id.wait(0) is False


def test_wait_is_false_where_the_settings_have_changed(recording: Recording) -> None:
    """That calls recorded with other settings arrive does not speak for those before."""
    recording(mongo_url=NOWHERE, exit_timeout_seconds=0)
    call_id = start()
    recording()
    assert start().wait(PATIENCE)
    assert call_id.wait(0) is False


async def test_nothing_is_awaited_where_nothing_is_recorded(
    recording: Recording, calls: Calls
) -> None:
    """With recording switched off, references are awaited and waited for at once."""
    settings = recording(enabled=False, durability="acknowledged", mongo_url=NOWHERE)
    async with LLMLogger.log_call(model="m", messages=MESSAGES) as call_id:
        assert await call_id == call_id
        assert call_id.wait() is True
    assert process.running() is None
    assert not settings.spool_dir.exists()
    assert calls.count_documents({}) == 0

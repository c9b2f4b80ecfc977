"""Reading in more than one event loop, and on both sides of a fork."""

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pymongo
import pytest
from beanie import init_beanie
from waiting import PATIENCE, Calls, Recording, until

import llm_audit
from llm_audit import LLMCall, LLMCallRepository, NotInitializedError, embedded
from llm_audit.settings import get_settings

pytestmark = pytest.mark.usefixtures("one_call")


@pytest.fixture
def one_call(calls: Calls, recording: Recording) -> None:
    """Have one call to find."""
    recording()
    calls.insert_one({"_id": "1", "status": "SUCCESS"})


async def found() -> list[str]:
    by_beanie = [call.id async for call in LLMCall.find(LLMCall.status == "SUCCESS")]
    assert [call.id for call in await LLMCallRepository.list_by_filters()] == by_beanie
    return by_beanie


def in_a_thread(run: Callable[[], Any]) -> list[Any]:
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(run()))
    thread.start()
    thread.join()
    return seen


def test_loops_one_after_the_other() -> None:
    """After one `init()` every further `asyncio.run` finds calls, and leaves no connection open."""

    def connections() -> int:
        with pymongo.MongoClient[Any](get_settings().mongo_url.get_secret_value()) as client:
            return int(client.admin.command("serverStatus")["connections"]["current"])

    asyncio.run(llm_audit.init())
    before = connections()
    for _ in range(10):
        assert asyncio.run(found()) == ["1"]

    until(lambda: connections() < before + 10)  # each loop would have left two or three


def test_loops_side_by_side() -> None:
    """Two threads run a loop each at the same time, with an `init()` each."""
    both = threading.Barrier(2, timeout=PATIENCE)

    async def init_and_find() -> list[str]:
        await llm_audit.init()
        both.wait()
        return await found()

    seen: list[Any] = []
    other = threading.Thread(target=lambda: seen.append(asyncio.run(init_and_find())))
    other.start()
    seen.append(asyncio.run(init_and_find()))
    other.join()

    assert seen == [["1"], ["1"]]


async def test_a_client_that_was_closed_is_replaced() -> None:
    """Who closes the client of `init()` and asks again is answered, as after a second `init()`."""
    database = await llm_audit.init()
    await database.client.close()

    assert await found() == ["1"]
    assert await (await llm_audit.init()).client.close() is None


async def test_a_client_of_another_loop_is_told(mongod: embedded.Mongod, calls: Calls) -> None:
    """A client of the user's own is not replaced: one clear error says what to do."""
    async with pymongo.AsyncMongoClient[Any](mongod.url) as client:
        await init_beanie(client[calls.database.name], document_models=[LLMCall])
        assert await found() == ["1"]

        async def refused() -> str:
            with pytest.raises(NotInitializedError, match="another event loop") as raised:
                await found()
            return str(raised.value)

        (complaint,) = in_a_thread(lambda: asyncio.run(refused()))
        assert "llm_audit.init()" in complaint
        assert await found() == ["1"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_reads_after_a_fork() -> None:
    """A forked child makes a client of its own; the parent's goes on."""

    async def parent() -> list[str]:
        await llm_audit.init()
        assert await found() == ["1"]
        child = os.fork()
        if child == 0:
            answers = in_a_thread(lambda: asyncio.run(found()))
            os._exit(0 if answers == [["1"]] else 1)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        return await found()

    assert asyncio.run(parent()) == ["1"]

"""`await llm_audit.init()` where MongoDB is away, refuses, or is another one than the app's."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pymongo
import pytest
from beanie import init_beanie
from faults.guarded import DATABASE, GuardedMongod
from waiting import PATIENCE, Calls, Recording

import llm_audit
from llm_audit import ConfigurationError, LLMCall, LLMCallRepository, UnavailableError, embedded
from llm_audit import database as binding
from llm_audit.settings import get_settings
from llm_audit.store import connection
from llm_audit.store.answers.plain_errors import plain_errors
from llm_audit.store.indexes import call_indexes

# sockets that PyMongo leaves open: see `collected`
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for a server that is away for a moment only, and look again soon."""
    monkeypatch.setitem(connection.UNLESS_IN_THE_URL, "serverSelectionTimeoutMS", 300)
    monkeypatch.setattr(binding, "FIRST_PAUSE_SECONDS", 0.05)


@pytest.fixture(autouse=True, scope="module")
def collected() -> Iterator[None]:
    """Collect the sockets that PyMongo leaves open when a client is closed while it connects.

    Once for all tests: it takes most of a second where all clients are imported.
    """
    yield
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()


@pytest.fixture
def away(recording: Recording) -> Iterator[embedded.Mongod]:
    """Give a server that is killed, and comes back with `restart`."""
    with embedded.Mongod() as server:
        server.kill()
        recording(create_collection=True, mongo_url=server.url)
        yield server


@pytest.fixture
def guarded(recording: Recording) -> Iterator[GuardedMongod]:
    """Give a server that does not know our password."""
    with GuardedMongod() as server:
        server.create_users()
        url = server.url_with("wrong")
        recording(create_collection=True, mongo_url=url, database=DATABASE)
        yield server


@asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    """Do what an app does around its requests."""
    database = await llm_audit.init()
    yield
    await database.client.close()


async def query() -> None:
    with plain_errors(get_settings()):
        assert await LLMCallRepository.list_by_filters() == []


async def everything_is_built() -> None:
    """Wait until the attempts have ended, with everything there."""
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*binding._builds.values())
    there = await LLMCall.get_pymongo_collection().index_information()
    assert len(there) == len(call_indexes()) + 1


async def test_an_app_starts_before_its_database(
    away: embedded.Mongod, caplog: pytest.LogCaptureFixture
) -> None:
    """It says what is wrong and goes on; once the server is there, so are the indexes."""
    async with lifespan():
        [line] = caplog.messages
        assert f"MongoDB at {away.address} cannot be asked" in line
        with pytest.raises(UnavailableError, match="cannot be asked"):
            await query()
        await asyncio.to_thread(away.restart)
        await everything_is_built()
        await query()
    assert caplog.messages == [line]


async def test_a_wrong_password_is_said_in_one_sentence(
    guarded: GuardedMongod, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start and in a query it names authSource; put right, the app needs no restart."""
    async with lifespan():
        [line] = caplog.messages
        assert "user or password is wrong; if the user is defined in another database" in line
        assert "add ?authSource=admin." in line
        with pytest.raises(UnavailableError, match=r"add \?authSource=admin\."):
            await query()
        guarded.set_password("wrong")
        await everything_is_built()
        await query()
    assert caplog.messages == [line]


@pytest.mark.parametrize("server", ["away", "guarded"])
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "not closed"])
def test_an_app_may_end_before_its_database_is_there(
    server: str, closed: bool, request: pytest.FixtureRequest
) -> None:
    """Nothing is left of the attempts, whether the app closes its client or the loop does."""

    async def app() -> None:
        database = await llm_audit.init()
        with pytest.raises(UnavailableError):
            await query()
        if closed:
            await database.client.close()

    request.getfixturevalue(server)
    asyncio.run(app())

    assert binding._builds == {}


async def test_init_twice_is_init_once(
    away: embedded.Mongod, caplog: pytest.LogCaptureFixture
) -> None:
    """A later one, or one at the same time, finds the client and the attempts of the first."""
    databases = await asyncio.gather(*(llm_audit.init() for _ in range(3)))
    databases.append(await llm_audit.init())
    assert {id(database.client) for database in databases} == {id(databases[0].client)}
    assert LLMCall.get_settings().pymongo_db is databases[-1]
    assert len(binding._builds) == 1
    await asyncio.to_thread(away.restart)
    await everything_is_built()
    await databases[0].client.close()

    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"mongo_url": "mongodb://127.0.0.1:port"}, "mongo_url"),
        ({"database": "a b"}, "database"),
        ({"collection": "a..b"}, "collection"),
    ],
)
async def test_what_cannot_be_is_refused(
    settings: dict[str, Any], named: str, recording: Recording
) -> None:
    """A setting that no server would make right is one clear error."""

    async def set_up() -> None:
        recording(create_collection=True, strict=False, **settings)
        await llm_audit.init()

    with pytest.raises(ConfigurationError, match=named):
        await set_up()


@pytest.mark.usefixtures("recording")
async def test_what_is_read_is_what_is_recorded(
    calls: Calls, mongod: embedded.Mongod, caplog: pytest.LogCaptureFixture
) -> None:
    """An init_beanie of the user's own that binds to another database is said once."""
    async with pymongo.AsyncMongoClient[Any](mongod.url) as client:
        for name in (calls.database.name, "app", "app"):
            await init_beanie(client[name], document_models=[LLMCall], skip_indexes=True)

    [line] = caplog.messages
    recorded = f"LLMCall reads app.llm_calls, but calls are recorded into {calls.full_name}: "
    assert line.startswith(recorded)
    assert "LLM_AUDIT_DATABASE" in line

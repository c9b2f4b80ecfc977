"""What `init()` does about indexes, and what is said about them, on a real server."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from faults.guarded import DATABASE, GuardedMongod
from made_up_calls import Call, store
from pymongo import IndexModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure
from waiting import PATIENCE, Recording, until

import llm_audit
from llm_audit import LLMLogger, embedded
from llm_audit import database as binding
from llm_audit.diagnosis.indexes import IndexReport, examine_indexes
from llm_audit.queries.publishing import create_views
from llm_audit.store.index_states import IndexState, compare
from llm_audit.store.indexes import (
    VIEWS_INDEX,
    call_indexes,
    process_indexes,
    rejected_indexes,
    verdict_indexes,
)

WITH_EXPIRY = {"expires_at": {"$exists": True}}
EXISTS = {"trace_id": {"$exists": True}}
DECLARED = next(i for i in call_indexes() if i.document["name"] == "trace_id_newest")
EXPIRY = next(i for i in call_indexes() if i.document["name"] == "expiry")
EVERY_WORD = next(i for i in call_indexes(text=True) if "text" in i.document["key"].values())
KEYS: list[tuple[str, int | str]] = [("trace_id", 1), ("_id", 1)]


def index(keys: list[tuple[str, int | str]] = KEYS, **options: Any) -> IndexModel:
    return IndexModel(keys, **options)


@pytest.mark.parametrize(
    ("existing", "declared", "state"),
    [
        (index(name="other"), DECLARED, "missing"),
        (DECLARED, DECLARED, "there"),
        (index(name="trace_id_newest"), DECLARED, "conflicting"),
        (
            index(name="trace_id_newest", partialFilterExpression=EXISTS, unique=True),
            DECLARED,
            "conflicting",
        ),
        (
            index([("trace_id", 1)], name="trace_id_newest", partialFilterExpression=EXISTS),
            DECLARED,
            "conflicting",
        ),
        (index(name="other", partialFilterExpression=EXISTS), DECLARED, "conflicting"),
        (
            index(name="other", partialFilterExpression=EXISTS, unique=True),
            DECLARED,
            "missing",
        ),
        (
            index([*reversed(KEYS)], name="other", partialFilterExpression=EXISTS),
            DECLARED,
            "missing",
        ),
        (index([("expires_at", 1)], name="expiry"), EXPIRY, "conflicting"),
        (EVERY_WORD, EVERY_WORD, "there"),
        (index([("messages", "text")], name="theirs"), EVERY_WORD, "conflicting"),
        (index([("messages", "text")], name="every_word"), EVERY_WORD, "conflicting"),
        (index([("expires_at", 1)], name="theirs"), EXPIRY, "missing"),
        (
            index(
                [("expires_at", 1)],
                name="theirs",
                partialFilterExpression=WITH_EXPIRY,
            ),
            EXPIRY,
            "conflicting",
        ),
        (
            index(
                [("expires_at", 1)],
                name="expiry",
                expireAfterSeconds=0,
                sparse=False,
                partialFilterExpression=WITH_EXPIRY,
            ),
            EXPIRY,
            "there",
        ),
    ],
)
def test_the_server_judges_alike(
    existing: IndexModel, declared: IndexModel, state: str, database: Database[Call]
) -> None:
    """Missing is what the server creates, conflicting what it refuses, there what it has."""
    calls = database["llm_calls"]
    calls.create_indexes([existing])
    found, _ = compare(declared, calls.list_indexes())
    try:
        calls.create_indexes([declared])
        created = len(calls.index_information()) == 3
        verdict = IndexState.MISSING if created else IndexState.THERE
    except OperationFailure as error:
        verdict = IndexState.CONFLICTING if error.code in {85, 86} else None

    assert found == verdict == state


async def initialise() -> None:
    """Run `init()` and end its connection."""
    database = await llm_audit.init()
    await database.client.close()


@pytest.fixture
def creating(recording: Recording) -> None:
    """Let `init()` create what is missing."""
    recording(create_collection=True)


async def test_every_word_is_indexed_if_a_setting_asks_for_it(
    recording: Recording, calls: Collection[Call]
) -> None:
    """`init()` and what ships the first call create that index too; otherwise there is none."""
    recording(create_collection=True, text_index=True)
    await LLMLogger.start(call_type="CHAT", messages=[])
    assert llm_audit.flush(PATIENCE)
    assert "every_word" in calls.index_information()
    calls.drop_index("every_word")
    assert llm_audit.doctor().missing_indexes == ["llm_calls.every_word"]
    await initialise()

    assert "every_word" in calls.index_information()
    assert llm_audit.doctor().missing_indexes == []


@pytest.mark.usefixtures("creating")
async def test_init_creates_what_is_missing_beside_a_conflict(
    calls: Collection[Call], caplog: pytest.LogCaptureFixture
) -> None:
    """A conflicting index stays as it is, the others are created, and one line says what to do."""
    calls.create_index("trace_id", name="trace_id_newest")
    await initialise()
    await initialise()
    created = calls.index_information()

    assert created.keys() == {"_id_", *(i.document["name"] for i in call_indexes())}
    assert created["trace_id_newest"]["key"] == [("trace_id", 1)]
    (line,) = caplog.messages
    assert "The index trace_id_newest of llm_calls was not created" in line
    assert 'db.llm_calls.dropIndex("trace_id_newest")' in line
    diagnosis = llm_audit.doctor()
    assert diagnosis.missing_indexes == []
    assert diagnosis.conflicting_indexes == ["llm_calls.trace_id_newest"]
    assert any("llm_calls.trace_id_newest" in problem for problem in diagnosis.problems)


@pytest.mark.usefixtures("creating")
async def test_the_mend_that_the_line_names_works(
    calls: Collection[Call], caplog: pytest.LogCaptureFixture
) -> None:
    """The existing index is dropped as the line says, and `init()` creates ours."""
    calls.create_index([("expires_at", 1)], name="theirs", partialFilterExpression=WITH_EXPIRY)
    await initialise()
    (line,) = caplog.messages
    assert 'db.llm_calls.dropIndex("theirs")' in line

    calls.drop_index("theirs")
    await initialise()

    assert calls.index_information()["expiry"]["expireAfterSeconds"] == 0
    assert len(caplog.messages) == 1


class SlowMongod(embedded.Mongod):
    """A mongod whose index builds can be held up."""

    def hold_builds(self, *, held: bool) -> None:
        """Hold up the builds of indexes on collections with documents, or let them go on."""
        mode = "alwaysOn" if held else "off"
        with pymongo.MongoClient[Call](self.url) as client:
            client.admin.command("configureFailPoint", "hangAfterStartingIndexBuild", mode=mode)

    def _command(self, data: Path) -> list[str]:
        return [*super()._command(data), "--setParameter", "enableTestCommands=1"]


@pytest.fixture
def slow(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[SlowMongod, Collection[Call]]]:
    """Give a server that holds up builds, and its collection with one call and no index."""
    monkeypatch.setattr(binding, "START_PATIENCE_SECONDS", 0.1)
    with SlowMongod() as server, pymongo.MongoClient[Call](server.url) as client:
        settings = recording(create_collection=True, mongo_url=server.url)
        calls = client[settings.database][settings.collection]
        calls.insert_one({"_id": "1", "status": "SUCCESS"})
        server.hold_builds(held=True)
        yield server, calls
        server.hold_builds(held=False)


async def test_init_does_not_wait_for_a_long_build(
    slow: tuple[SlowMongod, Collection[Call]], caplog: pytest.LogCaptureFixture
) -> None:
    """It says that indexes are being built and returns; others write, and the build ends."""
    server, calls = slow
    caplog.set_level(logging.INFO, "llm_audit")
    database = await llm_audit.init()
    (line,) = caplog.messages
    assert f"Indexes in the database {database.name} are still being built" in line
    await asyncio.to_thread(calls.insert_one, {"_id": "2", "status": "SUCCESS"})
    assert {r.building for r in examine_indexes(calls.database) if r.uses is not None}

    server.hold_builds(held=False)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*binding._builds.values())
    await database.client.close()

    assert len(calls.index_information()) == len(call_indexes()) + 1
    assert caplog.messages[1:] == [f"The indexes in the database {database.name} are built."]


def test_a_build_outlives_who_asked_for_it(
    slow: tuple[SlowMongod, Collection[Call]], caplog: pytest.LogCaptureFixture
) -> None:
    """If the program ends meanwhile, as a script does, the server builds on."""
    server, calls = slow
    asyncio.run(initialise())
    assert binding._builds == {}
    server.hold_builds(held=False)

    def built() -> bool:
        rows = examine_indexes(calls.database)
        return not any(row.building for row in rows if row.collection == calls.name)

    until(built)
    assert len(calls.index_information()) == len(call_indexes()) + 1
    assert len(caplog.messages) == 1


def reports(database: Database[Call]) -> dict[tuple[str, str], IndexReport]:
    rows = examine_indexes(database)
    keyed = {(row.collection, row.name): row for row in rows}
    assert len(keyed) == len(rows)
    return keyed


def test_each_index_is_reported(database: Database[Call]) -> None:
    """State, size and use of every index are told: of ours, of others, and of those not there."""
    store(database, indexed=True)
    calls = database["llm_calls"]
    calls.drop_index("model_newest")
    calls.drop_index("expiry")
    calls.create_index(
        [("expires_at", 1)],
        name="theirs",
        partialFilterExpression=WITH_EXPIRY,
    )
    calls.create_index([("service", 1), ("pid", -1)])
    before = reports(database)
    for _ in range(3):
        list(calls.find({"trace_id": "trace 3"}))
    after = reports(database)

    ours = {("llm_calls", index.document["name"]) for index in call_indexes()}
    beside = {("llm_audit_processes", index.document["name"]) for index in process_indexes()}
    beside |= {("llm_audit_verdicts", index.document["name"]) for index in verdict_indexes()}
    beside |= {("llm_audit_rejected", index.document["name"]) for index in rejected_indexes()}
    others = {("llm_calls", "_id_"), ("llm_calls", "service_1_pid_-1")}
    assert after.keys() == ours | beside | others
    unusual = {name: row.state for name, row in after.items() if row.state != "there"}
    assert unusual == dict.fromkeys(beside, "missing") | {
        ("llm_calls", "model_newest"): "missing",
        ("llm_calls", "expiry"): "conflicting",
        ("llm_calls", "service_1_pid_-1"): "extra",
    }
    assert after["llm_calls", "expiry"].conflicts_with == "theirs"
    extra = after["llm_calls", "service_1_pid_-1"]
    assert list(extra.keys.items()) == [("service", 1), ("pid", -1)]
    for row in after.values():
        there = row.state != "missing"
        assert (
            (row.size_bytes or 0) > 0 if there else row.size_bytes is None
        )  # it changes at checkpoints
        assert (row.uses is not None) == (row.uses_since is not None) == there
    used = ("llm_calls", "trace_id_newest")
    assert (after[used].uses or 0) - (before[used].uses or 0) == 3


def test_the_index_of_the_views_is_reported_with_them(database: Database[Call]) -> None:
    """Without views nobody misses their index; with them it is one of ours."""
    store(database, indexed=True)
    assert ("llm_calls", VIEWS_INDEX) not in reports(database)
    create_views(database, "llm_calls")
    assert reports(database)["llm_calls", VIEWS_INDEX].state == "there"


def test_without_the_right_to_statistics() -> None:
    """A user who may only read and write learns the states and sizes, and not the uses."""
    with GuardedMongod() as server:
        server.create_users()
        server.as_root(lambda client: store(client[DATABASE], indexed=True))
        with pymongo.MongoClient[Call](server.url) as client:
            row = reports(client[DATABASE])["llm_calls", "trace_id_newest"]

    assert (row.state, row.uses, row.uses_since) == ("there", None, None)
    assert row.size_bytes

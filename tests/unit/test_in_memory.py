"""The database in memory: what Beanie and PyMongo Async do on it, and what it refuses."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
import pytest_asyncio
from beanie import BulkWriter, Document, Indexed, init_beanie
from beanie.operators import In, Inc, Set
from pydantic import BaseModel
from pymongo import DESCENDING, AsyncMongoClient, InsertOne, UpdateOne
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

pytest.importorskip("mongomock_ng")

from llm_audit import LLMCall, LLMCallRepository, LLMCallStatusEnum
from llm_audit.encoding.moved import reference_to
from llm_audit.testing import NotInMemoryError, in_memory_client

Database = AsyncDatabase[dict[str, Any]]


class Review(Document):
    """A document of the user's own."""

    text: Annotated[str, Indexed(unique=True)]
    stars: int = 0

    class Settings:
        """Where Beanie finds the reviews."""

        name = "reviews"


class Text(str):
    """As Beanie's fields are: a str that is equal to nothing, for they make a condition of it."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        """Be equal to nothing."""
        return False

    __hash__ = str.__hash__


class ModelCost(BaseModel):
    """A row of an aggregation."""

    model: str | None
    cost: float


CALLS = [
    {"_id": str(n), "status": status, "model": model, "tags": ["rag"], "estimated_cost": 0.5}
    for n, (status, model) in enumerate(
        [("SUCCESS", "gpt-4"), ("ERROR", "gpt-4"), ("SUCCESS", "claude")]
    )
]


@pytest_asyncio.fixture
async def database() -> AsyncIterator[Database]:
    """Bind LLMCall and Review to a database in memory that holds three calls."""
    client = in_memory_client(tz_aware=True)
    await init_beanie(database=client["app"], document_models=[LLMCall, Review])
    await client["app"]["llm_calls"].insert_many(CALLS)
    yield client["app"]
    await client.close()


@pytest.mark.usefixtures("database")
async def test_calls_are_found_with_beanie() -> None:
    """Expressions, enums, sorting, limits, projections and sums work on LLMCall."""
    gpt4 = LLMCall.find(LLMCall.model == "gpt-4")
    assert [call.id for call in await gpt4.sort(-LLMCall.id).to_list()] == ["1", "0"]
    assert await LLMCall.find(LLMCall.status == LLMCallStatusEnum.ERROR).count() == 1
    assert await LLMCall.find(In(LLMCall.model, ["claude"])).exists()
    assert [call.id async for call in LLMCall.find({"tags": "rag"}).skip(1).limit(1)] == ["1"]
    assert await gpt4.sum("estimated_cost") == 1.0
    found = await LLMCall.get("2")
    assert found
    assert found.status is LLMCallStatusEnum.SUCCESS


@pytest.mark.usefixtures("database")
async def test_calls_are_aggregated_with_beanie() -> None:
    """An aggregation fills a projection model; no documents make no group."""
    costs = [
        {"$group": {"_id": "$model", "cost": {"$sum": "$estimated_cost"}}},
        {"$set": {"model": "$_id"}},
        {"$sort": {"cost": DESCENDING}},
    ]
    rows = await LLMCall.aggregate(costs, projection_model=ModelCost).to_list()
    assert rows == [ModelCost(model="gpt-4", cost=1.0), ModelCost(model="claude", cost=0.5)]
    assert await LLMCall.find(LLMCall.model == "none").sum("estimated_cost") is None
    counted = [{"$match": {"model": "none"}}, {"$count": "calls"}]
    assert await LLMCall.aggregate(counted).to_list() == []
    assert await LLMCall.aggregate(counted[1:]).to_list() == [{"calls": 3}]


@pytest.mark.parametrize("group_id", [None, {"$literal": None}, "$model"])
async def test_no_documents_make_no_group(database: Database, group_id: Any) -> None:
    """As on a server, and unlike in mongomock-ng itself, also within another stage."""
    stages = [{"$match": {"model": "none"}}, {"$group": {"_id": group_id, "n": {"$sum": 1}}}]
    calls = database["llm_calls"]
    assert await (await calls.aggregate(stages)).to_list() == []
    assert await (await calls.aggregate([{"$facet": {"x": stages}}])).to_list() == [{"x": []}]


@pytest.mark.usefixtures("database")
async def test_the_repository_answers() -> None:
    """Whoever reads calls through LLMCallRepository is tested without a server."""
    (failed,) = await LLMCallRepository.list_by_filters(status="ERROR")
    assert failed.id == "1"
    assert await LLMCallRepository.count_by_filters(tags=["rag"]) == 3
    (gpt4, _) = await LLMCallRepository.cost_summary("model")
    assert (gpt4.group, gpt4.calls, gpt4.estimated_cost) == ("gpt-4", 2, 1.0)


@pytest.mark.usefixtures("database")
async def test_documents_of_the_user_are_written() -> None:
    """Insert, update, upsert, replace, delete and bulk writes of other documents."""
    await Review.insert_many([Review(text="a", stars=1), Review(text="b", stars=2)])
    with pytest.raises(DuplicateKeyError):
        await Review(text="a").insert()
    await Review.find_one(Review.text == "a").update(Set({Review.text: "c"}), Inc({"stars": 4}))
    await Review.find_one(Review.text == "d").upsert(
        Set({"stars": 9}), on_insert=Review(text="d", stars=3)
    )
    async with BulkWriter() as bulk:
        await Review.insert_one(Review(text="e"), bulk_writer=bulk)
    changed = await Review.find_one(Review.text == "b")
    assert changed
    changed.stars = 7
    await changed.save()
    await Review.find(Review.text == "e").delete()

    reviews = await Review.find_all().sort("text").to_list()
    assert [(review.text, review.stars) for review in reviews] == [("b", 7), ("c", 5), ("d", 3)]


async def test_pymongo_async_works_on_it(database: Database) -> None:
    """Collections, cursors and indexes have the methods and coroutines of PyMongo's."""
    things = database["things"]
    await things.bulk_write(
        [InsertOne({"_id": 1}), UpdateOne({"_id": 2}, {"$set": {"s": Text("text")}}, upsert=True)],
        ordered=False,
    )
    await things.create_index("s", name="by_s")
    assert await things.find_one({"s": "text"}) == {"_id": 2, "s": "text"}
    assert await things.find().sort("_id", DESCENDING).to_list(1) == [{"_id": 2, "s": "text"}]
    assert await things.distinct("_id") == [1, 2]
    assert [index["name"] async for index in await things.list_indexes()] == ["_id_", "by_s"]
    assert await database.list_collection_names(filter={"name": "things"}) == ["things"]
    assert await database.things.count_documents({}, hint="by_s", comment="counted") == 2
    assert isinstance(database, AsyncDatabase)
    assert isinstance(database.client, AsyncMongoClient)


async def test_a_text_may_be_what_stands_for_nothing(database: Database) -> None:
    """How the imitation shows a missing field is no reason to refuse a call that says so."""
    said = {"_id": "it", "status": "SUCCESS", "trace_id": "t", "input": "<NOTHING> to declare"}
    await database["llm_calls"].insert_one(said)

    (call,) = await LLMCallRepository.get_calls_by_trace("t")
    assert call.input == said["input"]


async def test_each_client_is_a_server_of_its_own(database: Database) -> None:
    """Two tests with a client each do not see each other's documents."""
    assert await database["llm_calls"].count_documents({}) == 3
    assert await in_memory_client()["app"]["llm_calls"].count_documents({}) == 0


@pytest.mark.parametrize("tz_aware", [True, False])
async def test_moments_have_a_zone_where_asked(*, tz_aware: bool) -> None:
    """As with PyMongo, datetimes come back in UTC, with their zone or without."""
    things = in_memory_client(tz_aware=tz_aware)["app"]["things"]
    await things.update_one({"_id": 1}, {"$currentDate": {"at": True}}, upsert=True)
    found = await things.find_one()
    assert found
    assert (found["at"].tzinfo is not None) is tz_aware


async def iterated(cursor: AsyncCursor[dict[str, Any]]) -> None:
    async for _ in cursor:
        pass


async def with_media(database: Database) -> object:
    moved = {"media": ["0" * 64], "input": reference_to("0" * 64, 5, "str", "begin")}
    await database["llm_calls"].update_one({"_id": "1"}, {"$set": moved})
    return await LLMCallRepository.get("1", with_media=True)


SEARCH = {"$text": {"$search": "n"}}
REFUSED: dict[str, Callable[[Database], Any]] = {
    "an expression": lambda database: database["llm_calls"].aggregate(
        [{"$set": {"model": {"$substrCP": ["$model", 0, 3]}}}]
    ),
    "a stage": lambda database: database["llm_calls"].aggregate([{"$densify": {"field": "n"}}]),
    "an option": lambda database: database["llm_calls"].aggregate([], let={"n": 1}),
    "an operator": lambda database: database["llm_calls"].find(SEARCH).to_list(),
    "iterating": lambda database: iterated(database["llm_calls"].find(SEARCH)),
    "GridFS": with_media,
    "a session": lambda database: database.client.start_session(),
    "a command": lambda database: database.command("serverStatus"),
    "changes": lambda database: database["llm_calls"].watch(),
    "a reduction": lambda database: database["llm_calls"].aggregate(
        [{"$set": {"n": {"$reduce": {"input": [1], "initialValue": 0, "in": "$$this"}}}}]
    ),
    "an answer elsewhere": lambda database: database["llm_calls"].aggregate([{"$out": "copy"}]),
    "a missing field": lambda database: database["llm_calls"].aggregate(
        [{"$set": {"model": {"$concat": ["$missing", "!"]}}}]
    ),
    "a count of nothing": lambda database: database["llm_calls"].aggregate(
        [{"$facet": {"none": [{"$match": {"model": "none"}}, {"$count": "calls"}]}}]
    ),
    "a collation": lambda database: (
        database["llm_calls"].find({"model": "GPT-4"}, collation={"locale": "en"}).to_list()
    ),
    "a view": lambda database: database.create_collection("v", viewOn="llm_calls", pipeline=[]),
    "a sort of its own": lambda database: database["llm_calls"].find().sort({"_id": -1}).to_list(),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_it_cannot_do_is_refused(database: Database, what: str) -> None:
    """One clear error names the fixture that can, instead of a wrong result."""
    with pytest.raises(NotInMemoryError, match=r"cannot do (?s:.*)llm_audit_mongod"):
        await REFUSED[what](database)

"""The two roles, on a server that asks who is there: what each may do, and what by no detour."""

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import gridfs
import pymongo
import pytest
from dead_processes import left_behind
from patience import PATIENCE
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError
from waiting import Call, Calls, Recording, until

import llm_audit
from llm_audit import LLMLogger, UsageError, embedded
from llm_audit.queries.publishing import analyst_role, create_views, recorder_role
from llm_audit.queries.views import VIEWS
from llm_audit.settings import get_settings
from llm_audit.settings.names import CHUNKS, FILES, PROCESSES, REJECTED, VERDICTS
from llm_audit.store.ensure import ensure
from llm_audit.store.indexes import declared_indexes, media_indexes

SECRET = "BODYSECRET"
PICTURE = "data:image/png;base64," + base64.b64encode(SECRET.encode() * 40_000).decode()
OURS = (PROCESSES, VERDICTS, REJECTED, FILES, CHUNKS)
UNAUTHORIZED = 13

AsUser = Callable[[dict[str, Any]], Database[Call]]


@pytest.fixture
def as_user(database: Database[Call], mongod: embedded.Mongod) -> Iterator[AsUser]:
    """Give a function that makes a role and a user who has it, and returns what that user sees."""
    clients = []

    def login(role: dict[str, Any]) -> Database[Call]:
        name = role["createRole"]
        database.command(role)
        database.command("createUser", name, pwd="right", roles=[name])
        url = f"mongodb://{name}:right@{mongod.address}/?authSource={database.name}"
        clients.append(pymongo.MongoClient[Call](url, tz_aware=True))
        return clients[-1][database.name]

    yield login
    for client in clients:
        client.close()
    database.command("dropAllUsersFromDatabase")
    database.command("dropAllRolesFromDatabase")


def make_ready(database: Database[Call]) -> None:
    """Do what an administrator does before."""
    for name, indexes in {**declared_indexes(get_settings()), **media_indexes()}.items():
        ensure(database, name, indexes)
    create_views(database, get_settings().collection)


def url_of(user: Database[Call], mongod: embedded.Mongod) -> str:
    return f"mongodb://llm_audit_recorder:right@{mongod.address}/?authSource={user.name}"


def record_a_secret() -> str:
    call_id = LLMLogger.start(
        model="gpt-4o",
        company_id="acme",
        user_id="u1",
        session_id="s1",
        messages=[{"role": "user", "content": [{"type": "text", "text": SECRET}, PICTURE]}],
        metadata={SECRET: 1},
        tools=[{"type": "function", "function": {"name": SECRET}}],
    )
    LLMLogger.complete(call_id, response_message={"role": "assistant", "content": SECRET})
    LLMLogger.fail(LLMLogger.start(model="m", messages=[SECRET]), ValueError(SECRET))
    return str(call_id)


def test_a_recorder_needs_no_more_than_its_role(
    recording: Recording,
    calls: Calls,
    as_user: AsUser,
    mongod: embedded.Mongod,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It records, ships media, shows life, adopts, closes, and has kept what is refused."""
    make_ready(calls.database)
    user = as_user(recorder_role(calls.database.name, calls.name))
    recording(
        mongo_url=url_of(user, mongod),
        create_collection=True,
        retention_days=30,
        heartbeat_seconds=0.4,
        lease_seconds=1.2,
        recovery_interval_seconds=0.2,
    )
    calls.database.command("collMod", calls.name, validator={"messages.bad": {"$exists": False}})
    calls.insert_one({"_id": "open", "process_nonce": "dead", "status": "PENDING"})
    calls.database[PROCESSES].insert_one(
        {"_id": "dead", "collection": calls.name, "state": "alive", "beat": 1, "lease_seconds": 0.1}
        | {"beat_at": datetime(2026, 1, 1, tzinfo=UTC)}
    )

    call_id = record_a_secret()
    LLMLogger.score(call_id, name="helpful", value=1.0)
    LLMLogger.start(model="m", messages=[{"bad": 1}])
    assert llm_audit.flush(PATIENCE)
    with left_behind():
        orphan = LLMLogger.start(model="m", messages=[])
    assert llm_audit.recover(PATIENCE)
    assert llm_audit.flush(PATIENCE)

    assert calls.count_documents({"_id": call_id, "status": "SUCCESS", "scores.name": "helpful"})
    assert calls.count_documents({"_id": orphan, "status": {"$ne": "PENDING"}})
    until(lambda: calls.count_documents({"_id": "open", "status": "ABANDONED"}))
    assert calls.database[FILES].count_documents({}) == 1
    assert calls.database[REJECTED].count_documents({}) == 1
    assert calls.database[PROCESSES].count_documents({"recorded": {"$gt": 0}}) == 1
    lines = [line for line in caplog.messages if "refused a record" not in line]
    assert lines == []


def test_a_recorder_can_do_nothing_else(
    recording: Recording, calls: Calls, as_user: AsUser
) -> None:
    """It removes, drops, renames and makes nothing, and reads no view."""
    recording()
    make_ready(calls.database)
    calls.insert_one({"_id": "call"})
    user = as_user(recorder_role(calls.database.name, calls.name))
    theirs = user.client[calls.database.name]
    tries: list[Callable[[], Any]] = [
        *(
            lambda name=name, what=what: getattr(theirs[name], what)({})
            for name in (calls.name, *OURS)
            for what in ("delete_one", "delete_many", "find_one_and_delete")
        ),
        *(lambda name=name: theirs[name].drop() for name in (calls.name, *OURS)),
        *(lambda name=name: list(theirs[name].find()) for name in (*VIEWS, "others")),
        lambda: theirs["others"].insert_one({}),
        lambda: theirs[calls.name].rename("others"),
        lambda: theirs[calls.name].create_index("x"),
        lambda: theirs.command("dropIndexes", calls.name, index="*"),
        lambda: theirs.command("collMod", calls.name, validator={}),
        lambda: theirs.command("create", "v_mine", viewOn=calls.name, pipeline=[]),
        lambda: list(theirs[calls.name].aggregate([{"$out": "stolen"}])),
        lambda: list(theirs[calls.name].aggregate([{"$merge": "stolen"}])),
        lambda: theirs.command("createUser", "me", pwd="x", roles=["readWrite"]),
        lambda: user.client.drop_database(theirs.name),
        lambda: list(theirs.list_collections()),
    ]
    for number, attempt in enumerate(tries):
        with pytest.raises(OperationFailure) as refused:
            attempt()
        assert refused.value.code == UNAUTHORIZED, number
    assert calls.count_documents({}) == 1


def test_an_analyst_reads_no_body_by_any_detour(
    recording: Recording, calls: Calls, as_user: AsUser
) -> None:
    """Of forty ways none leads to what was said, to media, or to the processes."""
    recording(text_index=True)
    record_a_secret()
    assert llm_audit.flush(PATIENCE)
    make_ready(calls.database)
    user = as_user(analyst_role(calls.database.name))
    v, admin = user["v_calls"], user.client.admin
    assert v.count_documents({}) == 2

    def looked_up(name: str) -> dict[str, Any]:
        return {"$lookup": {"from": name, "pipeline": [], "as": "x"}}

    def walked(to: str, start: str, name: str = "v_calls") -> dict[str, Any]:
        walk = {"from": name, "startWith": start, "connectFromField": "_id", "as": "x"}
        return {"$graphLookup": {**walk, "connectToField": to}}

    stages: list[list[dict[str, Any]]] = [
        *([looked_up(name)] for name in (calls.name, *OURS, "system.views", "system.js")),
        [{"$lookup": {"from": "v_calls", "pipeline": [looked_up(calls.name)], "as": "x"}}],
        *([{"$unionWith": name}] for name in (calls.name, CHUNKS)),
        [{"$facet": {"a": [looked_up(calls.name)]}}],
        [walked("_id", "$_id", calls.name)],
        [walked("messages.role", "user")],
        [{"$match": {f"metadata.{SECRET}": 1}}],
        [{"$project": {"r": "$$ROOT"}}],
        [{"$set": {"m": "$messages", "r": "$response_message", "e": "$error_message"}}],
        [{"$project": {"x": {"$toInt": "$error_message"}}}],
        [
            {
                "$set": {
                    "x": {
                        "$function": {"body": "function(){return this}", "args": [], "lang": "js"}
                    }
                }
            }
        ],
        [{"$out": "stolen"}],
        [{"$merge": "stolen"}],
        *([{name: {}}] for name in ("$indexStats", "$planCacheStats", "$listSessions")),
        [{"$collStats": {"count": {}}}],
        [{"$sample": {"size": 9}}],
    ]
    tries: dict[str, Callable[[], Any]] = {
        **{str(each): lambda each=each: list(v.aggregate(each)) for each in stages},
        **{
            f"find {name}": lambda name=name: list(user[name].find())
            for name in (calls.name, *OURS, "system.views", "system.profile", "system.js", *VIEWS)
        },
        "on a hidden field": lambda: list(v.find({"messages.content": {"$regex": SECRET}})),
        "$expr": lambda: list(v.find({"$expr": {"$gt": [{"$size": "$messages"}, 0]}})),
        "$where": lambda: list(v.find({"$where": "this.messages"})),
        "$text": lambda: list(v.find({"$text": {"$search": SECRET}})),
        "projected": lambda: list(v.find({}, {"messages": 1, "error_message": 1, "metadata": 1})),
        "sorted": lambda: list(v.find().sort("error_message", 1)),
        "distinct": lambda: v.distinct("error_message"),
        "hint": lambda: list(v.find(hint="status_newest")),
        "explain": lambda: user.command(
            {"explain": {"find": "v_calls"}}, verbosity="executionStats"
        ),
        "explain calls": lambda: user.command({"explain": {"find": calls.name}}),
        "currentOp": lambda: admin.command("currentOp"),
        "$currentOp": lambda: list(admin.aggregate([{"$currentOp": {"allUsers": True}}])),
        "getLog": lambda: admin.command("getLog", "global"),
        "collMod": lambda: user.command("collMod", "v_calls", viewOn=calls.name, pipeline=[]),
        "create": lambda: user.command("create", "v_mine", viewOn=calls.name, pipeline=[]),
        "change stream": lambda: next(v.watch(max_await_time_ms=100)),
        "dbHash": lambda: user.command("dbHash"),
        "validate": lambda: user.command("validate", calls.name),
        "listIndexes": lambda: list(user[calls.name].list_indexes()),
        "mapReduce": lambda: user.command(
            {"mapReduce": "v_calls", "map": "function(){emit(1,this)}"}
            | {"reduce": "function(k,v){return 1}", "out": {"inline": 1}}
        ),
        "listCollections": lambda: list(user.list_collections()),
        "GridFS": lambda: [file.read() for file in gridfs.GridFSBucket(user).find({})],
        "insert": lambda: v.insert_one({}),
        "usersInfo": lambda: user.command("usersInfo", 1, showCredentials=True),
    }
    assert len(tries) >= 40
    answered = []
    for way, attempt in tries.items():
        try:
            answer = str(attempt())
            answered.append(way)
        except PyMongoError as refused:
            answer = f"{refused} {getattr(refused, 'details', None)}"
        seen = [text for text in (SECRET, PICTURE[30:90]) if text in answer.replace(way, "")]
        # the name of a tool that a model was offered is no label; what is asked for is echoed
        assert not seen or "errmsg" in answer, way
    assert f"find {calls.name}" not in answered
    assert not {f"find {name}" for name in OURS} & set(answered)


def test_a_role_for_every_database_is_refused() -> None:
    """An empty name means every one to MongoDB."""
    for names in (("", "c"), ("d", ""), ("d", "c", " ")):
        with pytest.raises(UsageError, match="empty name"):
            recorder_role(*names)
    with pytest.raises(UsageError, match="empty name"):
        analyst_role("")

"""Views come, change and go, and nothing else does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from faults.guarded import DATABASE, GuardedMongod
from made_up_calls import CALLS, Call, store
from pymongo.database import Database
from pymongo.errors import OperationFailure

from llm_audit import UsageError
from llm_audit.embedded import HOST
from llm_audit.queries.publishing import analyst_role, create_views, drop_views
from llm_audit.queries.views import VIEWS

UNAUTHORIZED = 13


@pytest.fixture(scope="module")
def analysed() -> Iterator[Database[Call]]:
    """Give the database of a guarded mongod as an analyst sees it."""

    def publish(client: pymongo.MongoClient[Call]) -> None:
        database = client[DATABASE]
        store(database)
        create_views(database, "llm_calls")
        database.command(analyst_role(DATABASE))
        role = {"role": "llm_audit_analyst", "db": DATABASE}
        database.command("createUser", "analyst", pwd="right", roles=[role])

    with GuardedMongod() as server:
        server.create_users()
        server.as_root(publish)
        url = f"mongodb://analyst:right@{HOST}:{server.port}/?authSource={DATABASE}"
        with pymongo.MongoClient[Call](url, tz_aware=True) as client:
            yield client[DATABASE]


def test_creating_again_changes_nothing(database: Database[Call]) -> None:
    """Views that are as they should be are left alone."""
    store(database)

    assert create_views(database, "llm_calls") == dict.fromkeys(VIEWS, "created")
    assert create_views(database, "llm_calls") == dict.fromkeys(VIEWS, "unchanged")


def test_a_view_that_differs_is_replaced(database: Database[Call]) -> None:
    """A view of an older version is made what it should be."""
    store(database)
    database.create_collection("v_calls", viewOn="llm_calls", pipeline=[{"$limit": 1}])

    changes = create_views(database, "llm_calls")

    assert changes == dict.fromkeys(VIEWS, "created") | {"v_calls": "replaced"}
    assert database["v_calls"].count_documents({}) == len(CALLS)


def test_a_view_of_another_collection_is_left_alone(database: Database[Call]) -> None:
    """Its definition is nowhere else: it is named, and nothing else is changed."""
    store(database)
    database.create_collection("v_traces", viewOn="others", pipeline=VIEWS["v_traces"]())

    with pytest.raises(UsageError, match=r"v_traces .* is a view of others, not of llm_calls"):
        create_views(database, "llm_calls")

    views = database.list_collections(filter={"type": "view"})
    assert [(view["name"], view["options"]["viewOn"]) for view in views] == [("v_traces", "others")]


def test_a_collection_in_the_way_is_named(database: Database[Call]) -> None:
    """A collection that has a view's name is left as it is, and nothing else is changed."""
    store(database)
    database["v_traces"].insert_one({"_id": "somebody's"})

    with pytest.raises(UsageError, match=r"v_traces in the database .* rename it"):
        create_views(database, "llm_calls")

    assert sorted(database.list_collection_names()) == ["llm_calls", "v_traces"]
    assert drop_views(database, "llm_calls") == []
    assert database["v_traces"].count_documents({}) == 1


def test_a_mistyped_collection_is_named(database: Database[Call]) -> None:
    """Views of a collection that is not there would stay empty, so there are none."""
    with pytest.raises(UsageError, match=r"no collection llm_cals .* fix its name"):
        create_views(database, "llm_cals")

    assert database.list_collection_names() == []


def test_an_index_of_somebody_else_will_do(database: Database[Call]) -> None:
    """Where created_at has an index already it serves, and is not dropped with the views."""
    store(database)
    database["llm_calls"].create_index("created_at", name="theirs")
    create_views(database, "llm_calls")
    drop_views(database, "llm_calls")

    assert "theirs" in database["llm_calls"].index_information()


def test_views_are_dropped_with_their_index(database: Database[Call]) -> None:
    """Dropping takes away what creating made, and leaves views of other collections."""
    store(database)
    before = database["llm_calls"].index_information()
    create_views(database, "llm_calls")
    database.drop_collection("v_sessions")
    database.create_collection("v_sessions", viewOn="others", pipeline=[])

    assert set(drop_views(database, "llm_calls")) == VIEWS.keys() - {"v_sessions"}
    assert drop_views(database, "llm_calls") == []
    assert {"llm_calls", "v_sessions"} <= set(database.list_collection_names())
    assert database["llm_calls"].index_information() == before
    assert database["llm_calls"].count_documents({}) == len(CALLS)


def test_an_analyst_reads_the_views(analysed: Database[Call]) -> None:
    """With the role and nothing else, every view can be read and aggregated on, and listed."""
    pipeline: list[dict[str, Any]] = [
        {"$match": {"status": "SUCCESS"}},
        {"$group": {"_id": "$model", "calls": {"$sum": 1}}},
    ]
    successes = sum(row["calls"] for row in analysed["v_calls"].aggregate(pipeline))

    assert successes == sum(call["status"] == "SUCCESS" for call in CALLS)
    assert analysed["v_calls"].count_documents({}) == len(CALLS)
    assert all(analysed[name].find_one() for name in VIEWS)
    assert set(analysed.list_collection_names()) > VIEWS.keys()
    assert analysed.command("dbStats")["ok"]


def test_the_page_shows_this_role() -> None:
    """What the page tells to paste into mongosh is the command that the function gives."""
    page = (Path(__file__).parents[2] / "docs/how-to/views.md").read_text()
    (shown,) = re.findall(r"db\.runCommand\((\{.*?\n\})\)", page, re.DOTALL)

    assert json.loads(shown) == analyst_role("llm_audit")


FORBIDDEN: dict[str, dict[str, Any]] = {
    "find": {"find": "llm_calls"},
    "refused content": {"find": "llm_audit_rejected"},
    "aggregate": {"aggregate": "llm_calls", "pipeline": [], "cursor": {}},
    "count": {"count": "llm_calls"},
    "distinct": {"distinct": "llm_calls", "key": "messages"},
    "lookup": {
        "aggregate": "v_calls",
        "pipeline": [
            {
                "$lookup": {
                    "from": "llm_calls",
                    "localField": "_id",
                    "foreignField": "_id",
                    "as": "c",
                }
            }
        ],
        "cursor": {},
    },
    "union": {"aggregate": "v_calls", "pipeline": [{"$unionWith": "llm_calls"}], "cursor": {}},
    "definition": {"find": "system.views"},
    "another view": {"create": "all", "viewOn": "llm_calls", "pipeline": []},
    "changed view": {"collMod": "v_calls", "viewOn": "llm_calls", "pipeline": []},
    "dropped view": {"drop": "v_calls"},
    "out": {"aggregate": "v_calls", "pipeline": [{"$out": "copy"}], "cursor": {}},
    "merge": {"aggregate": "v_calls", "pipeline": [{"$merge": "llm_calls"}], "cursor": {}},
    "insert": {"insert": "llm_calls", "documents": [{"_id": "1"}]},
    "delete": {"delete": "llm_calls", "deletes": [{"q": {}, "limit": 0}]},
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_an_analyst_does_nothing_else(name: str, analysed: Database[Call]) -> None:
    """The calls themselves cannot be read, by no detour, and nothing can be written."""
    with pytest.raises(OperationFailure) as refusal:
        analysed.command(FORBIDDEN[name])

    assert refusal.value.code == UNAUTHORIZED


def test_a_filter_finds_nothing_in_bodies(analysed: Database[Call]) -> None:
    """What is not shown cannot be asked for either: a filter sees the row, not the document."""
    assert any("messages" in call for call in CALLS)
    for query in ({"messages": {"$exists": True}}, {"$expr": {"$isArray": "$messages"}}):
        assert analysed["v_calls"].count_documents(query) == 0

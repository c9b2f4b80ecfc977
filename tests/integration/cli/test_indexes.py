"""Which indexes there are, what becomes of those that are missing, and which serves a query."""

import json
import re
from collections.abc import Callable
from typing import Any

import pymongo
import pytest
from faults.guarded import DATABASE, GuardedMongod
from made_up_calls import CALLS, Call, store
from nowhere import NOWHERE
from pymongo.database import Database
from waiting import Calls

from llm_audit.settings.names import FILES
from llm_audit.store.indexes import call_indexes, media_indexes, process_indexes

Shell = Callable[..., Any]

OURS = {index.document["name"] for index in call_indexes()}


@pytest.fixture
def made_up(database: Database[Call]) -> Database[Call]:
    """Give the made-up calls with their indexes."""
    store(database, indexed=True)
    return database


@pytest.mark.usefixtures("made_up")
def test_each_index_says_what_it_is_there_for(shell: Shell, calls: Calls) -> None:
    """State, size, uses and purpose, a line for each; those of others with their keys."""
    list(calls.find({"trace_id": "trace 3"}))
    calls.create_index([("service", 1), ("pid", -1)])

    ended = shell("indexes")
    rows = {
        row["name"]: row
        for row in map(json.loads, shell("indexes", "--json").lines)
        if row["collection"] == calls.name
    }

    assert (ended.code, ended.errors) == (0, "")
    assert rows.keys() == {"_id_", "service_1_pid_-1", *OURS}
    trace = rows["trace_id_newest"]
    assert (trace["state"], trace["uses"]) == ("there", 1)
    assert trace["size_bytes"] > 0
    assert trace["purpose"] in ended.output
    assert f"{calls.full_name}  " in ended.lines[0]
    assert ", uses since " in ended.lines[0]
    [extra] = [line for line in ended.lines if line.startswith("service_1_pid_-1")]
    assert extra.split()[1] == "extra"
    assert extra.rstrip().endswith("service 1, pid -1")
    assert "llm_audit_processes  not there yet" in ended.output


@pytest.mark.usefixtures("made_up")
def test_missing_indexes_are_built_when_told(shell: Shell, calls: Calls) -> None:
    """Looking alone fails with the fix; --create builds them and leaves the others alone."""
    calls.drop_index("trace_id_newest")
    calls.database["llm_audit_processes"].insert_one({"_id": "1"})
    processes = [index.document["name"] for index in process_indexes()]

    looked = shell("indexes")
    created = shell("indexes", "--create")

    assert looked.code == 1
    complaint = " ".join(looked.output.split())
    assert "✗ Missing: trace_id_newest, " in complaint
    assert complaint.endswith("llm-audit indexes --create")
    assert created.code == 0
    assert "llm_calls: building trace_id_newest ...\n" in created.errors
    assert "llm_calls: built; " in created.errors
    assert "missing" not in created.output.casefold()
    assert calls.index_information().keys() == {"_id_", *OURS}
    in_processes = calls.database["llm_audit_processes"].index_information()
    assert in_processes.keys() == {"_id_", *processes}
    assert shell("indexes", "--create").errors == ""


@pytest.mark.usefixtures("made_up")
def test_a_conflict_is_left_to_people(shell: Shell, calls: Calls) -> None:
    """Another index with the name of ours stays; the fix that is printed fixes it."""
    calls.drop_index("trace_id_newest")
    calls.create_index("trace_id", name="trace_id_newest")

    ended = shell("indexes", "--create")

    assert ended.code == 1
    complaint = " ".join(ended.output.split())
    assert (
        "✗ trace_id_newest conflicts with the existing trace_id_newest: in mongosh, " in complaint
    )
    assert 'db.getCollection("llm_calls").dropIndex("trace_id_newest")' in complaint
    calls.drop_index("trace_id_newest")
    assert shell("indexes", "--create").code == 0


@pytest.mark.usefixtures("made_up")
def test_the_indexes_of_media_are_shown_where_there_are_media(
    shell: Shell, database: Database[Call]
) -> None:
    """Without media nobody misses GridFS' indexes; with them they are looked at like others."""
    assert "fs.files" not in shell("indexes").output
    by_name, expiry = media_indexes()[FILES]
    database[FILES].create_indexes([by_name])

    ended = shell("indexes")

    assert ended.code == 1
    assert f"{database.name}.fs.files" in ended.output
    assert expiry.document["name"] in ended.output


def test_without_calls_there_is_nothing_to_look_at(shell: Shell) -> None:
    """A wrong name of a collection is one line, and nothing is created."""
    ended = shell("--collection", "none", "indexes", "--create")

    assert (ended.code, ended.output) == (1, "")
    assert ended.errors.startswith("llm-audit: There is no collection ")
    assert "none" in ended.errors


def test_without_the_right_to_statistics_the_rest_is_shown(shell: Shell) -> None:
    """Whoever may only read and write learns the states and sizes, and that uses are not known."""
    with GuardedMongod() as server:
        server.create_users()
        server.as_root(lambda client: store(client[DATABASE], indexed=True))
        with pymongo.MongoClient[Call](server.url):
            ended = shell("--mongo-url", server.url, "--database", DATABASE, "indexes")

    assert (ended.code, ended.errors) == (0, "")
    assert ended.lines[-1].startswith("How often they are used is not known")
    assert " there " in ended.output


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize(
    ("words", "index"),
    [
        (["calls-by-trace", "trace 3"], "trace_id_newest"),
        (["usage-over-time", "--since", "2026-05-01T00:00Z"], "summed_up"),
        (["cost-summary", "day", "--trace", "trace 3"], "trace_id_newest"),
    ],
)
def test_a_query_says_which_index_serves_it(words: list[str], index: str, shell: Shell) -> None:
    """--explain runs it and says what MongoDB read to find how much."""
    shown = shell("pipeline", *words, "--explain")
    [row] = map(json.loads, shell("pipeline", *words, "--explain", "--json").lines)

    assert (shown.code, row["indexes"], row["reads_all"]) == (0, [index], False)
    of_trace = sum(call.get("trace_id") == "trace 3" for call in CALLS)
    if index == "summed_up":
        assert row["documents_examined"] == 0
    else:
        assert row["keys_examined"] == row["documents_examined"] == of_trace
    assert f"index {index}" in shown.output
    [documents] = re.findall(r"^documents +(\d+) examined", shown.output, re.MULTILINE)
    assert int(documents) == row["documents_examined"]


def test_a_query_that_no_index_serves_says_so(shell: Shell, made_up: Database[Call]) -> None:
    """Reading every call is told apart, however few are selected."""
    made_up["llm_calls"].drop_indexes()
    words = ["pipeline", "retry-spend", "--explain"]
    [row] = map(json.loads, shell(*words, "--json").lines)

    assert (row["indexes"], row["reads_all"], row["keys_examined"]) == ([], True, 0)
    assert row["documents_examined"] == len(CALLS)
    assert "no index: every call is read" in shell(*words).output


@pytest.mark.usefixtures("made_up")
def test_indexes_that_serve_together_are_each_named(shell: Shell) -> None:
    """A query by several fields is served by several."""
    [row] = map(json.loads, shell("pipeline", "workflow", "task 3", "--explain", "--json").lines)

    assert len(row["indexes"]) == 3
    assert "trace_id_newest" in row["indexes"]


def test_a_pipeline_is_printed_or_explained(shell: Shell) -> None:
    """Both at once is refused, and without a server it says so."""
    words = ["pipeline", "tool-usage", "--explain"]

    assert shell(*words, "--mongosh").code == 2
    assert shell("--mongo-url", NOWHERE, *words).code == 3
    assert "nothing is there" in shell(*words).lines[1]

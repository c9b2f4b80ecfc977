"""The views, published and taken away in the shell."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from made_up_calls import CALLS, Call
from nowhere import NOWHERE
from pymongo.database import Database

from llm_audit.queries.publishing import analyst_role
from llm_audit.queries.views import VIEWS

Shell = Callable[..., Any]


def test_views_come_and_go(shell: Shell, made_up: Database[Call]) -> None:
    """Each view is a line that says what became of it."""
    created, again = shell("views", "create"), shell("views", "create", "--json")
    shown = made_up["v_calls"].count_documents({})
    made_up.command("collMod", "v_calls", viewOn="llm_calls", pipeline=[])
    replaced, dropped = shell("views", "create"), shell("views", "drop")

    assert [line.split() for line in created.lines] == [[name, "created"] for name in VIEWS]
    assert [json.loads(line)["change"] for line in again.lines] == ["unchanged"] * len(VIEWS)
    assert shown == len(CALLS)
    assert replaced.lines[0].split() == ["v_calls", "replaced"]
    assert sorted(line.split()[0] for line in dropped.lines) == sorted(VIEWS)
    assert shell("views", "drop").output == "There are no views of these calls.\n"
    assert not made_up.list_collection_names(filter={"type": "view"})


def test_a_collection_that_is_in_the_way_is_one_line(shell: Shell, made_up: Database[Call]) -> None:
    """Where a collection has the name of a view nothing is changed."""
    made_up.create_collection("v_traces")

    ended = shell("views", "create")

    assert (ended.code, ended.output) == (2, "")
    assert "v_traces in the database" in ended.errors
    assert not made_up.list_collection_names(filter={"type": "view"})


def test_without_calls_there_are_no_views(shell: Shell) -> None:
    """The error names the collection and the fix."""
    ended = shell("--collection", "none", "views", "create")

    assert ended.code == 2
    assert "there is no collection none" in ended.errors


@pytest.mark.parametrize("name", ["llm_audit_analyst", "readers"])
def test_the_role_is_ready_for_mongosh(name: str, shell: Shell) -> None:
    """It is printed without a server, for the database of the calls."""
    words = ["--mongo-url", NOWHERE, "--database", "other", "views", "role"]

    shown = shell(*words, "--name", name)
    as_json = shell(*words, "--name", name, "--json")

    assert (shown.code, as_json.code) == (0, 0)
    assert json.loads(as_json.output) == analyst_role("other", name)
    command = shown.output.removeprefix("db.runCommand(").removesuffix(")\n")
    assert json.loads(command) == analyst_role("other", name)

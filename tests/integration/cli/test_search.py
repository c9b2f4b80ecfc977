"""`llm-audit search`: which calls said something, and how."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from made_up_calls import Call, call_id
from pymongo.database import Database
from rich.cells import cell_len
from waiting import Calls

from llm_audit.store.indexes import call_indexes

Shell = Callable[..., Any]

LOT = Random(3)
NOW = datetime.now(UTC)


def made(days_ago: float, question: str, answer: Any = "I see.", **more: Any) -> Call:
    at = NOW - timedelta(days=days_ago)
    return {
        "_id": call_id(at, LOT),
        "created_at": at,
        "status": "SUCCESS",
        "messages": [{"role": "user", "content": question}],
        "response_message": {"role": "assistant", "content": answer},
        **more,
    }


def test_the_last_week_is_looked_at(shell: Shell, calls: Calls) -> None:
    """Calls are listed newest first; those from before need --since."""
    new, older, old = [made(days, "Vienna?") for days in (1, 2, 9)]
    calls.insert_many([new, older, old, made(1, "Paris?")])

    week = shell("search", "vienna", "--json")
    month = shell("search", "vienna", "--since", "30d", "--json")

    assert [json.loads(line)["id"] for line in week.lines] == [new["_id"], older["_id"]]
    assert json.loads(month.lines[-1])["id"] == old["_id"]


def test_the_passage_is_shown_with_its_role(shell: Shell, calls: Calls) -> None:
    """Under each call stands the last place where it was, in one line, and how many more."""
    answer = f"{'before ' * 50}\n\nVIENNA is\nwarm {'after ' * 50}"
    calls.insert_one(made(1, "Weather in Vienna?", answer, model="gpt-4o", user_id="u"))

    ended = shell("search", "vienna", "--user", "u")
    passage = ended.lines[3]

    assert (ended.code, ended.errors) == (0, "")
    assert ended.lines[0].startswith("Calls that say 'vienna'  user u; since ")
    assert "gpt-4o" in ended.lines[2]
    assert passage.startswith("  assistant  …")
    assert "before VIENNA is warm after" in passage
    assert passage.endswith("…  and 1 more")
    assert len(passage) <= 80


def test_wide_letters_leave_room_for_what_was_found(shell: Shell, calls: Calls) -> None:
    """What stands before a match is cut by the room it takes, not by its letters."""
    calls.insert_one(made(1, f"{'漢字' * 80} vienna {'漢字' * 80}"))

    passage = shell("search", "vienna").lines[3]

    assert cell_len(passage) <= 80
    assert "漢字 vienna 漢字" in passage
    assert passage.startswith("  user  …")


def test_arguments_and_results_are_found_where_they_are(shell: Shell, calls: Calls) -> None:
    """What a tool was asked or gave is said to be the assistant's or the tool's."""
    asked = {"id": "1", "function": {"name": "weather", "arguments": '{"town": "Vienna"}'}}
    result = {
        "type": "tool_result",
        "tool_use_id": "1",
        "content": [{"type": "text", "text": "21"}],
    }
    calls.insert_one(
        made(1, "?", None)
        | {
            "response_message": {"role": "assistant", "tool_calls": [asked]},
            "messages": [{"role": "user", "content": [result]}],
        }
    )

    def where(text: str) -> list[tuple[str, str]]:
        [call] = [json.loads(line) for line in shell("search", text, "--json").lines]
        return [(passage["where"], passage["text"]) for passage in call["passages"]]

    assert where("vienna") == [("assistant", "Vienna")]
    assert where('"town": "v') == [("assistant", '{"town": "Vienna"}')]
    assert where("21") == [("tool", "21")]
    assert where("tool_result") == [("messages", "tool_result")]


def test_pages_go_on_where_the_last_one_ended(shell: Shell, calls: Calls) -> None:
    """A full page names the next one."""
    first, second = made(1, "Vienna?"), made(2, "Vienna?")
    calls.insert_many([first, second])

    page = shell("search", "vienna", "--limit", 1)
    rest = shell("search", "vienna", "--after", first["_id"], "--json")

    assert page.lines[-1] == f"The next ones: --after {first['_id']}"
    assert [json.loads(line)["id"] for line in rest.lines] == [second["_id"]]


def test_nothing_found_is_no_failure(shell: Shell, calls: Calls) -> None:
    """What is looked for is taken as it is, and where it was not found is said."""
    calls.insert_one(made(1, "Vienna?"))

    ended = shell("search", "vien.a")

    assert ended.code == 0
    assert ended.lines[0].startswith("Calls that say 'vien.a'  since ")
    assert ended.lines[1:] == ["No such calls."]
    assert shell("search", "vien.a", "--json").output == ""


def test_what_cannot_be_searched_for_is_refused(shell: Shell) -> None:
    """An empty text is a wrong argument."""
    ended = shell("search", "")

    assert (ended.code, ended.output) == (2, "")
    assert ended.errors.startswith("llm-audit: text has to be ")


def test_the_time_range_is_read_by_an_index(database: Database[Call], shell: Shell) -> None:
    """The calls of other times are not touched."""
    calls = database["llm_calls"]
    calls.create_indexes(call_indexes())
    calls.insert_many([made(days, "Vienna?") for days in (1, 20, 30, 40)])
    database.command("profile", 2)

    shell("search", "vienna")

    database.command("profile", 0)
    asked, _ = database["system.profile"].find({"command.aggregate": "llm_calls"}).sort("ts")
    assert asked["docsExamined"] == 1

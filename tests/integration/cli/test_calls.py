import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from made_up_calls import CALLS, START, USERS, Call
from pymongo.database import Database
from waiting import Calls

from llm_audit.queries.filters import condition

Shell = Callable[..., Any]

NEWEST = CALLS[1]  # the very first has an id that tells no time


@pytest.mark.parametrize(
    ("options", "filters"),
    [
        ("--model gpt-4", {"model": "gpt-4"}),
        (
            "--provider openai --model gpt-4 --model claude",
            {"model": ["gpt-4", "claude"], "provider": "openai"},
        ),
        ("--tag rag --tag hidden", {"tags": ["rag", "hidden"]}),
        ("--status error --type chat", {"status": "ERROR", "call_type": "CHAT"}),
        (f"--user {USERS[1]} --company 1", {"user_id": USERS[1], "company_id": 1}),
        ("--task-name tasks.ask --tool read", {"task_name": "tasks.ask", "tool": "read"}),
        ("--session 3", {"session_id": "3"}),
        ("--review 77 --parent-call", {"review_id": "77", "parent_call_id": "parent 1"}),
        (
            "--since 2026-05-01T12:00Z --until 2026-05-02T06:00+00:00",
            {
                "start_date": datetime(2026, 5, 1, 12, tzinfo=UTC),
                "end_date": datetime(2026, 5, 2, 6, tzinfo=UTC),
            },
        ),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_each_filter_is_an_option(
    options: str, filters: dict[str, Any], shell: Shell, made_up: Database[Call]
) -> None:
    """The options mean what the filters of the queries mean, newest first."""
    words = [*options.split(), *(["parent 1"] if options.endswith("--parent-call") else [])]
    wanted = made_up["llm_calls"].find(condition(filters)).sort("_id", -1)

    ended = shell("calls", *words, "--limit", 1000, "--json")

    ids = [json.loads(line)["id"] for line in ended.lines]
    assert ids == [call["_id"] for call in wanted]
    assert 0 < len(ids) < len(CALLS)


@pytest.mark.usefixtures("made_up")
def test_pages_go_on_where_the_last_one_ended(shell: Shell) -> None:
    """--after gives the next page, until nothing is left."""
    seen: list[str] = []
    while True:
        after = ["--after", seen[-1]] if seen else []
        page = shell("calls", "--limit", 100, "--json", *after).lines
        seen += [json.loads(line)["id"] for line in page]
        if len(page) < 100:
            break

    assert seen == [call["_id"] for call in CALLS]


@pytest.mark.usefixtures("made_up")
def test_a_page_says_how_to_go_on(shell: Shell) -> None:
    """The last line of a full page names the next one; a row shows what `show` takes."""
    ended = shell("calls", "--limit", 2, "--since", "2026-04-30")

    assert ended.lines[-1] == f"The next ones: --after {CALLS[2]['_id']}"
    assert NEWEST["_id"][:18] in ended.lines[1]
    assert NEWEST["status"] in ended.lines[1]


@pytest.mark.usefixtures("made_up")
def test_rows_for_machines_have_no_bodies(shell: Shell) -> None:
    """A row is one JSON document, its dates in ISO 8601, UTC."""
    [row] = map(json.loads, shell("calls", "--json", "--limit", 1, "--since", "2026-04-30").lines)

    assert row["created_at"] == f"{NEWEST['created_at']:%Y-%m-%dT%H:%M:%S}.000Z"
    assert row["status"] == NEWEST["status"]
    assert "messages" not in row


def test_no_calls_is_no_error(shell: Shell) -> None:
    """Where nothing matches that is said, with what was asked."""
    ended = shell("calls", "--model", "none", "--since", "2h")

    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.startswith("No calls (model none; since ")
    assert shell("calls", "--json").output == ""


@pytest.mark.usefixtures("made_up")
def test_a_task_shows_its_attempts(shell: Shell) -> None:
    """The calls of a task stand under their attempts, oldest first."""
    task_id = next(call["task_id"] for call in CALLS if call.get("task_id"))
    wanted = [call["_id"] for call in reversed(CALLS) if call.get("task_id") == task_id]

    ended = shell("task", task_id)
    rows = [json.loads(line) for line in shell("task", task_id, "--json").lines]

    assert [row["id"] for row in rows] == wanted
    assert ended.lines[0].endswith(task_id)
    assert "attempt" in ended.lines[2]
    assert sum(call_id[:18] in ended.output for call_id in wanted) == len(wanted)


@pytest.mark.usefixtures("made_up")
def test_an_unknown_task_names_near_ones(shell: Shell) -> None:
    """A task id with a slip of the finger is one line and exit code 1."""
    ended = shell("task", "task 1x")

    assert (ended.code, ended.output) == (1, "")
    assert ended.errors.startswith("llm-audit: There is no task 'task 1x' in ")
    assert "Near it: task " in ended.errors


def test_a_short_id_says_where_to_go_on(shell: Shell, made_up: Database[Call]) -> None:
    """--after takes an id as it is printed; one that nothing begins with is an error."""
    for command in (["calls"], ["search", "Hello", "--since", "2026-04-30"]):
        whole = shell(*command, "--after", CALLS[3]["_id"], "--json")
        short = shell(*command, "--after", CALLS[3]["_id"][:-1], "--json")
        unknown = shell(*command, "--after", "zzz")

        assert whole.output == short.output != ""
        assert (unknown.code, unknown.output) == (1, "")
        assert unknown.errors == f"llm-audit: There is no call 'zzz' in {made_up.name}.llm_calls.\n"


def test_a_short_id_says_whose_children(shell: Shell, calls: Calls) -> None:
    """--parent-call takes an id as it is printed, and one that only its children name."""
    said = {"status": "SUCCESS", "messages": [{"role": "user", "content": "Hello!"}]}
    of_parent, of_lost = ("019f0000-1", "parent-1"), ("019f0000-2", "lost")
    calls.insert_one({"_id": "parent-1", **said})
    calls.insert_many({"_id": n, "parent_call_id": p, **said} for n, p in (of_parent, of_lost))

    for words in (["calls"], ["search", "hello", "--since", "2020-01-01"]):
        for given, (child, _) in (("parent", of_parent), ("lost", of_lost)):
            [row] = map(json.loads, shell(*words, "--parent-call", given, "--json").lines)
            assert row["id"] == child
        assert shell(*words, "--parent-call", "nobody").code == 1


def test_ids_of_another_kind_are_listed_too(shell: Shell, calls: Calls) -> None:
    """What something else stored does not keep the calls from being shown."""
    other = ObjectId()
    calls.insert_many([{"_id": other, "status": "ERROR"}, {"_id": "1", "status": "SUCCESS"}])

    ended = shell("calls")

    assert (ended.code, len(ended.lines)) == (0, 3)
    assert str(other)[:18] in ended.output


@pytest.mark.parametrize("columns", [60, 80, 140])
@pytest.mark.usefixtures("database")
def test_calls_of_one_millisecond_are_told_apart(
    columns: int, shell: Shell, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As much of each id is printed as `show` needs, and no number is cut."""
    ids = [f"01a2136a-d928-7223-99be-67f2{number:08x}" for number in range(3)]
    numbers = {"total_tokens": 1_234_567, "estimated_cost": 12_345.67, "latency_ms": 90_000}
    known = {"created_at": START, "session_id": "s", "trace_id": "t", "task_id": "k"} | numbers
    calls.insert_many([{"_id": each, "status": "SUCCESS", "model": "m", **known} for each in ids])
    monkeypatch.setenv("COLUMNS", str(columns))

    for words in (["calls"], ["task", "k"], ["trace", "t"], ["session", "s"]):
        page = shell(*words).output
        printed = set(re.findall("01a2136a[0-9a-f-]*", page))

        assert len(printed) == 3, page
        assert all(len([each for each in ids if each.startswith(one)]) == 1 for one in printed)
        assert max(map(len, page.splitlines())) <= columns
        assert re.findall(r"[$]?\d[\d.,m]*…", page) == []


def test_the_calls_of_a_task_have_the_header_of_calls(shell: Shell, calls: Calls) -> None:
    """What the columns are is said once, above them all."""
    task = {"task_id": "k", "task": {"name": "tasks.ask", "retries": 0}}
    calls.insert_many([{"_id": str(n), "status": "SUCCESS", **task} for n in range(2)])

    header = shell("calls").lines[0]

    assert [line for line in shell("task", "k").lines if line == header] == [header]


def test_a_recorded_id_cannot_steer_the_terminal(shell: Shell, calls: Calls) -> None:
    """What is to be pasted into a shell is quoted, and without control characters."""
    calls.insert_many([{"_id": f"{n} \x1b]0;x", "status": "SUCCESS"} for n in range(2)])

    last = shell("calls", "--limit", 1).lines[-1]

    assert last == "The next ones: --after '1 <U+001B>]0;x'"


def test_a_range_that_ends_before_it_begins_is_a_mistake(shell: Shell) -> None:
    """--since after --until is said instead of finding nothing."""
    ended = shell("calls", "--since", f"{START:%Y-%m-%d}", "--until", "2026-04-01")

    assert ended.code == 2
    assert ended.errors == "llm-audit: --since 2026-05-01 is not before --until 2026-04-01.\n"

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
import uuid_utils
from made_up_calls import CALLS, START, USERS, Call
from pymongo.database import Database
from waiting import PATIENCE

from llm_audit import embedded
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

    ids = [json.loads(line)["_id"] for line in ended.lines]
    assert ids == [call["_id"] for call in wanted]
    assert 0 < len(ids) < len(CALLS)


@pytest.mark.usefixtures("made_up")
def test_pages_go_on_where_the_last_one_ended(shell: Shell) -> None:
    """--after gives the next page, until nothing is left."""
    seen: list[str] = []
    while True:
        after = ["--after", seen[-1]] if seen else []
        page = shell("calls", "--limit", 100, "--json", *after).lines
        seen += [json.loads(line)["_id"] for line in page]
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

    assert [row["_id"] for row in rows] == wanted
    assert ended.lines[0].endswith(task_id)
    assert "attempt" in ended.lines[1]
    assert sum(call_id[:18] in ended.output for call_id in wanted) == len(wanted)


@pytest.mark.usefixtures("made_up")
def test_an_unknown_task_names_near_ones(shell: Shell) -> None:
    """A task id with a slip of the finger is one line and exit code 1."""
    ended = shell("task", "task 1x")

    assert (ended.code, ended.output) == (1, "")
    assert ended.errors.startswith("llm-audit: There is no task 'task 1x' in ")
    assert "Near it: task " in ended.errors


class Tail(NamedTuple):
    """What --watch prints."""

    process: "subprocess.Popen[str]"

    def next(self) -> Call:
        """Wait for the next row."""
        assert self.process.stdout
        return dict(json.loads(self.process.stdout.readline()))


@contextmanager
def tail(mongod: embedded.Mongod, database: Database[Call], *options: str) -> Iterator[Tail]:
    program = [sys.executable, "-m", "llm_audit.cli", "--mongo-url", mongod.url]
    target = ["--database", database.name, "calls", "--watch", "--json", *options]
    with subprocess.Popen(
        [*program, *target], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Tail(process)
        finally:
            process.kill()


def started(**fields: Any) -> Call:
    now = datetime.now(UTC)
    return {"_id": str(uuid_utils.uuid7()), "status": "PENDING", "created_at": now, **fields}


def test_watch_shows_calls_as_they_come_and_end(
    mongod: embedded.Mongod, database: Database[Call]
) -> None:
    """A call shows when it comes in and when it ends, also one that began before a seen one."""
    calls = database["llm_calls"]
    first, late, newer = started(model="m"), started(model="m"), started(model="m")
    calls.insert_many([started(model="another"), first])
    with tail(mongod, database, "--model", "m") as watched:
        assert watched.next()["_id"] == first["_id"]

        calls.insert_one(newer)
        assert watched.next()["_id"] == newer["_id"]
        calls.insert_one(late)
        assert watched.next()["_id"] == late["_id"]
        calls.update_one({"_id": first["_id"]}, {"$set": {"status": "SUCCESS"}})
        ended = watched.next()
        assert (ended["_id"], ended["status"]) == (first["_id"], "SUCCESS")

        watched.process.send_signal(signal.SIGINT)
        rest, errors = watched.process.communicate(timeout=PATIENCE)
    assert (watched.process.returncode, rest, errors) == (130, "", "")


def test_watch_takes_no_end(shell: Shell) -> None:
    """--watch with --after or --until makes no sense, and says so."""
    ended = shell("calls", "--watch", "--until", "1h")

    assert ended.code == 2
    assert ended.errors.startswith("llm-audit: --watch shows what comes in")


def test_a_range_that_ends_before_it_begins_is_a_mistake(shell: Shell) -> None:
    """--since after --until is said instead of finding nothing."""
    ended = shell("calls", "--since", f"{START:%Y-%m-%d}", "--until", "2026-04-01")

    assert ended.code == 2
    assert ended.errors == "llm-audit: --since 2026-05-01 is not before --until 2026-04-01.\n"

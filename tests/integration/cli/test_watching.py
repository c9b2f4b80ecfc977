"""`llm-audit calls --watch`: calls as they come in, and as they end."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import pymongo
import pytest
import uuid_utils
from made_up_calls import Call, call_id
from pymongo.database import Database
from waiting import PATIENCE, Calls

from llm_audit import LLMCall, SyncLLMCallRepository, embedded
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.watch import Watch

Shell = Callable[..., Any]

LOT = Random(11)


class Tail(NamedTuple):
    """What --watch prints."""

    process: "subprocess.Popen[str]"

    def next(self) -> Call:
        """Wait for the next row."""
        return dict(json.loads(self.line()))

    def line(self) -> str:
        """Wait for the next line."""
        assert self.process.stdout
        return self.process.stdout.readline()


@contextmanager
def tail(
    mongod: embedded.Mongod, database: Database[Call], *options: str, as_json: bool = True
) -> Iterator[Tail]:
    program = [sys.executable, "-m", "llm_audit.cli", "--mongo-url", mongod.url]
    target = ["--database", database.name, "calls", "--watch", *options]
    target += ["--json"] if as_json else []
    with subprocess.Popen(
        [*program, *target], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Tail(process)
        finally:
            process.kill()


def watching(calls: Calls, filters: CallFilters) -> tuple[Watch, Callable[[], list[LLMCall]]]:
    """Begin to watch, and give what tells the news."""
    questions = SyncLLMCallRepository(calls)
    watch = questions.ask(Watch.begin(filters))
    return watch, lambda: questions.ask(watch.news())


def started(**fields: Any) -> Call:
    now = datetime.now(UTC)
    return {"_id": str(uuid_utils.uuid7()), "status": "PENDING", "created_at": now} | fields


def test_watch_shows_calls_as_they_come_and_end(
    mongod: embedded.Mongod, database: Database[Call]
) -> None:
    """A call shows when it comes in and when it ends, also one that began before a seen one."""
    calls = database["llm_calls"]
    first, late, newer = started(model="m"), started(model="m"), started(model="m")
    calls.insert_many([started(model="another"), first])
    with tail(mongod, database, "--model", "m") as watched:
        assert watched.next()["id"] == first["_id"]

        calls.insert_one(newer)
        assert watched.next()["id"] == newer["_id"]
        calls.insert_one(late)
        assert watched.next()["id"] == late["_id"]
        calls.update_one({"_id": first["_id"]}, {"$set": {"status": "SUCCESS"}})
        ended = watched.next()
        assert (ended["id"], ended["status"]) == (first["_id"], "SUCCESS")

        watched.process.send_signal(signal.SIGINT)
        rest, errors = watched.process.communicate(timeout=PATIENCE)
    assert (watched.process.returncode, rest, errors) == (130, "", "")


def test_watch_takes_no_end(shell: Shell) -> None:
    """--watch with --after or --until makes no sense, and says so."""
    ended = shell("calls", "--watch", "--until", "1h")

    assert ended.code == 2
    assert ended.errors.startswith("llm-audit: --watch shows what comes in")


def of(minutes_ago: float, status: str = "PENDING", **fields: Any) -> Call:
    return {
        "_id": call_id(datetime.now(UTC) - timedelta(minutes=minutes_ago), LOT),
        "status": status,
        **fields,
    }


@pytest.mark.parametrize(
    ("filters", "end"),
    [
        (CallFilters(status="error"), {"status": "ERROR"}),
        (CallFilters(status=["TIMEOUT", "ERROR"], model="m"), {"status": "ERROR"}),
        (CallFilters(tool="find"), {"status": "SUCCESS", "tools_called": ["find"]}),
        (CallFilters(), {"status": "ABANDONED"}),
    ],
    ids=["status", "status and model", "tool", "nothing"],
)
def test_a_long_call_is_followed_to_its_end(
    filters: CallFilters, end: dict[str, Any], calls: Calls
) -> None:
    """However long it has run, and though it matches only in the end."""
    slow, newer = of(60, model="m"), of(30, model="m")
    calls.insert_many([slow, newer, of(0, "SUCCESS", model="m")])
    _watch, news = watching(calls, filters)
    assert news() == []

    calls.update_one({"_id": slow["_id"]}, {"$set": end})

    assert [call.id for call in news()] == [slow["_id"]]
    assert news() == []


def test_an_end_that_is_not_asked_for_is_not_news(calls: Calls) -> None:
    """A running call that succeeds is none of those that fail."""
    slow = of(60)
    calls.insert_one(slow)
    _watch, news = watching(calls, CallFilters(status="ERROR"))

    calls.update_one({"_id": slow["_id"]}, {"$set": {"status": "SUCCESS"}})

    assert news() == []


def test_clocks_that_are_behind_hide_no_calls(calls: Calls) -> None:
    """Where ids are made by a clock ten minutes late, what comes in is seen all the same."""
    calls.insert_one(of(10.5, "SUCCESS"))
    _watch, news = watching(calls, CallFilters(status="ERROR"))
    late = of(10, "ERROR")

    calls.insert_one(late)

    assert [call.id for call in news()] == [late["_id"]]


def test_failures_from_before_are_not_shown_again(
    mongod: embedded.Mongod, database: Database[Call]
) -> None:
    """With --limit 0 an alert is about what fails from now on."""
    calls = database["llm_calls"]
    old, slow = of(2, "ERROR"), of(2)
    calls.insert_many([old, slow])
    with tail(mongod, database, "--status", "ERROR", "--limit", "0", as_json=False) as watched:
        assert watched.line().split()[:2] == ["time", "id"]

        calls.update_one({"_id": slow["_id"]}, {"$set": {"status": "ERROR"}})

        assert slow["_id"][:28] in watched.line()


def test_watching_goes_on_after_an_outage() -> None:
    """While MongoDB is away that is said once, and what comes in after that is shown."""
    with embedded.Mongod() as server, pymongo.MongoClient[Call](server.url) as client:
        calls = client["a_database"]["llm_calls"]
        with tail(server, calls.database, "--limit", "0", as_json=False) as watched:
            watched.line()
            server.kill()
            assert watched.process.stderr
            complaint = watched.process.stderr.readline()
            server.restart()
            failed = started(status="ERROR")
            calls.insert_one(failed)
            shown = watched.line()

            watched.process.send_signal(signal.SIGINT)
            _, errors = watched.process.communicate(timeout=PATIENCE)

    assert complaint.startswith(f"llm-audit: MongoDB at 127.0.0.1:{server.port} cannot be asked (")
    assert complaint.endswith(" Watching goes on.\n")
    assert failed["_id"][:28] in shown
    assert errors == ""


def test_a_list_of_no_calls_is_a_mistake(shell: Shell) -> None:
    """--limit 0 is for --watch."""
    ended = shell("calls", "--limit", 0)

    assert (ended.code, ended.errors) == (
        2,
        "llm-audit: --limit 0 shows nothing: it is for --watch.\n",
    )


def test_ids_of_another_kind_tell_no_time(calls: Calls) -> None:
    """An id that only looks later than all of today's is no reason to see nothing, or to end."""
    calls.insert_one({"_id": "01kb2z3x4y5w6v7t8s9r0qpnmk", "status": "SUCCESS"})
    _watch, news = watching(calls, {})
    now = call_id(datetime.now(UTC), LOT)
    calls.insert_one({"_id": now, "status": "SUCCESS"})

    assert [call.id for call in news()] == [now]


def test_what_was_shown_is_not_shown_again(calls: Calls) -> None:
    """Neither what came in while the calls from before were read, nor if the clock steps back."""
    watch, news = watching(calls, {})
    old, between, new = (
        {"_id": call_id(datetime.now(UTC) - age, LOT), "status": "SUCCESS"}
        for age in (timedelta(hours=1), timedelta(seconds=2), timedelta())
    )
    calls.insert_many([old, between])
    watch.note([LLMCall.model_validate(between)])
    calls.insert_one(new)
    assert [call.id for call in news()] == [new["_id"]]
    calls.delete_many({"_id": {"$in": [new["_id"], between["_id"]]}})

    assert news() == []

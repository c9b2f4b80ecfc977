"""What pages cost at the most, whatever was stored, and that none of them stands in others' way.

Times depend on the machine, and are measured by `benchmarks/viewer.py`; bytes, elements and
questions do not.
"""

import asyncio
import gzip
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from html import unescape
from random import Random
from typing import Any

import pymongo
import pytest
from bson import encode
from made_up_calls import Call, call_id
from patience import PATIENCE
from pymongo.database import Database
from pymongo.monitoring import CommandListener
from starlette.testclient import TestClient
from viewer_tabs import Viewer
from waiting import Recording, until

from benchmarks.viewer_pages import addresses
from llm_audit.exports import batches
from llm_audit.queries.questions import traces
from llm_audit.store import loops
from llm_audit.store.indexes import call_indexes
from llm_audit.web import answering, create_app
from llm_audit.web.pages.calls.calls import COLUMNS
from llm_audit.web.routes import PAGES, PARTS

NOW = datetime.now(UTC).replace(microsecond=0)
CALLS = 10_000
PAGE_MAX_BYTES = 40_000  # gzipped
PAGE_MAX_NODES = 10_000
QUERIES_MAX = 3
IMAGE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgAB"
WORDS = "many words of a text that goes on and on "
TO_COUNT = {"$range": [0, {"$add": [100_000, {"$strLenCP": "$_id"}]}]}
SLOW = {"$reduce": {"input": TO_COUNT, "initialValue": 0, "in": {"$add": ["$$value", 1]}}}


def extreme() -> Iterator[Call]:
    """Make up calls: each of its own user and process, in what has very many of them.

    A trace of 5,000 calls, a canvas of 3,000 tasks, a task of 500 attempts, a session of 2,000
    turns, 1,000 kinds of failures, and a call of 16 MB.
    """
    lot = Random(1)
    ids: list[str] = []
    for number in range(CALLS):
        at = NOW - timedelta(hours=23) + timedelta(seconds=8 * number)
        ids.append(call_id(at, lot))
        call: Call = {
            "_id": ids[-1],
            "status": "ERROR" if number % 10 == 0 else "SUCCESS",
            "call_type": "CHAT",
            "model": f"model-{number % 300}",
            "created_at": at,
            "completed_at": at + timedelta(seconds=5),
            "latency_ms": 5_000.0 + number,
            "total_tokens": number,
            "estimated_cost": 0.01,
            "user_id": f"user-{number}",
            "company_id": f"company-{number}",
            "process_nonce": f"{number // 1_000:032x}",
            "tools_called": [f"tool-{number % 500}"],
            "messages": [{"role": "user", "content": f"Question {number}"}],
            "response_message": {"role": "assistant", "content": f"Answer {number}: {WORDS * 4}"},
        }
        if number % 10 == 0:
            call |= {"error_type": f"Error{number // 10}", "error_message": WORDS * 20}
        if number < 5_000:
            call |= {"trace_id": "large"}
            call |= {"parent_call_id": ids[number - 1 - lot.randrange(40)]} if number > 40 else {}
        if number < 3_000:
            call |= of_task(f"task-{number}", 0, root_id="task-0")
        elif number < 3_500:
            call |= of_task("retried", number - 3_000)
        elif number >= 7_000:
            call |= of_task(f"late-{number}", 0)
        if 4_000 <= number < 6_000:
            call |= {"session_id": "long"}
            said = [{"role": "user", "content": f"Question {n}"} for n in (number - 1, number)]
            call["messages"] = [said[0], {"role": "assistant", "content": WORDS}, said[1]]
        yield call


def of_task(task_id: str, retries: int, **more: str) -> Call:
    task = {"name": f"app.tasks.t{hash(task_id) % 50}", "retries": retries, "worker": task_id}
    return {"task_id": task_id, "task": task | {"attempt_id": f"{task_id} {retries}"} | more}


@cache
def largest() -> Call:
    """Make up a call of nearly 16 MB: 20,000 messages, some of them long."""
    said = [
        {"role": "user" if n % 2 else "assistant", "content": f"{n} {WORDS * (n % 30)}", "odd": n}
        for n in range(20_000)
    ]
    image = {"type": "image_url", "image_url": {"url": IMAGE}}
    call = next(extreme()) | of_task("task-0", 0, root_id="task-0")
    said.append({"role": "user", "content": [image]})
    call |= {"_id": call_id(NOW, Random(2)), "messages": said, "created_at": NOW}
    call |= {"session_id": "long", "input": WORDS * 50_000}
    call["request_params"] = {"rest": "x" * (16_700_000 - len(encode(call)))}
    return call


class Asked(CommandListener):
    """Counts what the viewer asks MongoDB."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:
        """Take note of a question."""
        if event.command_name in ("aggregate", "find", "count", "distinct"):
            self.names.append(event.command_name)

    def succeeded(self, event: pymongo.monitoring.CommandSucceededEvent) -> None:
        """Nothing is to be done."""

    def failed(self, event: pymongo.monitoring.CommandFailedEvent) -> None:
        """Nothing is to be done."""


@pytest.fixture(scope="module")
def stored(mongo_client: pymongo.MongoClient[Call]) -> Iterator[Database[Call]]:
    database = mongo_client["test_web_speed"]
    mongo_client.drop_database(database)
    database["llm_calls"].insert_many([*extreme(), largest()])
    database["llm_calls"].create_indexes(call_indexes())
    yield database
    mongo_client.drop_database(database)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    counting, options = Asked(), loops.client_options
    with_it = {"event_listeners": [counting]}
    monkeypatch.setattr(loops, "client_options", lambda settings: options(settings) | with_it)
    return counting


@pytest.fixture
def tab(
    asked: Asked,  # noqa: ARG001  (it counts)
    stored: Database[Call],
    viewer: Viewer,
    recording: Recording,
) -> TestClient:
    recording(database=stored.name)
    return viewer()


def nodes(html: str) -> int:
    return len(re.findall("<[a-z]", html))


def left_out(call: Call) -> dict[str, str]:
    """Return addresses, and how each page says how much it leaves out, or where it goes on."""
    one = f"id={call['_id']}"
    return {
        "/users": "9,800 further users",
        "/companies": "9,800 further compan",
        "/costs?by=user_id": r"9,\d+ (further|more)",
        "/latency?by=user_id": r"9,\d+ (further|more)",
        "/tools": "300 (further|more)",
        "/failures": "900 further kinds",
        "/calls": 'rel="next"',
        "/traces": "5,001",
        "/trace?id=large": "5,001",
        "/session?id=long": "arlier",
        "/task?id=retried": "500 attempts",
        "/workflow?id=task-0&all=1": 'rel="next"',
        f"/call?{one}": "19,99[0-9]|20,00[0-9]",
        f"/call/said?{one}": 'rel="next"',
    }


def test_each_page_is_small_asks_little_and_says_what_it_leaves_out(
    tab: TestClient, asked: Asked, stored: Database[Call]
) -> None:
    """Of very many calls, and of one that is as large as can be, and of 90 days of them."""
    call = stored["llm_calls"].find_one({"_id": largest()["_id"]}, {"messages": 0})
    other = stored["llm_calls"].find_one({"_id": {"$lt": largest()["_id"]}}, sort=[("_id", -1)])
    assert call
    assert other
    hashed = sha256(IMAGE.encode()).hexdigest()
    pages = addresses(call, other, text="Question 9990", sha256=hashed)
    assert {page.path for page in pages} == {*PAGES, *PARTS}
    more = ["/trace?id=large&show=all", "/tasks?row=2", "/session?id=long&limit=500"]
    more += ["/calls?limit=200&columns=" + ",".join(COLUMNS), f"/diff?a={call['_id']}"]
    more += ["/costs?by=trace_id", "/latency?by=user_id&since=90d"]
    says = left_out(call)
    wrong: list[object] = []
    for address in dict.fromkeys([*(page.of(None) for page in pages), *says, *more]):
        asked.names.clear()
        answer = tab.get(address)
        if answer.status_code != 200:
            wrong.append((address, answer.status_code, answer.text[-500:]))
        if "html" in answer.headers["content-type"]:
            sent = len(gzip.compress(answer.content, 5))
            if sent > PAGE_MAX_BYTES or nodes(answer.text) > PAGE_MAX_NODES:
                wrong.append((address, sent, nodes(answer.text)))
        if len(asked.names) > QUERIES_MAX and not address.startswith("/export"):
            wrong.append((address, asked.names.copy()))
        text = " ".join(re.sub("<[^>]+>", " ", answer.text).split()) if address in says else ""
        said = says.get(address, "")
        if not re.search(said, text) and not re.search(said, answer.text):
            wrong.append((address, said, text[-300:]))
    assert not wrong


def test_of_an_id_that_nothing_has_little_is_asked(tab: TestClient, asked: Asked) -> None:
    """Whether something else has it is one question, and what is near it at most two."""
    known = largest()["_id"]
    for identifier in ("nothing", f"{known[:-1]}-", f"ffffffff-{known[9:]}x", "12345678" * 4):
        for page, own in (("call", 2), ("trace", 1), ("session", 1), ("task", 1), ("workflow", 2)):
            asked.names.clear()
            answer = tab.get(f"/{page}?id={identifier}")
            assert answer.status_code == 404, (page, identifier)
            assert len(asked.names) <= own + 3, (page, identifier, len(asked.names))


def test_a_heavy_page_leaves_others_their_turn(
    tab: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is computed for it, and its drawing, are beside the event loop: /health is answered."""
    for module, name in ((answering, "rendered"), (traces, "build_trace_tree")):
        begun, may_end = threading.Event(), threading.Event()
        heavy = getattr(module, name)

        def waiting(
            *arguments: Any, begun: Any = begun, may_end: Any = may_end, heavy: Any = heavy
        ) -> Any:
            begun.set()
            assert may_end.wait(PATIENCE)
            return heavy(*arguments)

        monkeypatch.setattr(module, name, waiting)
        with ThreadPoolExecutor(1) as others:
            page = others.submit(tab.get, "/trace?id=large")
            assert begun.wait(PATIENCE)
            assert tab.get("/health").text == "ok\n"
            may_end.set()
            assert page.result(PATIENCE).status_code == 200
        monkeypatch.undo()


@pytest.fixture
def slow(stored: Database[Call]) -> Iterator[str]:
    """Give the name of a collection that takes a moment for each call that is looked at."""
    stages = [{"$match": {"$expr": {"$gt": [SLOW, 0]}}}]
    stored.create_collection("slow", viewOn="llm_calls", pipeline=stages)
    yield "slow"
    stored.drop_collection("slow")


def test_what_takes_too_long_says_so_and_what_would_help(
    slow: str,
    stored: Database[Call],
    viewer: Viewer,
    recording: Recording,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page with 503, a part in its place; with the same page for a shorter time."""
    recording(database=stored.name, collection=slow, query_timeout_seconds=0.2)
    tab = viewer()
    for address, again in (
        ("/costs?by=user_id&since=7d&model=model-1", "/costs?by=user_id&model=model-1&since=24h"),
        ("/?since=30d", "/?since=7d"),
        ("/part/overview/models?since=7d&tz=UTC", "/?tz=UTC&since=24h"),
        ("/part/latency/heat?by=user_id", "/latency?by=user_id&since=1h"),
    ):
        answer = tab.get(address)
        assert answer.status_code == 503, address
        text = " ".join(re.sub("<[^>]+>", " ", answer.text).split())
        assert "not done with this one. Ask about" in text, (address, text[300:])
        assert again in [unescape(one) for one in re.findall('href="([^"]+)"', answer.text)]
        assert ("<html" in answer.text) is not address.startswith("/part/")
        sign = "&" if "?" in address else "?"
        said = tab.get(f"{address}{sign}format=json")
        assert said.status_code == 503
        assert "shorter time" in said.json()["error"]
    recording(database=stored.name, collection=slow, query_timeout_seconds=None)
    monkeypatch.setattr(answering, "LONGEST_SECONDS", 0.3)
    assert tab.get("/costs").status_code == 503
    text = tab.get("/part/search/found?q=nobody").text
    assert "older calls may say it, too" in text
    assert "Go on further back" in text or "ask about a shorter time" in text


def test_nothing_works_for_a_tab_that_was_closed(
    slow: str, stored: Database[Call], recording: Recording
) -> None:
    """MongoDB ends what it was asked, at once and not only when its time is over."""
    recording(database=stored.name, collection=slow)

    def at_work() -> int:
        current: dict[str, Any] = {"$currentOp": {}}
        mine = {"$match": {"command.aggregate": "slow"}}
        return len(list(stored.client.admin.aggregate([current, mine])))

    async def opened_and_closed() -> list[Any]:
        sent: list[Any] = []
        closed = asyncio.Event()
        body = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            if body:
                return body.pop()
            await closed.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/costs", "raw_path": b"/costs"}
        scope |= {"query_string": b"", "headers": [(b"host", b"127.0.0.1")], "scheme": "http"}
        asking = asyncio.ensure_future(create_app()(scope, receive, send))
        await asyncio.to_thread(until, at_work)
        closed.set()
        await asking
        return sent

    sent = asyncio.run(opened_and_closed())
    assert [one["status"] for one in sent if one["type"] == "http.response.start"] == [499]
    until(lambda: not at_work())


def test_an_export_holds_a_batch_at_a_time(
    tab: TestClient, asked: Asked, stored: Database[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many calls there are, and however large: one is sent before others are read."""
    largest_batch = 0
    batch = batches.Batch

    def noted(text: str, last_id: str | None, *, is_last: bool) -> batches.Batch:
        nonlocal largest_batch
        largest_batch = max(largest_batch, len(text))
        return batch(text, last_id, is_last)

    monkeypatch.setattr(batches, "Batch", noted)
    monkeypatch.setattr(batches, "CHARACTERS_MAX", 50_000)
    answer = tab.get("/export?since=7d")
    assert answer.text.count("\n") == stored["llm_calls"].count_documents({}) == CALLS + 1
    largest_line = max(map(len, answer.text.split("\n")))
    assert largest_line < largest_batch <= 50_000 + largest_line + 1
    asked.names.clear()
    head = tab.head("/export?since=7d")  # of which nobody reads more than how it begins
    assert (head.text, head.headers["content-type"]) == ("", answer.headers["content-type"])
    assert len(asked.names) == 1

"""What strangers say in messages, ids and responses spoils nothing that others read."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, permutations
from typing import Any

import bson
import pytest
from made_up_records import create_process_folder, journal_of
from patience import PATIENCE
from waiting import Call, Calls

import llm_audit
from llm_audit import LLMLogger, SyncLLMCallRepository, audit_context
from llm_audit.call import TAGS, AtMost
from llm_audit.gate import shortened
from llm_audit.journal.precedence import Rank, outcome_key
from llm_audit.journal.records import OTHER, START, pack
from llm_audit.journal.statements.later import TOO_MANY_TAGS, said_later, start_beside
from llm_audit.recorder.process import recorder

celery = pytest.importorskip("celery")

from celery.app.trace import build_tracer  # noqa: E402

import celery_hooks  # noqa: E402
from celery_hooks.propagation import HEADER, READ_MAX_BYTES  # noqa: E402

MESSAGES = [{"role": "user", "content": "a question"}]
GIANT = "A" * 300_000  # looks like base64, and is longer than what may stay in a document
IDS = ("trace_id", "session_id", "user_id", "company_id", "parent_call_id")
WRONG: list[Any] = [{"$ne": 1}, ["a", "b"], [["a"], ["b"]], 4.5, True, {"a": {"b": 1}}, [], ""]

HEADERS: dict[str, Any] = {
    "nothing wrong": {"user_id": "u", "company_id": "c", "tags": ["t"], "metadata": {"m": 1}},
    "numbers": dict.fromkeys(IDS, 42),
    "numbers of any size": dict.fromkeys(IDS, 10**200),
    "two lists, which no index takes": {"company_id": ["a", "b"], "user_id": ["c", "d"]},
    "nested tags": {"tags": [{"a": 1}, None, [1], 5, "t"]},
    "tags that are a text": {"tags": "abc"},
    "many tags": {"tags": [f"t{n}" for n in range(1_000)]},
    "a long tag": {"tags": ["t" * 5_000]},
    "metadata that is a list": {"metadata": [["a", 1]]},
    "metadata with MongoDB's names": {"metadata": {"$where": "1", "a.b": 1, "": 2, "_id": 3}},
    "deep metadata": {"metadata": json.loads('{"a":' * 700 + "1" + "}" * 700)},
    "what the header is not for": {"task_id": "forged", "task": {"name": "forged"}, "status": "x"},
    "a list": [1, 2],
    "a number": 5,
    **{f"{name} {value}": {name: value} for name in IDS for value in WRONG},
}
TEXTS: dict[str, Any] = {
    **{name: json.dumps(header) for name, header in HEADERS.items()},
    "deep lists": "[" * 200_000,
    "deep lists that are short enough": "[" * (READ_MAX_BYTES - 1),
    "large": json.dumps({"metadata": {"x": "y" * 1_000_000}}),
    "an int": 12345,
    "bytes": b'{"user_id": "u"}',
    "bytes that are no text": b"\xff\xfe",
    "a dict": {"user_id": "u"},
    "NUL": '{"user_id": "a\\u0000b"}',
    "half a character": '{"user_id": "\\ud800"}',
    "no number": '{"user_id": NaN, "tags": [Infinity]}',
    "an endless number": '{"user_id": ' + "9" * 5_000 + "}",
}
FIELDS: list[dict[str, Any]] = [  # of a message, which Celery has read itself
    *({name: value} for name in ("root_id", "parent_id", "group") for value in (*WRONG, 7, GIANT)),
    {"root_id": {"a": 1}, "id": 5},
    *({"hostname": value, "retries": value} for value in (*WRONG, GIANT, 2**70)),
    *({"delivery_info": {"routing_key": value, "redelivered": value}} for value in (*WRONG, GIANT)),
]

pytestmark = pytest.mark.usefixtures("recording")


@pytest.fixture
def run() -> Iterator[Any]:
    """Give what runs a task as a worker does, from a message, and returns the id of its call."""
    app = celery.Celery("strangers", broker="memory://", set_as_current=False)
    celery_hooks.install(app)

    @app.task(name="ask", shared=False)
    def ask() -> str:
        call_id = LLMLogger.start(model="m", messages=MESSAGES)
        LLMLogger.complete(call_id, response_message={"role": "assistant", "content": "said"})
        return str(call_id)

    tracer = build_tracer("ask", ask, app=app)

    def ran(fields: dict[str, Any]) -> str:
        message = {"id": "task", "is_eager": False, **fields}
        ended = tracer(str(message["id"]), (), {}, message)
        assert ended.info is None, fields
        return str(ended.retval)

    yield ran
    celery_hooks.uninstall()


def assert_readable(calls: Calls, ids: dict[str, str]) -> list[Call]:
    """Assert that calls are there whole, and that every question is answered; return them."""
    questions = SyncLLMCallRepository(calls)
    found = {call.id: call for call in questions.list_by_filters(limit=None)}
    documents = []
    for name, call_id in ids.items():
        document = calls.find_one({"_id": call_id})
        assert document, f"{name}: not in MongoDB"
        assert document["messages"] == MESSAGES, name
        assert document["status"] == "SUCCESS", name
        assert found[call_id].unreadable == [], name
        assert isinstance(document["trace_id"], str), name
        for field in (*IDS, "task_id", "model"):
            value = document.get(field, "")
            assert isinstance(value, str), (name, field)
            assert len(value) <= AtMost().characters, (name, field)
        documents.append(document)
        assert questions.get_trace_tree(document["trace_id"]).unreadable_calls == 0, name
    assert len(questions.search("question", limit=len(found))) == len(found)
    for by in ("company_id", "user_id", "model", "task_name", "tag"):
        assert sum(row.calls for row in questions.cost_summary(by)) >= 0
        assert questions.latency_summary(by)
    assert sum(row.calls for row in questions.usage_over_time()) == len(found)
    return documents


def test_whatever_a_header_says_its_call_is_there_and_readable(run: Any, calls: Calls) -> None:
    """Ids are texts, tags texts, metadata a dict; what is none of that is left out, and noted."""
    ids = {name: run({HEADER: text}) for name, text in TEXTS.items()}
    assert llm_audit.flush(PATIENCE)
    of = dict(zip(ids, assert_readable(calls, ids), strict=True))

    assert llm_audit.stats()["rejected"] == []
    usual = of["nothing wrong"]
    assert (usual["user_id"], usual["tags"], usual["metadata"]) == ("u", ["t"], {"m": 1})
    assert "encoding_notes" not in usual
    assert of["bytes"]["user_id"] == "u"
    assert of["numbers"]["company_id"] == "42"
    assert of["nested tags"]["tags"] == ["t"]
    assert len(of["many tags"]["tags"]) == TAGS.items
    assert of["many tags"]["encoding_notes"] == ["tags: 1000 items, cut to 100"]
    assert of["a long tag"]["tags"] == [shortened("t" * 5_000)]
    assert of["what the header is not for"]["task_id"] == "task"
    assert of["what the header is not for"]["task"]["name"] == "ask"
    for name in ("two lists, which no index takes", "tags that are a text", "large", "an int"):
        assert HEADER in of[name]["encoding_notes"][0], name
    for name in (*HEADERS, "deep lists", "large", "a dict"):
        text = json.dumps({"user_id": {"$ne": 1}})
        assert "$ne" not in str({field: of[name].get(field) for field in IDS}), (name, text)


def test_whatever_celery_was_sent_the_call_names_its_task(run: Any, calls: Calls) -> None:
    """Roots, groups, queues and hosts come from the message too; what is none is left out."""
    ids = {str(fields)[:80]: run({"id": f"task {n}", **fields}) for n, fields in enumerate(FIELDS)}
    assert llm_audit.flush(PATIENCE)

    for document in assert_readable(calls, ids):
        task = document["task"]
        for name in ("root_id", "parent_id", "group_id", "queue", "worker"):
            assert isinstance(task.get(name, ""), str), task
            assert len(task.get(name, "")) <= AtMost().characters, task
        assert type(task.get("retries", 0)) is int
        assert type(task.get("redelivered", False)) is bool


def test_ids_and_names_of_any_length_are_cut_and_found(calls: Calls, recording: Any) -> None:
    """They never move to GridFS, the note says so, and who has the whole one finds the call."""
    recording(strict=False)
    names = ("trace_id", "session_id", "user_id", "company_id", "parent_call_id", "review_id")
    names += ("task_id", "model", "provider")
    ids = {name: LLMLogger.start(messages=MESSAGES, **{name: GIANT}) for name in names}
    ids["tags"] = LLMLogger.start(messages=MESSAGES, tags=[GIANT, *map(str, range(200))])
    with audit_context(user_id=GIANT, tags=[GIANT], metadata={"m": 1}):
        ids["context"] = LLMLogger.start(messages=MESSAGES)
    for call_id in ids.values():
        LLMLogger.complete(call_id, response_message={"role": "assistant", "content": "said"})
    body = {"id": GIANT, "model": GIANT, "choices": [{"finish_reason": GIANT, "message": {}}]}
    ids["response"] = LLMLogger.start(messages=MESSAGES)
    LLMLogger.complete(ids["response"], response=body)
    assert llm_audit.flush(PATIENCE)
    assert_readable(calls, {name: str(call_id) for name, call_id in ids.items()})
    questions = SyncLLMCallRepository(calls)

    for name in names:
        document = calls.find_one({"_id": ids[name]})
        assert document is not None
        assert document[name] == shortened(GIANT)
        assert f"{name}: 300000 characters, cut to 512" in document["encoding_notes"]
        found = questions.list_by_filters(**{name: GIANT})
        assert ids[name] in [call.id for call in found], name
    ended = calls.find_one({"_id": ids["response"]})
    assert ended is not None
    for name in ("response_id", "response_model", "finish_reason"):
        assert ended[name] == shortened(GIANT), name
    tagged = calls.find_one({"_id": ids["tags"]})
    assert tagged is not None
    assert len(tagged["tags"]) == TAGS.items
    assert calls.database["fs.files"].count_documents({}) == 0


@pytest.mark.parametrize("given", [GIANT, "a\nb\x1b[31m", "\ud800", "x" * 20_000_000])
def test_an_id_of_a_call_from_outside_is_bounded(given: str, calls: Calls) -> None:
    """It is the same one whenever it is given, can be printed, and holds nobody up."""
    call_id = LLMLogger.complete(given, response_message={"role": "assistant", "content": "said"})
    LLMLogger.score(given, "good", value=True)
    assert llm_audit.flush(PATIENCE)

    (call,) = calls.find()
    assert call["_id"] == call_id
    assert len(call_id) <= 128
    assert call_id.isprintable()
    assert call["scores"][0]["name"] == "good"


RECORDS: dict[str, dict[str, Any]] = {  # as an old journal may hold them
    "two lists": {"company_id": ["a", "b"], "user_id": ["c", "d"]},
    "ids of any type": {"trace_id": {"$ne": 1}, "session_id": 5, "task_id": None, "pid": "x"},
    "a task that is none": {"task": ["a", "b"], "tags": "abc", "metadata": [1]},
    "lists in a task": {"task": {"name": ["a", "b"], "root_id": ["c", "d"]}, "user_id": ["e", "f"]},
    "too deep": {"metadata": {"a": None}},
    "a name of MongoDB's": {"request_params": {"$ref": 5, "$id": [1], "$db": {}}},
    "too large": {"user_id": GIANT, "messages": ["x" * 15_000_000]},
}


def deep(levels: int) -> Any:
    """Return what lies so deep in itself."""
    value: Any = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


def records(nonce: str) -> Iterator[tuple[str, bytearray]]:
    """Yield a start and an outcome for each of what an old journal may hold, and their calls."""
    for number, (name, fields) in enumerate(RECORDS.items()):
        said = {"schema_version": 1, "model": "m", "host": "h", "messages": MESSAGES, **fields}
        if name == "too deep":
            said["metadata"] = deep(190)
        call_id = f"call {number}"
        yield call_id, pack(START, call_id, 0, bson.encode({**said, "process_nonce": nonce}))
        key = outcome_key(Rank.ELSEWHERE, 1.8e9)
        ended = {"status": "SUCCESS", "tools_called": ["a", "b"], "outcome_key": key}
        ended["completed_at"] = datetime(2026, 5, 1, tzinfo=UTC)
        yield call_id, pack(OTHER, call_id, key, bson.encode(ended))


@pytest.mark.parametrize("whose", ["its own", "of a dead process"])
def test_a_start_whose_parts_no_index_takes_is_not_lost(
    whose: str, calls: Calls, recording: Any
) -> None:
    """Of a record that MongoDB refuses, what it takes arrives: who asked, and which model."""
    settings = recording(create_collection=True)
    if whose == "its own":
        for call_id, record in records(recorder().origin.process_nonce):
            recorder().journal.append(record, call_id)
    else:
        folder = create_process_folder(settings.spool_dir / settings.target())
        journal_of(folder.path, [record for _, record in records(folder.nonce)]).close()
        folder.release()
        assert llm_audit.recover(PATIENCE)
    good = LLMLogger.start(model="m", messages=MESSAGES)
    assert llm_audit.flush(PATIENCE)

    questions = SyncLLMCallRepository(calls)
    for number, name in enumerate(RECORDS):
        call = questions.get(f"call {number}")
        assert (call.model, call.host, call.status) == ("m", "h", "SUCCESS"), name
        may_be_odd = whose == "its own" and name not in {"two lists", "lists in a task", "too deep"}
        assert may_be_odd or call.unreadable == [], (name, call.unreadable)
    assert questions.get(good).messages == MESSAGES
    assert len(questions.list_by_filters(limit=None)) == len(RECORDS) + 1


def test_tags_are_bounded_in_whatever_order_they_come(calls: Calls) -> None:
    """Those of the start and those that are added are a hundred at most, the same ones always."""
    start = start_beside({"tags": [f"s{n}" for n in range(60)]}, {"status": "PENDING"})
    added = [
        said_later({"tags": [f"{name}{n}" for n in range(60)]}, 5, {"status": "PENDING"})
        for name in "ab"
    ]
    found = []
    for number, updates in enumerate(permutations([start, *added])):
        for update in updates:
            calls.update_one({"_id": number}, update, upsert=True)
        found.append(calls.find_one({"_id": number}, {"_id": 0}))

    assert all(call == found[0] for call in found)
    assert found[0] is not None
    assert len(found[0]["tags"]) == TAGS.items
    assert found[0]["encoding_notes"] == [TOO_MANY_TAGS]


def test_an_index_of_the_users_own_costs_an_end_no_more_than_its_lists(
    calls: Calls, recording: Any
) -> None:
    """No index takes two lists: of an end that names tools, of a call that has tags, the rest."""
    recording(strict=False)
    calls.create_index([("tags", 1), ("tools_called", 1)])
    tools = [
        {"id": n, "type": "function", "function": {"name": n, "arguments": "{}"}} for n in "ab"
    ]
    call_id = LLMLogger.start(model="m", messages=MESSAGES, tags=["t", "u"])
    LLMLogger.complete(call_id, response_message={"role": "assistant", "tool_calls": tools})
    assert llm_audit.flush(PATIENCE)

    (call,) = calls.find()
    assert (call["status"], call["tags"], call["messages"]) == ("SUCCESS", ["t", "u"], MESSAGES)
    assert "tools_called" not in call
    assert "tools_called" in " ".join(call["encoding_notes"])


def test_tags_that_never_end_hold_nobody_up(calls: Calls) -> None:
    """Of what gives tags for ever the first are kept."""
    call_id = LLMLogger.start(model="m", messages=MESSAGES, tags=map(str, count()))
    assert llm_audit.flush(PATIENCE)

    (call,) = calls.find()
    assert (call["_id"], call["tags"]) == (call_id, [str(n) for n in range(TAGS.items)])

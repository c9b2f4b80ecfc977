"""The questions, asked of recorded traffic: a program's calls as a session and a trace."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from random import Random
from typing import Any

import plain_answers
import pymongo
import pytest
from made_up_calls import START, Call, call_id
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter
from pymongo.collection import Collection
from recorded_traffic import TRAFFIC, recorded_calls, split
from waiting import PATIENCE

import llm_audit
from llm_audit import LLMLogger, audit_context, embedded, pipelines
from llm_audit.exports.fine_tuning import fine_tuning_example
from llm_audit.exports.openai_messages import NoExampleError
from llm_audit.providers.blocks import CALL, RESPONSE, TEXT
from llm_audit.providers.messages import Part, read_answers, read_messages, read_request
from llm_audit.queries.answers.conversation import build_conversation
from llm_audit.queries.answers.trace_tree import build_trace_tree

DATABASE = "test_traffic_answers"
AGENT_TRACES = TRAFFIC / "agent_traces_openai_agents.jsonl"

pytestmark = pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")


@pytest.fixture(scope="module")
def collection(mongod: embedded.Mongod) -> Iterator[Collection[Call]]:
    """Record every call of the traffic; what the provider refused has failed."""
    with tempfile.TemporaryDirectory() as spool:
        llm_audit.configure(mongo_url=mongod.url, database=DATABASE, spool_dir=spool, strict=True)
        for call in recorded_calls():
            start, request_params = split(call)
            with audit_context(session_id=call["group"], trace_id=call["group"]):
                one = LLMLogger.start(**start, **request_params)
            if call["error"]:
                LLMLogger.fail(one, str(call["error"]["message"]))
            elif isinstance(call["response"], dict):
                LLMLogger.complete(one, response=call["response"])
        assert llm_audit.flush(PATIENCE)
        llm_audit.shutdown()
    with pymongo.MongoClient[Call](mongod.url, tz_aware=True) as client:
        yield client[DATABASE]["llm_calls"]
        client.drop_database(DATABASE)


@pytest.fixture(scope="module")
def calls(collection: Collection[Call]) -> list[Call]:
    """Give all calls as they are stored, oldest first."""
    return list(collection.find().sort("_id"))


def by(name: str, rows: Iterable[Call]) -> dict[Any, Call]:
    return {row[name]: row for row in rows}


def test_summaries(collection: Collection[Call], calls: list[Call]) -> None:
    """Streams whose end was not recorded are INCOMPLETE, refusals have failed, sums add up."""
    tools = by("tool", collection.aggregate(pipelines.tool_usage()))
    costs = by("group", collection.aggregate(pipelines.cost_summary("model")))
    (failures,) = collection.aggregate(pipelines.failure_summary())
    usage = list(collection.aggregate(pipelines.usage_over_time("hour")))

    assert tools == plain_answers.tool_usage(calls)
    assert costs == plain_answers.cost_summary(calls, "model")
    assert failures == plain_answers.failure_summary(calls)
    assert usage == plain_answers.usage_over_time(calls, "hour")
    assert len(tools) > 50
    assert failures["failures"] > 30
    assert failures["incomplete"] > 100


def test_arguments_are_told_apart(collection: Collection[Call], calls: list[Call]) -> None:
    """A tool's calls with arguments that are no object are those that reading finds."""
    asked = [
        part
        for call in calls
        for part in read_messages(call.get("response_message"), role="assistant")
        if part.type == "tool_call" and part.name
    ]
    malformed = Counter(part.name for part in asked if isinstance(part.arguments, str | list))
    rows = by("tool", collection.aggregate(pipelines.tool_usage()))
    found = {name: row["malformed_calls"] for name, row in rows.items() if row["malformed_calls"]}

    assert len(asked) > 300
    assert found == {name: count for name, count in malformed.items() if name in rows}


def test_sessions_are_conversations(collection: Collection[Call], calls: list[Call]) -> None:
    """In every session each thing said is shown once it is new, and history is not repeated."""
    asked_parts = shown_parts = continued = 0
    for session_id, members in plain_answers.grouped(calls, lambda c: [c["session_id"]]).items():
        rows = list(collection.aggregate(pipelines.session(session_id)))
        turns = build_conversation(session_id, rows).turns
        assert [turn.id for turn in turns] == [call["_id"] for call in members]
        shown: set[str] = set()
        for call, turn in zip(members, turns, strict=True):
            said = [call.get("messages"), call.get("input")]
            parts = [part for one in said for part in read_messages(one)]
            asked = [key for part in parts if part.role != "system" and (key := part.key())]
            new = [key for part in turn.new if part.role != "system" and (key := part.key())]
            shown.update(new)
            assert set(asked) <= shown, call["_id"]
            shown.update(part.key() for part in turn.answer)
            asked_parts += len(asked)
            shown_parts += len(new)
            continued += turn.continues is not None
    assert continued > 200
    assert shown_parts < 0.8 * asked_parts


@pytest.mark.parametrize("text", ["weather", "Paris", "capital of", "```", "no such text at all"])
def test_search(collection: Collection[Call], calls: list[Call], text: str) -> None:
    """A text is found in every provider's shape."""
    expected = [call["_id"] for call in reversed(calls) if plain_answers.says(call, text)]
    found = collection.aggregate(pipelines.search(text, limit=None))

    assert [call["_id"] for call in found] == expected


def test_agent_traces(collection: Collection[Call]) -> None:
    """Real agents' spans hang under their parents; two traces have parents never recorded."""
    lot = Random(11)
    stored = collection.database["agents"]
    with_orphans = 0
    for line in AGENT_TRACES.read_text("utf-8").splitlines():
        trace = json.loads(line)
        starts = {s["id"]: datetime.fromisoformat(s["started_at"]) for s in trace["spans"]}
        shift = START - min(starts.values())
        ids = {span_id: call_id(start + shift, lot) for span_id, start in starts.items()}
        spans = [
            {
                "_id": ids[span["id"]],
                "status": "SUCCESS",
                "trace_id": trace["trace_id"],
                "parent_call_id": span["parent_id"] and ids.get(span["parent_id"], "lost"),
                "created_at": starts[span["id"]] + shift,
                "completed_at": datetime.fromisoformat(span["ended_at"]) + shift,
            }
            for span in trace["spans"]
        ]
        stored.insert_many(spans)
        tree = build_trace_tree(stored.aggregate(pipelines.trace_tree(trace["trace_id"])))
        orphans = {span["_id"] for span in spans if span["parent_call_id"] == "lost"}

        assert {branch.call.id for branch in tree.walk()} == set(ids.values())
        assert {root.call.id for root in tree.children if root.orphan} == orphans
        with_orphans += bool(orphans)
    assert with_orphans == 2


def said(parts: Iterable[Part]) -> tuple[dict[str, str], list[Any]]:
    """Return all texts by role, and in order what was asked of tools and given back."""
    texts: dict[str, str] = {}
    tools = []
    for part in parts:
        if part.type == TEXT:
            texts[part.role] = texts.get(part.role, "") + part.content
        elif part.type == CALL:
            tools.append((part.name, part.arguments or {}))
        elif part.type == RESPONSE:
            tools.append((RESPONSE, part.response))
    return texts, tools


def test_examples_to_fine_tune_with_say_the_same(calls: list[Call]) -> None:
    """A chat of any API becomes one that OpenAI's client takes, and nothing is missing in it."""
    of_openai = TypeAdapter(list[ChatCompletionMessageParam])
    examples, left_out = 0, Counter[str]()
    for call in calls:
        if call["status"] != "SUCCESS":
            continue
        try:
            example = json.loads(fine_tuning_example(call))
        except NoExampleError as error:
            left_out[str(error)] += 1
            continue
        examples += 1
        of_openai.validate_python(example["messages"])
        whole = [*read_request(call), *read_answers(call)[0]]
        assert said(read_messages(example["messages"])) == said(whole), call["_id"]
    assert examples > 500, left_out
    assert len(left_out) > 3

"""The user's redact rule: applied before anything is written."""

import copy
import json
import logging
import os
from collections import UserDict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from inspect import signature
from itertools import permutations
from pathlib import Path
from socket import gethostname
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from nowhere import NOWHERE
from pymongo.errors import BulkWriteError
from waiting import Calls, Recording, arrived

import llm_audit
from llm_audit import LLMLogger, audit_context
from llm_audit.call import CallFields
from llm_audit.journal.precedence import Rank, outcome_key
from llm_audit.journal.records import OWN, START, Record
from llm_audit.journal.statements.retention import Retention
from llm_audit.journal.statements.writes import writes_for
from llm_audit.settings import Settings

Fields = dict[str, Any]

SECRET = "4929-1234-5678-9012"
MESSAGES = [{"role": "user", "content": f"My card is {SECRET}", "parts": [{"deep": SECRET}]}]
ANSWER = {"role": "assistant", "content": f"I keep {SECRET} in mind"}


def mask(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(SECRET, "[card]")
    if isinstance(value, list):
        return [mask(item) for item in value]
    if isinstance(value, dict):
        return {key: mask(item) for key, item in value.items()}
    return value


def on_disk(settings: Settings) -> bytes:
    """Return everything that is in the spool."""
    return b"".join(path.read_bytes() for path in settings.spool_dir.rglob("*") if path.is_file())


def record(**given: Any) -> str:
    """Record a whole call with the secret in every place that the user fills."""
    call_id = LLMLogger.start(
        model="m",
        messages=MESSAGES,
        system_prompt=SECRET,
        input=[SECRET],
        tools=[{"name": SECRET}],
        tool_choice=SECRET,
        metadata={"card": SECRET},
        tags=[SECRET],
        stop=[SECRET],
        **given,
    )
    choices = [{"message": ANSWER, "finish_reason": "stop"}, {"message": ANSWER}]
    LLMLogger.complete(call_id, response={"choices": choices})
    return call_id


@pytest.fixture
def unreachable(recording: Recording) -> Iterator[Recording]:
    """Record with no MongoDB to ship to, so that the journal stays."""

    def configure(**changes: Any) -> Settings:
        return recording(mongo_url=NOWHERE, exit_timeout_seconds=0, **changes)

    yield configure
    llm_audit.shutdown(timeout_seconds=0)


def test_what_is_redacted_is_never_on_disk(unreachable: Recording) -> None:
    """The journal holds the calls as the rule leaves them, and nothing of what it took away."""
    settings = unreachable(redact=mask)
    record()
    LLMLogger.fail(LLMLogger.start(model="m", messages=MESSAGES), ValueError(SECRET))

    journal = on_disk(settings)
    assert journal.count(b"[card]") > 10
    assert SECRET.encode() not in journal


class _Quoting:
    """An object that quotes it."""

    def __repr__(self) -> str:
        return f"<{SECRET}>"


def test_a_rule_sees_every_field_and_every_kind_of_value(unreachable: Recording) -> None:
    """Each argument of a start and of an end, each id of a context, and what becomes text later."""
    deep: Any = SECRET
    for _ in range(150):
        deep = {"k": deep}
    odd = [
        *(_Quoting(), ValueError(SECRET), bson.Code(SECRET, {"s": SECRET})),
        *(bson.DBRef(SECRET, "1"), Path("/home") / SECRET, deep, {SECRET}, UserDict(a=SECRET)),
    ]
    of_start = [name for name in signature(LLMLogger.start).parameters if name != "request_params"]
    of_start.remove("call_type")
    of_end = [*signature(LLMLogger.complete).parameters][1:-1]
    of_context = ["trace_id", "session_id", "user_id", "company_id", "tags", "metadata"]
    lists = {"messages", "tools", "tags"}
    with_odd = ("messages", "input", "metadata", "response_message", "response", "error")
    for name in (*of_start, "stop", *of_end, *of_context):
        value = [SECRET, *odd] if name in with_odd else SECRET
        given = {name: {"k": value} if name == "metadata" else [value] if name in lists else value}
        settings = unreachable(redact=mask, strict=False)
        with audit_context(**given if name in of_context else {}):
            call_id = LLMLogger.start(**{"model": "m"} | (given if name in of_start else {}))
        LLMLogger.complete(call_id, **given if name in of_end else {})
        llm_audit.shutdown(0)
        assert SECRET.encode() not in on_disk(settings), (name, value)


def test_without_a_rule_it_would_be_on_disk(unreachable: Recording) -> None:
    """The test above can fail: unredacted, the secret is in the journal."""
    settings = unreachable()
    record()
    assert SECRET.encode() in on_disk(settings)


def test_what_the_rule_leaves_is_stored(recording: Recording, calls: Calls) -> None:
    """Start and outcome arrive as the rule returns them."""
    recording(redact=mask)
    call = arrived(calls, record())
    assert call["messages"] == mask(MESSAGES)
    assert call["response_message"] == mask(ANSWER)
    assert call["metadata"] == {"card": "[card]"}
    assert call["status"] == "SUCCESS"


def test_the_callers_own_messages_are_not_touched(recording: Recording) -> None:
    """A rule that works in place changes a copy, not what the audited code sends."""

    def in_place(fields: Fields) -> Fields:
        for message in fields.get("messages", []):
            message["content"] = "gone"
            message["parts"].clear()
        return fields

    recording(redact=in_place)
    before = copy.deepcopy(MESSAGES)
    record()
    assert before == MESSAGES


def failing(_: Fields) -> Fields:
    raise ValueError(SECRET)


def returning_nothing(fields: Fields) -> Fields:
    fields.clear()
    return None  # type: ignore[return-value]


def returning_other_types(fields: Fields) -> Fields:
    return fields | {"messages": SECRET, "response_message": SECRET}


@pytest.mark.parametrize("rule", [failing, returning_nothing, returning_other_types])
def test_a_failing_rule_loses_the_content_not_the_call(
    unreachable: Recording,
    recording: Recording,
    calls: Calls,
    caplog: pytest.LogCaptureFixture,
    rule: Any,
) -> None:
    """Where the rule fails, the call is recorded without texts and ids, and one line says so."""
    settings = unreachable(redact=rule)
    record()
    assert SECRET.encode() not in on_disk(settings)
    recording(redact=rule)
    with caplog.at_level(logging.INFO, logger="llm_audit"):
        call = arrived(calls, record(provider="openai"))

    assert (call["status"], call["pid"], call["host"]) == ("SUCCESS", os.getpid(), gethostname())
    assert call["latency_ms"] >= 0
    assert not {"messages", "metadata", "model", "trace_id", "finish_reason"} & call.keys()
    assert all("a rule of redact failed" in note for note in call["encoding_notes"])
    assert len([line for line in caplog.messages if "redact" in line]) == 1
    assert SECRET not in caplog.text


def test_a_rule_may_make_text_an_enum(recording: Recording, calls: Calls) -> None:
    """Its value is stored, not its name."""

    class Mask(str, Enum):  # noqa: UP042  (what older code has)
        HIDDEN = "[hidden]"

    recording(redact=lambda fields: fields | {"system_prompt": Mask.HIDDEN})
    call_id = LLMLogger.start(model="m", messages=[], system_prompt=SECRET)
    LLMLogger.complete(call_id)

    assert arrived(calls, call_id)["system_prompt"] == "[hidden]"


def test_a_rule_may_drop_fields(recording: Recording, calls: Calls) -> None:
    """Fields that the rule leaves out are not stored; those that make a record a record are."""
    recording(redact=lambda fields: {"model": fields.get("model")})
    call = arrived(calls, record())
    assert call["model"] == "m"
    assert call["status"] == "SUCCESS"
    assert call["outcome_key"]
    assert call["process_nonce"]
    assert "messages" not in call


@pytest.mark.parametrize("make", [str, Decimal], ids=["text", "Decimal"])
def test_numbers_that_a_rule_makes_something_else_are_numbers_again(
    make: Any, recording: Recording, calls: Calls
) -> None:
    """Sums add up what is stored, and whoever reads a call gets its fields by their types."""

    def rule(fields: Fields) -> Fields:
        numbers = ("total_tokens", "estimated_cost", "latency_ms", "temperature")
        return fields | {name: make(fields[name]) for name in numbers if name in fields}

    recording(redact=rule)
    call_id = LLMLogger.start(model="m", messages=[], temperature=0.5)
    LLMLogger.complete(call_id, tokens={"total_tokens": 7}, estimated_cost=0.25)
    call = arrived(calls, call_id)

    assert (call["total_tokens"], call["estimated_cost"], call["temperature"]) == (7, 0.25, 0.5)
    assert {type(call[name]) for name in ("estimated_cost", "latency_ms")} == {float}


def test_a_rule_may_set_the_same_fields_in_both_halves(recording: Recording, calls: Calls) -> None:
    """A rule that blanks every content field each time leaves the two halves disjoint."""
    blank = {"messages": [], "response_message": {}, "error_message": "[removed]", "_id": "x"}
    recording(redact=lambda fields: fields | blank)
    call_id = LLMLogger.start(model="m", messages=MESSAGES)
    LLMLogger.fail(call_id, ValueError(SECRET))
    call = arrived(calls, call_id)

    assert (call["_id"], call["status"]) == (call_id, "ERROR")
    assert (call["messages"], call["error_message"]) == ([], "[removed]")
    CallFields.model_validate(call)


def test_what_encoding_changed_is_still_noted(recording: Recording, calls: Calls) -> None:
    """Content that BSON cannot hold reaches the rule converted, and the call says so."""
    seen: list[Any] = []

    def look(fields: Fields) -> Fields:
        seen.append(fields.get("messages"))
        return fields

    recording(redact=look)
    call = arrived(calls, LLMLogger.start(model="m", messages=[{"n": 2**70, "s": {1}}]))
    assert seen == [[{"n": str(2**70), "s": [1]}]]
    assert call["messages"] == seen[0]
    assert [note.partition(":")[0] for note in call["encoding_notes"]] == ["messages"]


def test_media_is_redacted_before_it_moves(recording: Recording, calls: Calls) -> None:
    """Media that the rule removes goes neither to the spool nor to GridFS."""
    image = "QUJD" * 200_000
    recording(redact=lambda fields: fields | {"messages": []})
    call = arrived(calls, LLMLogger.start(model="m", messages=[{"image": image}]))
    assert call["messages"] == []
    assert calls.database["fs.files"].count_documents({}) == 0


def test_what_can_be_written_and_not_read_is_redacted_too(
    recording: Recording, calls: Calls
) -> None:
    """A date beyond the year 9999 costs neither the call nor its redaction."""
    recording(redact=mask)
    call_id = LLMLogger.start(model="m", metadata={"at": DatetimeMS(2**60), "card": SECRET})

    assert arrived(calls, call_id)["metadata"]["card"] == "[card]"


def test_a_call_says_how_often_what_was_replaced(recording: Recording, calls: Calls) -> None:
    """Its start and its end together, whether they arrive as one or one by one, also twice."""
    recording(redact="email", pending_after_seconds=0)
    message = {"role": "user", "content": "ada@example.com and grace@example.com"}
    for together in (True, False):
        call_id = LLMLogger.start(model="m", messages=[message], api_key="not-for-you")
        if not together:
            assert arrived(calls, call_id)["redacted"] == {"email": 2, "named_secret": 1}
        LLMLogger.complete(call_id, response_message=message)
        LLMLogger.annotate(call_id, metadata={"from": "ada@example.com"})
        call = arrived(calls, call_id)
        assert call["redacted"] == {"email": 4, "named_secret": 1}
        assert "example" not in str(call)
        assert "not-for-you" not in str(call)


def test_what_is_journaled_twice_is_counted_once(calls: Calls) -> None:
    """In any order: the owner of a call counts its start and its end together."""
    call_id = "0190f7a2-0000-7000-8000-000000000009"
    start = Record(START, call_id, 1, 0, bson.encode({"model": "m"}), (), (), {"email": 1})
    key = outcome_key(Rank.OWNER, 1)
    end = bson.encode({"status": "SUCCESS", "outcome_key": key})
    own = Record(OWN, call_id, 2, key, end, (), (), {"email": 3, "jwt": 1})
    writes = [*writes_for(start), *writes_for(own)]
    kept = Retention(None, lambda _: datetime.now(UTC))
    for order in permutations(writes):
        calls.delete_one({"_id": call_id})
        for write in (*order, *order):
            waiting = [write]
            while waiting:
                form = waiting.pop()
                try:
                    calls.bulk_write([form.statement(kept, "nonce")])
                except BulkWriteError:
                    waiting += form.after_duplicate()
        call = calls.find_one({"_id": call_id})
        assert call
        assert call["redacted"] == {"email": 3, "jwt": 1}


def test_an_answer_that_grows_as_it_is_redacted_is_kept(recording: Recording, calls: Calls) -> None:
    """Where it becomes too long to be read by whoever ships it, it is read before."""
    recording()
    call_id = LLMLogger.start(model="m", messages=[])
    content = json.dumps([{"password": "ab12"}] * 60_000)
    LLMLogger.complete(call_id, response_message={"role": "assistant", "content": content})
    call = arrived(calls, call_id)

    clean = [{"password": "[redacted:named_secret]"}] * 60_000
    assert json.loads(call["response_message"]["content"]) == clean
    assert call["redacted"] == {"named_secret": 60_000}
    assert "encoding_notes" not in call

"""How a call ended waits in the journal as it was told, and is read as if it had been at once."""

import uuid
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import bson
import pytest
from bson.binary import UuidRepresentation
from bson.codec_options import DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from journaled import journaled as records_in_journals
from openai.types.chat import ChatCompletion
from recordable import NO_UUID

from llm_audit import LLMLogger
from llm_audit.encoding.single_values import CODEC_OPTIONS
from llm_audit.errors import UsageError
from llm_audit.given import outcomes
from llm_audit.journal.records import ENDED, OUTCOME_MAX_BYTES, OWN, START, Record
from llm_audit.recorder import process
from llm_audit.settings import changed_settings, get_settings
from llm_audit.testing import RecordedCalls

MESSAGE = {"role": "assistant", "content": "Paris"}
CALLS = [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{"}}]
USAGE = {
    "prompt_tokens": 812,
    "completion_tokens": 73,
    "total_tokens": 885,
    "prompt_tokens_details": {"cached_tokens": 100, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 12, "accepted_prediction_tokens": None},
}
BODY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "stop"}],
    "usage": USAGE,
    "service_tier": "default",
}
ODD = [
    *(2**31, 2**62, 2.5, float("nan"), True, "x" * 100, b"\xff", (1, (2,)), [[]], {"a": {}}),
    *(
        uuid.UUID(int=7),
        bson.Binary(b"short", NO_UUID),
        DatetimeMS(2**62),
        bson.Int64(3),
        bson.MinKey(),
    ),
    *(bson.Regex("("), bson.Decimal128("NaN"), bson.Timestamp(1, 1), bson.ObjectId()),
]
ANY_VALUE = CODEC_OPTIONS.with_options(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
)
OF_THE_MOMENT = {"latency_ms", "completed_at", "outcome_key"}
Given = dict[str, Any]


def ways() -> Iterator[Given]:
    """Yield what may be given to `complete`."""
    yield {"response": BODY}
    yield {"response": ChatCompletion.model_validate(BODY)}
    yield {"response": SimpleNamespace(**BODY)}
    yield {"response": BODY, "tokens": USAGE, "finish_reason": "length", "status": "CANCELLED"}
    yield {"response": {**BODY, "choices": [{"message": {**MESSAGE, "tool_calls": CALLS}}] * 2}}
    yield {"response": {"error": {"type": "overloaded", "message": "later", "code": 529}}}
    yield {"response": {"data": [{"embedding": [0.5] * 8}], "model": "text-embedding-3-small"}}
    yield {"response": '{"answer": 42}', "estimated_cost": 0.25}
    yield {"response_message": MESSAGE, "tokens": SimpleNamespace(**USAGE)}
    yield {"response_message": MESSAGE, "tokens": {"prompt_tokens": -1, "words": 5}}
    yield {"estimated_cost": -1, "status": "no status", "response_message": "a text"}
    yield {}
    yield {"response": BODY, "response_message": MappingProxyType(MESSAGE)}
    for kind in (OrderedDict, bson.SON):
        choice = kind({"index": 0, "message": kind(MESSAGE), "finish_reason": "stop"})
        yield {"response": {**BODY, "choices": [choice], "usage": kind(USAGE)}}
        yield {"response": BODY, "response_message": kind(MESSAGE), "tokens": kind(USAGE)}
    yield {"tokens": Counter(prompt_tokens=3, completion_tokens=2)}
    for value in ODD:
        yield {"response": {**BODY, "id": value, "choices": [{"message": {"content": value}}]}}
        yield {"response": {"x": value}, "tokens": {**USAGE, "total_tokens": value, "y": value}}
        yield {"response_message": {"content": value}, "finish_reason": value, "status": value}
        yield {"time_to_first_token_ms": value, "estimated_cost": value, "response_id": value}


def journaled() -> dict[str, Record]:
    """Return the last record of each call in the journal."""
    return {record.id: record for record in records_in_journals()}


def recorded(given: list[Given], *, later: bool) -> list[tuple[dict[str, Any], Sequence[str]]]:
    """Record calls that end in these ways; return the fields of each end, and its notes."""
    LLMLogger.start()
    process.recorder().reads_ends_later = later
    ids = [LLMLogger.start(provider="openai", model="gpt-4o") for _ in given]
    for call_id, end in zip(ids, given, strict=True):
        LLMLogger.complete(call_id, **end)
    read = journaled()
    found = [read[call_id] for call_id in ids]
    assert {record.op for record in found} == {OWN}
    return [
        (
            {n: v for n, v in bson.decode(record.doc, ANY_VALUE).items() if n not in OF_THE_MOMENT},
            record.notes,
        )
        for record in found
    ]


def operations() -> list[tuple[str, int]]:
    """Return the op and the version of all that is on the disk."""
    files = Path(get_settings().spool_dir).rglob("*.bson")
    raw = [record for file in files for record in bson.decode_all(file.read_bytes(), ANY_VALUE)]
    return [(record["op"], record["v"]) for record in raw]


def with_types(value: Any) -> Any:
    """Return something that is equal only for the same values of the same types."""
    if isinstance(value, dict):
        return {name: with_types(item) for name, item in value.items()}
    if isinstance(value, list):
        return [with_types(item) for item in value]
    return type(value), repr(value)


@pytest.fixture(name="in_production")
def recorded_as_in_production(llm_audit_records: RecordedCalls) -> Iterator[RecordedCalls]:
    """Leave strict mode, which raises what is told here."""
    with changed_settings(strict=False):
        yield llm_audit_records


@pytest.mark.usefixtures("in_production")
def test_an_end_is_read_as_if_it_had_been_at_once() -> None:
    """Whatever is told of an end, the call holds the same, and the same whoever reads it again."""
    given = [*ways()]
    at_once, later = (recorded(given, later=later) for later in (False, True))

    for number, one in enumerate(given):
        assert with_types([*later[number]]) == with_types([*at_once[number]]), one
    assert operations().count((ENDED, 2)) > len(given) / 2


@pytest.mark.usefixtures("in_production")
def test_who_reads_an_end_that_holds_a_mistake_is_not_to_blame() -> None:
    """Strict mode raises where a mistake is made, not where the journal is read."""
    given = {"response": 5, "tokens": {"words": -1}, "status": "over", "estimated_cost": -1}
    with pytest.raises(UsageError), changed_settings(strict=True):
        LLMLogger.complete(LLMLogger.start(), **given)

    call_id = LLMLogger.start()
    LLMLogger.complete(call_id, **given)
    with changed_settings(strict=True):
        record = journaled()[call_id]
    assert bson.decode(record.doc)["status"] == "SUCCESS"
    assert record.notes


@pytest.mark.usefixtures("in_production")
def test_an_end_is_read_the_same_wherever_that_is() -> None:
    """Whose prices hold there, and which exception is handled there, says nothing of the call."""
    call_id = LLMLogger.start(provider="openai", model="gpt-4o")
    LLMLogger.complete(call_id, response=BODY, status="ERROR")
    here = journaled()[call_id]
    try:
        int("x")
    except ValueError:
        with changed_settings(prices=lambda _: 7.0):
            there = journaled()[call_id]

    assert here == there
    assert bson.decode(there.doc)["ended_by"] == "caller"


@pytest.mark.usefixtures("in_production")
def test_reading_an_end_changes_nothing_of_what_was_given() -> None:
    """A defaultdict has what it is asked for, also by the library of prices."""
    usage = {**USAGE, "prompt_tokens_details": defaultdict(int, audio_tokens=1)}
    for given in ({"tokens": usage}, {"response": {**BODY, "usage": usage}}):
        recorded([given], later=False)
        assert usage["prompt_tokens_details"] == {"audio_tokens": 1}


@pytest.mark.usefixtures("in_production")
def test_bytes_that_are_no_bson_keep_no_other_call_from_being_read() -> None:
    """They are kept as they were given."""
    text, number = bson.encode({"a": "xx"}), bson.encode({"a": 1})
    for bad in (text.replace(b"xx", b"\xff\xfe"), number.replace(b"\x10", b"\x77")):
        raw = RawBSONDocument(bad)
        ids = [LLMLogger.start() for _ in range(2)]
        LLMLogger.complete(ids[0], response={"x": raw}, tokens={"x": raw}, status="CANCELLED")
        LLMLogger.complete(ids[1], response=BODY)
        of_bad, of_good = (RawBSONDocument(journaled()[call_id].doc) for call_id in ids)
        assert (of_bad["status"], of_good["status"]) == ("CANCELLED", "SUCCESS")
        assert of_bad["outcome_key"]
        assert "encoding_notes" not in of_bad
    assert of_bad.raw.count(bad) == 2


@pytest.mark.usefixtures("in_production")
def test_what_is_read_of_an_end_fits_into_its_document() -> None:
    """Though the names of tools are said several times, and nothing can move to GridFS by then."""
    call = {"function": {"name": "a long name " * 400, "arguments": "{"}}
    most = OUTCOME_MAX_BYTES // len(bson.encode(call))
    for times in (most // 3, most // 2, most):
        message = {"role": "assistant", "content": None, "tool_calls": [call] * times}
        LLMLogger.complete(LLMLogger.start(), response={"choices": [{"message": message}]})
    sizes = [len(record.doc) for record in journaled().values()]
    assert max(sizes) <= OUTCOME_MAX_BYTES


@pytest.mark.usefixtures("in_production")
def test_nothing_is_journaled_that_is_not_stored() -> None:
    """LiteLLM keeps the address and the headers of its request beside the response."""
    response = ChatCompletion.model_validate(BODY)
    secret = {"api_base": "sesame", "additional_headers": {"set-cookie": "sesame"}}
    hidden = {"response_cost": 0.25, "optional_params": {"api_key": "sesame"}, **secret}
    object.__setattr__(response, "__pydantic_private__", {"_hidden_params": hidden})
    call_id = LLMLogger.start()
    LLMLogger.complete(call_id, response=response)

    files = Path(get_settings().spool_dir).rglob("*.bson")
    assert b"sesame" not in b"".join(file.read_bytes() for file in files)
    assert bson.decode(journaled()[call_id].doc)["estimated_cost"] == 0.25


def test_an_end_that_cannot_be_read_is_kept_whole(
    in_production: RecordedCalls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours in reading costs the fields, not what they would have been read from."""
    monkeypatch.setattr(outcomes, "fields_told", lambda *_: 1 / 0)
    LLMLogger.complete(LLMLogger.start(), response=BODY, response_message=MESSAGE)

    (call,) = in_production
    assert (call.status, call.response_message) == ("SUCCESS", MESSAGE)
    assert call.response_extra == {"llm_audit": {"given": {"response": BODY}}}
    assert "ZeroDivisionError" in call.encoding_notes[0]
    assert caplog.text.count("could not be read") == 1


@pytest.mark.parametrize("setting", ["redact", "prices"])
def test_a_function_of_the_user_sees_the_end_before_the_disk_does(
    in_production: RecordedCalls, setting: str
) -> None:
    """A rule leaves nothing on the disk that it takes out; prices are known only here."""
    functions: dict[str, Callable[[Any], Any]] = {
        "redact": lambda fields: fields | {"response_message": {}},
        "prices": lambda _: 7.0,
    }
    with changed_settings(**{setting: functions[setting]}):
        LLMLogger.complete(LLMLogger.start(provider="p", model="m"), response=BODY)
        on_disk = b"".join(
            file.read_bytes() for file in Path(get_settings().spool_dir).rglob("*.bson")
        )

    (call,) = in_production
    assert operations() == [(START, 1), (OWN, 1)]
    assert (b"Paris" in on_disk) == (setting == "prices")
    assert (call.estimated_cost == 7) == (setting == "prices")

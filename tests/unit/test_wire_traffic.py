"""What was on the wire of real calls is read as what it was, whole or broken off."""

import gzip
import random
import zlib
from collections import Counter
from collections.abc import Iterator
from inspect import signature
from typing import Any

import bson
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk
from patience import LONG
from recorded_traffic import TRAFFIC
from wire_facts import PIECES, facts_of, pieces_of
from wire_traffic import Exchange, exchanges

from llm_audit import request_of, response_of
from llm_audit.encoding.encode import encode
from llm_audit.given import received
from llm_audit.providers.response import read_response
from llm_audit.providers.shapes import ANY, SHAPE_BY_API, shape_of
from llm_audit.wire.answers import Answer, read_answer
from llm_audit.wire.requests import read_request

pytestmark = pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")
NOBODY = (None, None)  # was asked, as for the price
CUTS = 40 if LONG else 4  # of each stream
# Of what was recorded, these call no model: they count, or make what a later call refers to.
NO_CALLS = {
    ("DELETE", "cachedContents"): 1,
    ("GET", "assistants"): 2,
    ("POST", "assistants"): 7,
    ("POST", "cachedContents"): 1,
    ("POST", "count-tokens"): 6,
    ("POST", "count_tokens"): 5,
    ("POST", "countTokens"): 4,
    ("POST", "input_tokens"): 2,
    ("POST", "messages"): 7,  # put into a thread
    ("POST", "threads"): 7,
}


@pytest.fixture(scope="module")
def recorded() -> list[Exchange]:
    return list(exchanges())


@pytest.fixture(scope="module")
def streams(recorded: list[Exchange]) -> list[tuple[Exchange, Answer]]:
    return [(one, read(one)) for one in recorded if one.is_stream and one.asked]


def read(one: Exchange, body: bytes | None = None) -> Answer:
    assert one.asked is not None
    return read_answer(one.asked, one.answer if body is None else body, one.content_type)


def test_every_call_of_a_model_is_found(recorded: list[Exchange]) -> None:
    """What is none is listed with what it is; a result that is fetched later is told apart."""
    missed = Counter(
        (one.call["method"], last_word(one.call["endpoint"])) for one in recorded if not one.asked
    )
    results = [one for one in recorded if one.asked and one.asked.result_of]

    assert missed == NO_CALLS
    assert {one.call["method"] for one in results} == {"GET"}
    assert len(results) == 19
    assert all(str(one.asked.result_of) in one.call["url"] for one in results if one.asked)


def last_word(endpoint: str) -> str:
    parts = [part for part in endpoint.replace(":", "/").split("/") if "{" not in part]
    return parts[-1]


def test_every_request_is_given_back(recorded: list[Exchange]) -> None:
    """From the fields of its document, through BSON, a request is equal to what was sent."""
    for one in recorded:
        if one.asked and not one.asked.result_of and one.request:
            fields = read_request(one.asked, one.request, "application/json")
            endpoint = one.call["url"].partition("?")[0]
            encoded = encode({**fields, "endpoint": endpoint}, 2**30, 2**30)
            document = bson.decode(encoded.raw)
            document["encoding_notes"] = [*fields.get("encoding_notes", ()), *encoded.notes]
            sent = one.call["request"]
            assert request_of(document) == (one.call["request_text"] if sent is None else sent), (
                one.call["id"]
            )


def test_what_a_call_asks_is_in_its_fields(recorded: list[Exchange]) -> None:
    """What is said to a model is in messages or input; its name, tools and temperature, too."""
    for one in recorded:
        body = one.call["request"]
        if body and one.asked and not one.asked.result_of and one.asked.api.api != "openai.runs":
            fields = read_request(one.asked, one.request)
            assert {"messages", "input"} & fields.keys() or body["input"] == [], one.call["id"]
            assert (
                "model" in fields or "/v1/predictions" in one.call["url"] or (not one.call["model"])
            ), one.call["id"]
            for field, name in (("tools", "tools"), ("tools", "functions"), ("temperature",) * 2):
                if isinstance(given := body.get(name), list | float) and given:
                    assert fields[field] == given, (one.call["id"], name)


def test_every_answer_in_one_piece_is_as_it_came(recorded: list[Exchange]) -> None:
    """JSON of any status; and its shape is that of the row."""
    for one in recorded:
        if one.asked and not one.is_stream and one.call["response"] is not None:
            answer = read(one)
            assert answer == Answer(one.call["response"], complete=True, finished=True)
            shape = shape_of(answer.response)
            row = one.asked.api.api
            if one.call["status"] < 400 and row in SHAPE_BY_API and shape is not ANY:
                assert shape.api == row, one.call["id"]


def test_every_answer_is_given_back_through_mongodb(recorded: list[Exchange]) -> None:
    """From its document a response is equal to what came, numbers of any size included."""
    for one in recorded:
        if one.asked and (response := read(one).response) and isinstance(response, dict):
            encoded = encode(read_response(response, embedding_vectors=True), 2**30, 2**30)
            document = bson.decode(encoded.raw) | {"encoding_notes": list(encoded.notes)}
            assert response_of(document) == response, one.call["id"]


def test_every_stream_is_whole(streams: list[tuple[Exchange, Answer]]) -> None:
    """It has the mark of its end; three of Writer's have none, two of Groq's end with an error."""
    ends = Counter((answer.complete, answer.finished, bool(answer.error)) for _, answer in streams)

    assert len(streams) == 115
    assert ends == {
        (True, True, False): 108,
        (True, True, True): 1,  # OpenRouter
        (False, True, False): 4,
        (False, False, True): 2,
    }
    assert not any(answer.notes for _, answer in streams)


def test_every_stream_says_what_its_pieces_said(streams: list[tuple[Exchange, Answer]]) -> None:
    """Put together by other means, each says the same."""
    for one, answer in streams:
        assert one.asked is not None
        said = list(facts_of(one, answer.response))
        assert said == list(PIECES[one.asked.api.api](pieces_of(one))), one.call["id"]
        assert any(said), one.call["id"]


def test_a_stream_is_recorded_like_an_answer_in_one_piece(
    streams: list[tuple[Exchange, Answer]],
) -> None:
    """Its API is known, and it has a message, tool calls or an error."""
    for one, answer in streams:
        fields = read_response(answer.response)
        assert "api" in fields, one.call["id"]
        assert fields.keys() & {"response_message", "error_message"} or (
            fields["api"] == "openai.runs"
        ), one.call["id"]


def test_what_a_provider_refused_says_why(recorded: list[Exchange]) -> None:
    """Of every API's error the message is told, and the status that came with it."""
    refused = [one for one in recorded if one.asked and one.call["status"] >= 400]
    for one in refused:
        assert one.asked is not None
        told = {"api": one.asked.api.api, "status": one.call["status"]}
        fields = received.fields_of({**told, "content_type": one.content_type}, one.answer, NOBODY)
        assert fields["http_status"] == one.call["status"], one.call["id"]
        assert fields["status"] == "ERROR", one.call["id"]
        assert fields["error_message"] in list(texts(one.call["response"])), one.call["id"]
    assert len(refused) > 30


def test_openais_client_puts_the_same_together(streams: list[tuple[Exchange, Answer]]) -> None:
    """Where it can: what it leaves in pieces, or joins that is no text, is left out."""
    compared = 0
    for one, answer in streams:
        assert one.asked is not None
        if one.asked.api.api != "openai.chat":
            continue
        state: Any = ChatCompletionStreamState()
        try:
            for piece in pieces_of(one):
                if piece.get("choices") is not None and "error" not in piece:
                    state.handle_chunk(ChatCompletionChunk.construct(**piece))
        except (
            AssertionError,
            AttributeError,
            KeyError,
            RuntimeError,
            TypeError,
            ValueError,
            UserWarning,
        ):
            continue  # pieces that its client cannot take, such as lists for texts
        whole = state.current_completion_snapshot.to_dict()
        for theirs, ours in zip(whole["choices"], answer.response["choices"], strict=True):
            assert as_theirs(ours["message"]) == as_theirs(theirs["message"]), one.call["id"]
            assert ours.get("finish_reason") == theirs.get("finish_reason")
        compared += 1
    assert compared >= 30


def as_theirs(message: dict[str, Any]) -> dict[str, Any]:
    """Return what both say alike: OpenAI's client joins roles and formats, and keeps indexes."""
    said = {
        name: message.get(name) or None
        for name in ("content", "refusal", "reasoning", "reasoning_content", "tool_calls")
    }
    calls = said["tool_calls"] or []
    said["tool_calls"] = [
        (call.get("id"), call["function"].get("name"), call["function"].get("arguments"))
        for call in calls
    ]
    return said


def test_anthropics_client_puts_the_same_together(
    streams: list[tuple[Exchange, Answer]],
) -> None:
    """What its client makes of a message's events is the message."""
    taken = signature(accumulate_event).parameters  # anthropic 1 keeps unfinished JSON elsewhere
    for one, answer in streams:
        assert one.asked is not None
        if one.asked.api.api != "anthropic.messages":
            continue
        snapshot: Any = None
        beside: Any = {"json_bufs": {}} if "json_bufs" in taken else {}
        for piece in pieces_of(one):
            if piece["type"] != "ping":
                snapshot = accumulate_event(event=piece, current_snapshot=snapshot, **beside)
        theirs = snapshot.to_dict(warnings=False)
        ours = answer.response
        assert ours["content"] == [
            {k: v for k, v in block.items() if k != "parsed_output"} for block in theirs["content"]
        ]
        for name in ("id", "model", "role", "stop_reason", "stop_sequence", "type"):
            assert ours[name] == theirs[name]
        assert (
            ours["usage"].items()
            >= {name: value for name, value in theirs["usage"].items() if value is not None}.items()
        )


def test_a_stream_broken_off_anywhere(streams: list[tuple[Exchange, Answer]]) -> None:
    """What came of it is read, compressed or not; its texts are beginnings of the whole's."""
    drawn = random.Random(14)
    for one, answer in streams:
        whole = dict(texts_in(answer.response))
        for _ in range(CUTS):
            cut = drawn.randrange(len(one.answer))
            some = read(one, one.answer[:cut])
            assert not some.complete or answer.complete, (one.call["id"], cut)
            for path, text in texts_in(some.response):
                full = whole.get(path)
                if path and path[-1] in GROWING and isinstance(full, str):
                    assert full.startswith(text), (one.call["id"], cut, path)
        packed = gzip.compress(one.answer, 1)
        packed = packed[: drawn.randrange(len(packed))]
        unpacked = zlib.decompressobj(31).decompress(packed)
        assert one.asked is not None
        some = read_answer(one.asked, packed, one.content_type, "gzip")
        assert some == read(one, unpacked), one.call["id"]


def test_responses_without_their_last_event(streams: list[tuple[Exchange, Answer]]) -> None:
    """Put together from its pieces, the output is what the last event would have had.

    OpenRouter gives some items another id in it, and OpenAI encrypts reasoning anew.
    """
    compared = 0
    for one, answer in streams:
        assert one.asked is not None
        if one.asked.api.api == "openai.responses":
            last = one.answer.rindex(b"response.completed")
            cut = read(one, one.answer[: one.answer.rindex(b"\n\n", 0, last)])
            assert not cut.complete
            whole = answer.response["output"]
            assert [said(item) for item in cut.response["output"]] == [said(item) for item in whole]
            compared += 1
    assert compared == 28


def said(item: dict[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in item if name not in {"id", "encrypted_content"}}


GROWING = {"content", "text", "arguments", "reasoning", "reasoning_content", "thinking"}
GROWING |= {"refusal", "generated_text", "outputText", "response", "value", "tool_plan"}


def texts(value: Any) -> Iterator[str]:
    yield from (text for _, text in texts_in(value))


def texts_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from texts_in(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from texts_in(inner, (*path, number))

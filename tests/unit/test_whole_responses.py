"""A response is kept whole: from its document it can be put together again, equal."""

from copy import deepcopy
from typing import Any

import bson
import pytest
from outcome_fields import response_fields
from properties import given, st
from recorded_traffic import TRAFFIC, recorded_calls

from llm_audit import response_of
from llm_audit.providers.response import read_response
from llm_audit.providers.shapes import ANY, SHAPES

ROWS = [shape for shape in SHAPES if shape.known_by]
TEXTS = st.text(max_size=5)
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS | st.just(1.5)
KEYS = sorted(
    {name for column in ("known_by", "message", "finish_reason", "id", "model", "usage")
     for path in getattr(ANY, column) for name in path.split(".") if name}
    | {path.split(".")[0] for row in ROWS for path in row.known_by}
    | {*ANY.contents, *ANY.texts, *ANY.calls, *ANY.answers}
    | {"created", "logprobs", "index", "role", "type"}
)  # fmt: skip
WILD = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)
UNKNOWN = st.dictionaries(st.sampled_from(["created", "logprobs", "x", "index"]), WILD, max_size=2)
MESSAGES = st.one_of(
    st.dictionaries(st.sampled_from([*ANY.contents, *ANY.texts, *ANY.calls, "role"]), WILD),
    st.lists(st.dictionaries(st.sampled_from(["type", "text"]), TEXTS, min_size=1), max_size=2),
    WILD,
)


def set_at(body: dict[str, Any], path: str, value: object) -> None:
    """Put a value at a path of the table, where what leads to it is missing with that."""
    *way, last = path.split(".")
    for name in way:
        inner = body.setdefault(name, {})
        body = inner[0] if isinstance(inner, list) and inner else inner
        if not isinstance(body, dict):
            return
    body[last] = value


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Make the body of a response by a row of the table, with more and with less than there is."""
    shape = draw(st.sampled_from(ROWS))
    body = draw(UNKNOWN)
    answer = body
    if shape.answers:
        answers = draw(st.lists(UNKNOWN, max_size=3))
        body[shape.answers[0]] = answers
        answer = answers[0] if answers else body
    for path in filter(None, shape.message):
        set_at(answer, path, draw(MESSAGES))
    for name in (*shape.texts, *shape.calls):
        if not shape.message and draw(st.booleans()):
            answer[name] = draw(TEXTS | WILD)
    for column in (shape.finish_reason, shape.id, shape.model, shape.usage):
        for path in column:
            if draw(st.booleans()):
                set_at(body, path, draw(TEXTS | WILD))
    mark, _, text = draw(st.sampled_from(shape.known_by)).partition("=")
    if text or mark not in body:
        set_at(body, mark, text or draw(TEXTS))
    return body


SAID = st.fixed_dictionaries(
    {},
    optional={
        "response_message": st.dictionaries(st.sampled_from(["role", "content", "text"]), TEXTS),
        "finish_reason": TEXTS.filter(bool),
        "response_model": TEXTS.filter(bool),
        "usage": st.dictionaries(st.sampled_from(["total_tokens", "x"]), st.integers(0, 5)),
    },
)


@given(bodies(), SAID)
def test_any_body_can_be_put_together_again(body: dict[str, Any], said: dict[str, Any]) -> None:
    """Whatever a provider sends, and whatever the caller says instead, no part of it is lost."""
    before = deepcopy(body)

    for stands in ({}, said):
        found = read_response(body, stands, embedding_vectors=True)
        assert found.items() >= stands.items()
        assert (response_of(found) or {}) == body
    assert body == before


@given(WILD.filter(lambda value: isinstance(value, dict)))
def test_so_can_any_json(body: dict[str, Any]) -> None:
    """So can a body of no API at all."""
    found = read_response(body, embedding_vectors=True)
    assert (response_of(found) or {}) == body


@pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")
def test_what_was_recorded_is_put_in_its_own_fields() -> None:
    """What a real provider sends is stored once: each field is put back where it came from."""
    for call in recorded_calls():
        if isinstance(call["response"], dict):
            found = read_response(call["response"], embedding_vectors=True)
            assert (response_of(found) or {}) == call["response"], call["id"]
            assert "llm_audit" not in found.get("response_extra", {}), call["id"]


def test_only_what_has_no_field_of_its_own_is_in_the_extra() -> None:
    """The structure stays, and what is stored elsewhere is gone from it."""
    first = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    second = {"index": 1, "message": {"role": "assistant", "content": "b"}, "finish_reason": "stop"}
    logprobs = {"content": [{"token": "a", "logprob": -0.1}]}
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "usage": None}
    body |= {"choices": [{**first, "logprobs": logprobs}, second], "system_fingerprint": "fp"}

    found = read_response(body)

    assert found["api"] == "openai.chat"
    assert found["response_extra"] == {
        "object": "chat.completion",
        "created": 1,
        "usage": None,
        "choices": [{"index": 0, "logprobs": logprobs}],
        "system_fingerprint": "fp",
    }


def test_what_the_response_says_otherwise_is_kept() -> None:
    """Where the caller knows better, the response's own word is in the extra."""
    body = {"id": "c1", "choices": [{"message": {"role": "assistant", "content": "a"}}]}
    said = {"response_id": "mine", "finish_reason": "stop"}
    found = read_response(body, said)

    assert found["response_extra"] == {
        "id": "c1",
        "choices": [{}],
        "llm_audit": {"elsewhere": ["finish_reason"]},
    }
    assert response_of(found) == body


@pytest.mark.parametrize(
    ("body", "vectors", "rest"),
    [
        (
            {"data": [{"index": 0, "embedding": [0.5] * 3}, {"index": 1, "embedding": [0.5] * 3}]},
            {"count": 2, "dimensions": 3},
            {"data": [{"index": 0}, {"index": 1}]},
        ),
        ({"data": [{"embedding": "AAAAAAAAgD8="}]}, {"count": 1, "dimensions": 2}, {"data": [{}]}),
        (
            {"embeddings": [{"values": [1, 2], "statistics": {"token_count": 4}}]},
            {"count": 1, "dimensions": 2},
            {"embeddings": [{"statistics": {"token_count": 4}}]},
        ),
        (
            {"embedding": [0.5] * 4, "embeddingsByType": {"float": [0.5] * 4}, "n": 1},
            {"count": 2, "dimensions": 4},
            {"n": 1},
        ),
        (
            {
                "response_type": "embeddings_by_type",
                "embeddings": {"float": [[0.5], [0.25]], "int8": [[1], [2]]},
            },
            {"count": 4, "dimensions": 1},
            {"response_type": "embeddings_by_type"},
        ),
    ],
    ids=["openai", "base64", "google", "titan", "cohere"],
)
def test_vectors_are_counted_and_left_out(
    body: dict[str, Any], vectors: dict[str, int], rest: dict[str, Any]
) -> None:
    """The vectors of embeddings stay out, unless a setting keeps them; how many is told."""
    assert read_response(body)["response_extra"] == {**rest, "llm_audit": {"vectors": vectors}}
    kept = read_response(body, embedding_vectors=True)
    assert response_of(kept) == body
    assert "llm_audit" not in kept["response_extra"]


def test_objects_are_told_by_what_the_api_sent() -> None:
    """An SDK's object gives what its API sent, and no vector of it is dumped."""
    from openai.types import CreateEmbeddingResponse
    from openai.types.chat import ChatCompletion

    body: dict[str, Any] = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m"}
    message = {"role": "assistant", "content": "a", "reasoning": "unknown to the SDK"}
    body["choices"] = [{"index": 0, "finish_reason": "stop", "message": message, "logprobs": None}]
    body["usage"] = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 0.5}
    assert response_of(read_response(ChatCompletion.construct(**body))) == body

    data = [{"object": "embedding", "index": n, "embedding": [0.5, 0.25]} for n in range(2)]
    listed = {"object": "list", "model": "e", "data": data, "usage": {"prompt_tokens": 1}}
    found = read_response(CreateEmbeddingResponse.construct(**listed))
    assert found["response_extra"]["llm_audit"]["vectors"] == {"count": 2, "dimensions": 2}
    assert found["response_extra"]["data"] == [
        {"object": "embedding", "index": n} for n in range(2)
    ]
    assert found["api"] == "openai.embeddings"


def test_a_usage_is_stored_as_reported() -> None:
    """The keys that nobody knows are kept, whether it came in a response or by itself."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0.1, "x": {}}
    body = {"choices": [{"message": {"role": "assistant", "content": "a"}}], "usage": usage}
    asked = ("openai", "gpt-4o")

    assert response_fields(body, {}, None, None, asked)["usage"] == usage
    assert response_fields(None, {}, usage, None, asked)["usage"] == usage
    both = response_fields(body, {}, {"total_tokens": 9}, None, asked)
    assert both["usage"] == {"total_tokens": 9}
    assert both["response_extra"]["usage"] == usage


def test_a_document_says_it_as_well() -> None:
    """What was encoded and read back is put together alike; without a response there is none."""
    body = {"choices": [{"message": {"role": "assistant", "content": "a"}}], "created": 2**40}
    document = bson.decode(bson.encode(read_response(body)))

    assert response_of(document) == body
    assert response_of({"_id": "1", "status": "SUCCESS"}) is None
    assert response_of({"response_message": {"role": "assistant", "content": "a"}}) is None

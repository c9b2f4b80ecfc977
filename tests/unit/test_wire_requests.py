"""The body of a request becomes fields, and the fields the body again, whatever was in it."""

import json
import math
import re
from typing import Any

import bson
from properties import given, st

from llm_audit import request_of
from llm_audit.call import CallFields
from llm_audit.encoding.encode import encode
from llm_audit.wire.api import Api
from llm_audit.wire.apis import ROWS, Asked, confirmed, matched
from llm_audit.wire.requests import read_request

FIELDS = ("model", "messages", "input", "system_prompt", "tools", "tool_choice", "temperature")
FIELDS += ("max_tokens",)
INTEGERS = st.integers(-(2**80), 2**80)
LEAVES = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | st.text(max_size=5)
KEYS = st.sampled_from(
    ["$ref", "$id", "$db", "a.b", "", "llm", "stream", "x", "role", "content", "0"]
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": ANYTHING}))
PATHS = [
    (row, re.sub(r"\{model:.*\}", "@some.model", path))
    for row in ROWS
    for path in (*row.paths, *row.stream_paths)
]


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, Api, dict[str, Any]]:
    """Make a path and a body by a row of the table, with more, with less and with other types."""
    row, path = draw(st.sampled_from(PATHS))
    body = draw(st.dictionaries(KEYS, ANYTHING, max_size=3))
    for keys in draw(st.sampled_from(row.needs or ("",))).split():
        body[keys] = draw(MESSAGES if keys == "messages" else ANYTHING)
    for field in FIELDS:
        for place in getattr(row, field):
            if draw(st.booleans()):
                put(body, place, draw(ANYTHING | MESSAGES | st.integers(0, 9) | st.just(0.5)))
    return path.replace("{model}", "some-model").replace("{id}", "id_1"), row, body


def put(body: dict[str, Any], path: str, value: object) -> None:
    *way, name = path.split(".")
    for step in way:
        inner = body.setdefault(step, {})
        if not isinstance(inner, dict):
            return
        body = inner
    body[name] = value


def stored(fields: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the document of a call, as MongoDB has it."""
    encoded = encode({**fields, "endpoint": f"https://host{path}"}, 2**30, 2**30)
    notes = [*fields.get("encoding_notes", ()), *encoded.notes]
    return {**bson.decode(encoded.raw), "encoding_notes": notes}


@given(requests())
def test_any_request_is_given_back(request: tuple[str, Api, dict[str, Any]]) -> None:
    """From the document, and from the model that it is read as, the body is what was sent."""
    path, row, body = request
    sent = json.dumps(body).encode()
    said = matched("POST", path)
    assert said is not None
    said = confirmed(said, "", sent) or said._replace(rows=(row,), is_first=row is said.api)
    document = stored(read_request(said, sent), path)

    # of numbers that MongoDB cannot hold the first 50 are named
    assert request_of(document) == body or len(document["encoding_notes"]) > 50
    as_model = CallFields.model_validate({**document, "status": "PENDING"})
    assert request_of({**as_model.model_dump(), "endpoint": document["endpoint"]}) == body


@given(requests())
def test_what_is_put_into_a_field_is_of_its_type(request: tuple[str, Api, dict[str, Any]]) -> None:
    """Of another type, or empty, it stays where it was."""
    path, row, body = request
    said = matched("POST", path)
    assert said is not None
    fields = read_request(said._replace(rows=(row,)), json.dumps(body).encode())

    for name, kinds in (
        *(("messages", list), ("tools", list), ("model", str)),
        *(("temperature", (int, float)), ("max_tokens", int), ("request_params", dict)),
    ):
        assert name not in fields or type(fields[name]) in (
            kinds if name == "temperature" else [kinds]
        )
    assert all(fields[name] for name in fields if name not in {"temperature", "max_tokens"})
    assert -(2**63) <= fields.get("max_tokens", 0) < 2**63


def read(path: str, body: bytes, content_type: str | None = None) -> dict[str, Any]:
    said = matched("POST", path)
    assert said is not None
    return read_request(confirmed(said, "", body) or said, body, content_type)


def test_what_the_fields_are_called_elsewhere() -> None:
    """Each API's own names lead to the same fields, and what is left says what was left."""
    for path, body, fields in (
        (
            "/v1/chat/completions",
            {"model": "m", "messages": [1], "max_completion_tokens": 5, "stop": "x"},
            {
                "call_type": "CHAT",
                "model": "m",
                "messages": [1],
                "max_tokens": 5,
                "request_params": {"max_completion_tokens": 5, "stop": "x"},
            },
        ),
        (
            "/v1/chat/completions",
            {"messages": [1], "functions": [{"name": "f"}], "temperature": 0},
            {
                "call_type": "CHAT",
                "messages": [1],
                "tools": [{"name": "f"}],
                "temperature": 0,
                "request_params": {"llm_audit": {"moved": {"tools": "functions"}}},
            },
        ),
        (
            "/openai/deployments/mine/chat/completions",
            {"model": "gpt-4o", "messages": [1]},
            {
                "call_type": "CHAT",
                "messages": [1],
                "model": "gpt-4o",
                "request_params": {"model": "gpt-4o"},
            },
        ),
        (
            "/v1beta/models/g:generateContent",
            {
                "contents": [1],
                "systemInstruction": {"parts": [2]},
                "generationConfig": {"temperature": 0.5, "maxOutputTokens": 9, "topK": 1},
            },
            {
                "call_type": "CHAT",
                "model": "g",
                "messages": [1],
                "temperature": 0.5,
                "system_prompt": {"parts": [2]},
                "max_tokens": 9,
                "request_params": {"generationConfig": {"topK": 1}},
            },
        ),
        (
            "/model/titan/invoke",
            {"inputText": "Hi", "textGenerationConfig": {"maxTokenCount": 5}},
            {
                "call_type": "CHAT",
                "model": "titan",
                "input": "Hi",
                "max_tokens": 5,
                "request_params": {
                    "textGenerationConfig": {"maxTokenCount": 5},
                    "llm_audit": {"api": "bedrock.invoke", "moved": {"input": "inputText"}},
                },
            },
        ),
    ):
        found = read(path, json.dumps(body).encode())
        assert found == fields, path
        assert request_of({**found, "endpoint": f"https://host{path}"}) == body


def test_bodies_that_are_no_objects() -> None:
    """They are kept, and given back as they are; a key of our name is the user's."""
    for sent, body in (
        (b"[1, 2]", [1, 2]),
        (b'"text"', "text"),
        (b"null", None),
        (b"not JSON", "not JSON"),
        (b'{"messages": [', '{"messages": ['),
        (b"\xff\xfe\xfa", "\\xff\\xfe\\xfa"),
        (b'{"llm_audit": {"moved": {"tools": "x"}}}', {"llm_audit": {"moved": {"tools": "x"}}}),
        (b"\xef\xbb\xbf{}", {}),
        (b"", {}),
        ('{"a": 1}'.encode("utf-16"), {"a": 1}),
    ):
        fields = read("/v1/chat/completions", sent)
        assert request_of(stored(fields, "/v1/chat/completions")) == body, sent


def test_what_json_leaves_open() -> None:
    """The last of two equal names counts, and notes say so; as they do of what is no number."""
    fields = read("/v1/messages", b'{"messages": [{"a": 1, "a": 2}], "x": {"b": 1, "b": 1}}')
    assert fields["messages"] == [{"a": 2}]
    assert fields["encoding_notes"] == [
        'body: "a" stands in an object twice, the last is kept',
        'body: "b" stands in an object twice, the last is kept',
    ]
    fields = read("/v1/messages", b'{"x": ' + b"1" * 5_000 + b', "y": NaN, "z": -Infinity}')
    assert fields["request_params"]["x"] == "1" * 5_000
    assert math.isnan(fields["request_params"]["y"])
    assert fields["request_params"]["z"] == -math.inf
    [note] = fields["encoding_notes"]
    assert "too long" in note
    deep = b'{"x": ' + b"[" * 100_000
    assert read("/v1/messages", deep)["request_params"]["llm_audit"]["text"] == deep.decode()


def test_whole_numbers_and_dollars_through_mongodb() -> None:
    """Numbers of any size, below keys with dots, colons and dollars, come back as they were."""
    body = {
        "messages": [{"$ref": "a", "$id": 2**70}, {"a.b": {"c": [2**65]}, "d: e": -(2**90)}],
        "max_tokens": 2**64,
        "metadata": {"n": str(2**70), "deep": [[{"x": 2**64}]]},
    }
    fields = read("/v1/chat/completions", json.dumps(body).encode())
    document = stored(fields, "/v1/chat/completions")

    assert document["messages"][0].keys() == {"$ref", "\uff04id"}
    assert request_of(document) == body
    assert request_of({**document, "endpoint": None}) is None
    for odd in (
        "https://[",
        "",
        "https://host",
        "https://host/other",
    ):  # an import may bring in any
        assert request_of({**document, "endpoint": odd})["metadata"] == body["metadata"]
    assert request_of({"endpoint": "https://h/v1/messages", "request_params": 5}) == {}


def test_forms() -> None:
    """Fields are kept as texts, of files their name, type and size; and what cannot be read."""
    parts = (
        b'Content-Disposition: form-data; name="model"\r\n\r\nwhisper-1',
        b'Content-Disposition: form-data; name="x[]"\r\n\r\na',
        b'Content-Disposition: form-data; name="x[]"\r\n\r\nb',
        b'Content-Disposition: form-data; name="prompt"\r\n\r\nH\xc3\xa4\r\n--x',
        b'content-disposition: form-data; filename="a b.mp3"; name="file"\r\n'
        b"Content-Type: audio/mpeg\r\n\r\n" + bytes(range(256)),
    )
    body = b"--b o\r\n" + b"\r\n--b o\r\n".join(parts) + b"\r\n--b o--\r\n"
    path = "/v1/audio/transcriptions"
    fields = read(path, body, 'multipart/form-data; boundary="b o"')

    file = {"filename": "a b.mp3", "content_type": "audio/mpeg", "bytes": 256}
    assert fields == {
        "call_type": "OTHER",
        "model": "whisper-1",
        "input": "Hä\r\n--x",
        "request_params": {"x[]": ["a", "b"], "file": file},
    }
    assert request_of({**fields, "endpoint": f"https://host{path}"})["prompt"] == "Hä\r\n--x"
    urlencoded = read(path, b"model=m&x=1&x=2&e=", "application/x-www-form-urlencoded")
    assert urlencoded["request_params"] == {"x": ["1", "2"], "e": ""}
    said = matched("POST", path)
    assert said is not None
    unread = read_request(said, None, "multipart/form-data; boundary=x")
    assert unread["encoding_notes"] == ["body: sent from files or a stream, not read"]


@given(st.binary(max_size=100), st.text(max_size=30) | st.just("multipart/form-data; boundary=a"))
def test_any_body_and_any_type(body: bytes, content_type: str) -> None:
    """Nothing makes the reading raise, and what was read can be given back."""
    for prefix in (b"", b"--a\r\nContent-Disposition: form-data; name=", b'{"messages": '):
        row = Asked((ROWS[0],))
        fields = read_request(row, prefix + body, content_type)
        request_of(stored(fields, "/v1/messages"))

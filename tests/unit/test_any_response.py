"""Whatever a client hands over is read, or kept as far as it can be, and then the call says so."""

import dataclasses
import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import httpx2
import openai
import pydantic
import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from openai.types.chat import ChatCompletion
from outcome_fields import response_fields

from llm_audit import LLMLogger, UsageError, configure, response_of
from llm_audit.encoding.dumping import dumped
from llm_audit.providers.messages import read_answers
from llm_audit.providers.response import read_response
from llm_audit.settings import changed_settings
from llm_audit.testing.records import RecordedCalls

BODY: dict[str, Any] = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Paris."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}
STREAM = b'data: {"id": "c1"}\n\ndata: [DONE]\n\n'
ASKED: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "?"}]}
OF_OPENAI = ("openai", "gpt-4o")


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    """Give a client whose provider answers with BODY, or with STREAM."""
    kinds = openai.DefaultHttpxClient.__mro__
    httpx = import_module(next(kind.__module__ for kind in kinds if kind.__name__ == "Client"))

    def answer(request: Any) -> Any:
        if json.loads(request.content).get("stream"):
            return httpx.Response(
                200, content=STREAM, headers={"content-type": "text/event-stream"}
            )
        return httpx.Response(200, json=BODY)

    transport = httpx.Client(transport=httpx.MockTransport(answer))
    with openai.OpenAI(api_key="secret", http_client=transport) as made:
        yield made


class Answer(pydantic.BaseModel):
    """What an app wants to have, as instructor gives it beside the completion."""

    city: str = "Paris"


class Requests:
    """A response as the client `requests` has it."""

    def __init__(self, content: bytes | bool) -> None:
        self.status_code, self.headers, self._content = 200, {"x": "y"}, content


class Message(pydantic.BaseModel):
    """A message of LangChain."""

    content: str
    type: str


class AIMessage(Message):
    """The one that a model sends."""

    type: str = "ai"
    response_metadata: dict[str, Any] = {}
    tool_calls: list[dict[str, Any]] = []
    usage_metadata: dict[str, int] | None = None


class Generation(pydantic.BaseModel):
    """A generation of LangChain, which does not say that its message may know more."""

    message: Message
    text: str = "Paris."


class LLMResult(pydantic.BaseModel):
    """A result of LangChain: generations by prompt, or one prompt's alone."""

    generations: list[list[Generation]] | list[Generation]
    llm_output: dict[str, Any] | None = None


@dataclasses.dataclass
class Part:
    """A part of pydantic-ai's."""

    part_kind: str
    content: str | None = None
    tool_name: str | None = None
    args: dict[str, Any] | None = None


@dataclasses.dataclass
class Usage:
    """A usage of pydantic-ai's."""

    input_tokens: int = 5
    output_tokens: int = 2
    details: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class ModelResponse:
    """An answer of pydantic-ai's."""

    parts: list[Part]
    usage: Usage = dataclasses.field(default_factory=Usage)
    model_name: str = "gpt-4o"
    finish_reason: str = "stop"
    kind: str = "response"


def _completion_output() -> Any:
    """Make the class of a protobuf that looks like xAI's."""
    field = FieldDescriptorProto
    file = FileDescriptorProto(name="chat.proto", package="like_xai")
    role = file.enum_type.add(name="Role")
    role.value.add(name="ROLE_NONE", number=0)
    role.value.add(name="ROLE_ASSISTANT", number=2)
    types = {
        "Said": [("content", field.TYPE_STRING, ""), ("role", field.TYPE_ENUM, "Role")],
        "Output": [("message", field.TYPE_MESSAGE, "Said")],
        "Answer": [("outputs", field.TYPE_MESSAGE, "Output")],
    }
    for name, fields in types.items():
        message = file.message_type.add(name=name)
        for number, (inner, kind, of) in enumerate(fields, start=1):
            label = field.LABEL_REPEATED if inner == "outputs" else field.LABEL_OPTIONAL
            message.field.add(name=inner, number=number, type=kind, label=label)
            if of:
                message.field[-1].type_name = f".like_xai.{of}"
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("like_xai.Answer"))


class OfXAI:
    """An answer of xAI's client, around a protobuf."""

    def __init__(self, content: str) -> None:
        self._proto = _completion_output()()
        output = self._proto.outputs.add()
        output.message.content, output.message.role = content, 2


def facts(response: object) -> dict[str, Any]:
    """Return what is read of a response, its message as the text in it."""
    found = read_response(response)
    texts = [part.content for part in read_answers(found)[0] if part.type in {"text", "tool_call"}]
    return {**found, "text": texts[0] if texts else None}


def test_a_completion_is_read_however_it_comes(client: openai.OpenAI) -> None:
    """Raw, from any HTTP client, as text, in a tuple or list: it is the same response."""
    created = client.chat.completions.create
    completion = created(**ASKED)
    with client.chat.completions.with_streaming_response.create(**ASKED) as read:
        read.read()
    for response in (
        completion,
        client.chat.completions.with_raw_response.create(**ASKED),
        read,
        httpx2.Response(200, json=BODY),
        Requests(json.dumps(BODY).encode()),
        json.dumps(BODY),
        json.dumps(BODY).encode(),
        (Answer(), completion),
        [completion],
    ):
        found = read_response(response)
        assert found["response_message"] == BODY["choices"][0]["message"], type(response)
        assert found["usage"] == BODY["usage"]
        found["response_extra"].pop("llm_audit", None)
        assert response_of(found) == BODY

    beside = read_response((Answer(city="Paris"), completion))
    assert beside["response_extra"]["llm_audit"]["beside"] == [{"city": "Paris"}]
    assert beside["encoding_notes"] == ["response: of a tuple the ChatCompletion at 1 is read"]


@pytest.mark.parametrize(
    ("response", "note"),
    [
        ("Paris.", "response: str stored as the content of a message"),
        (b"Paris.", "response: bytes stored as the content of a message"),
        ([Answer()], "response: list without a response that can be read"),
        ([], "response: list without a response that can be read"),
        (7, "response: int has no fields that can be read"),
        (object(), "response: object has no fields that can be read"),
        (iter([1]), "response: list_iterator is a stream, which is the app's to read"),
        (Requests(content=False), "response: Requests is open: its body is the app's to read"),
        (Requests(b"<html>"), "response: HTTP response whose body is no JSON object"),
    ],
    ids=["text", "bytes", "list", "empty", "int", "object", "iterator", "open", "html"],
)
def test_what_is_no_response_is_kept_and_told(response: object, note: str) -> None:
    """It is no empty SUCCESS: as much as can be is stored, with a note, and it is a mistake."""
    found = response_fields(response, {}, None, None, OF_OPENAI)
    assert found["encoding_notes"] == [note]
    assert found.get("response_message") or found["response_extra"]["llm_audit"]["value"] in (
        *([{"city": "Paris"}], [], 7, "<html>"),
        *(repr(response),),
    )

    configure(strict=True)
    with pytest.raises(UsageError, match=r"response .*: give complete\(\) the response object"):
        response_fields(response, {}, None, None, OF_OPENAI)


def test_a_stream_is_left_to_the_app(client: openai.OpenAI) -> None:
    """A stream that was not read is not read here, and nothing of the client is stored."""
    stream = client.chat.completions.create(**ASKED, stream=True)
    found = read_response(stream)

    assert found["encoding_notes"] == ["response: Stream is a stream, which is the app's to read"]
    assert "secret" not in str(found)
    assert [chunk.id for chunk in stream] == ["c1"]


async def test_an_answer_that_was_not_awaited_is_told() -> None:
    """A coroutine is no response; it stays the app's to await."""

    async def create() -> dict[str, Any]:
        return BODY

    answer = create()
    found = read_response(answer)
    assert found["encoding_notes"] == ["response: coroutine was not awaited"]
    assert await answer == BODY


def test_a_fault_is_recorded_with_the_call(llm_audit_records: RecordedCalls) -> None:
    """The note is in the document of the call, beside those of the encoding."""
    call_id = LLMLogger.start(**ASKED)
    with changed_settings(strict=False):
        LLMLogger.complete(call_id, response=("x", 2**70))

    (call,) = llm_audit_records
    assert call.status == "SUCCESS"
    assert call.encoding_notes[0] == "response: tuple without a response that can be read"
    assert call.encoding_notes[1].endswith("int beyond 64 bits stored as str")
    assert call.response_extra == {"llm_audit": {"value": ["x", str(2**70)]}}


@pytest.mark.parametrize(
    ("response", "api"),
    [
        (AIMessage(content="Paris."), "langchain"),
        (LLMResult(generations=[[Generation(message=AIMessage(content="Paris."))]]), None),
        (LLMResult(generations=[Generation(message=AIMessage(content="Paris."))]), None),
        (ModelResponse([Part("thinking", "hm"), Part("text", "Paris.")]), "pydantic_ai"),
        (OfXAI("Paris."), "xai.chat"),
    ],
    ids=["AIMessage", "LLMResult", "ChatResult", "pydantic-ai", "xai"],
)
def test_answers_of_frameworks_are_read(response: object, api: str | None) -> None:
    """What frameworks make of an answer has a message, and says what it is."""
    found = facts(response)
    assert (found["text"], found["api"]) == ("Paris.", api or "langchain.result")
    (role,) = {part.role for part in read_answers(found)[0]}
    assert role == "assistant"


def test_what_frameworks_count_and_call_is_found() -> None:
    """Their tool calls have names, their usage is read, and subclasses lose no field."""
    call = {"name": "search", "args": {"q": 1}, "id": "t"}
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    message = AIMessage(content="", tool_calls=[call], usage_metadata=usage)
    for response in (
        message,
        LLMResult(generations=[[Generation(message=message)]]),
        ModelResponse([Part("tool-call", tool_name="search", args={"q": 1})]),
    ):
        fields = response_fields(response, {}, None, None, OF_OPENAI)
        assert fields["tools_called"] == ["search"], response
        assert (fields["prompt_tokens"], fields["completion_tokens"]) == (5, 2)


def test_an_unknown_shape_is_kept_and_told() -> None:
    """An object of a client that nobody knows is stored by its fields, and a note says so."""

    @dataclasses.dataclass(slots=True)
    class Verdict:
        is_fine: bool

    found = read_response(Verdict(is_fine=True))
    assert found["response_extra"] == {"is_fine": True}
    assert found["encoding_notes"] == ["response: of no known shape, kept in response_extra"]
    assert "encoding_notes" not in read_response({"results": [{"flagged": True}]})


@pytest.mark.parametrize(
    ("usage", "note"),
    [
        ({"prompt_tokens": 1, "completion_tokens": 2}, None),
        ({"prompt_tokens": 1, "prompt_tokens_details": {"audio_tokens": 1, "x": 0}}, None),
        ({"prompt_tokens": 1, "cost": 0.5, "queue_time": 0.1, "service_tier": "flex"}, None),
        (
            {"prompt_tokens": 1, "odd_tokens": 9, "details": {"odd": [{"n": 2}]}},
            "usage: not everything was understood: odd_tokens, details.odd.n",
        ),
        ({"search_units": 7}, "usage: no count of tokens was understood"),
        ({"words": 7}, "usage: not everything was understood: words"),
    ],
)
def test_what_is_not_understood_of_a_usage_is_told(usage: dict[str, Any], note: str | None) -> None:
    """No number in a usage goes by in silence."""
    fields = response_fields({**BODY, "usage": usage}, {}, None, None, OF_OPENAI)

    assert fields["usage"] == usage
    assert fields.get("encoding_notes") == ([note] if note else None)


def test_tokens_of_which_nothing_is_understood_are_a_mistake() -> None:
    """Given by hand, they raise in strict mode."""
    configure(strict=True)
    with pytest.raises(UsageError, match="tokens: not everything was understood: words"):
        response_fields(None, {}, {"words": 7}, None, OF_OPENAI)


def test_objects_are_dumped_as_the_api_speaks() -> None:
    """A client's object is without what is unset; a model of one's own keeps its defaults."""
    assert dumped(ChatCompletion.construct(**BODY)) == BODY
    assert dumped(Answer()) == {"city": "Paris"}
    found = dumped(Generation(message=AIMessage(content="", usage_metadata=None)))
    assert found["message"] == {
        "content": "",
        "type": "ai",
        "response_metadata": {},
        "tool_calls": [],
        "usage_metadata": None,
    }


def test_what_holds_itself_is_recorded(llm_audit_records: RecordedCalls) -> None:
    """A cycle in a response or a usage costs the cycle only, not the record."""
    cyclic: list[Any] = [1]
    cyclic.append(cyclic)
    for given in (
        {"response": {"id": "r", "of": cyclic}},
        {"tokens": {"total_tokens": 3, "of": cyclic}},
    ):
        with changed_settings(strict=False):
            call_id = LLMLogger.start(model="m", messages=[])
            LLMLogger.complete(call_id, **given)
        assert next(call for call in llm_audit_records if call.id == call_id).status == "SUCCESS"

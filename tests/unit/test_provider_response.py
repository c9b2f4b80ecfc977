from enum import Enum
from itertools import product
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pydantic
import pytest
from properties import given, st
from pydantic.alias_generators import to_camel

from llm_audit.providers.response import read_response
from llm_audit.providers.tool_calls import tools_asked_for
from llm_audit.providers.usage import read_usage

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
CUSTOM_CALL = {"id": "call_2", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
MESSAGE = {"role": "assistant", "content": "Hello!"}
CHAT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4-0613",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop", "logprobs": None}],
    "usage": USAGE,
}


HEAD = {"response_id": "chatcmpl-1", "response_model": "gpt-4-0613"}


class FinishReason(Enum):
    """As the Gemini SDK has it."""

    STOP = "STOP"


class Aliased(pydantic.BaseModel):
    """A model of an SDK whose attributes are spelled otherwise than the API's fields."""

    model_config = pydantic.ConfigDict(
        alias_generator=to_camel, populate_by_name=True, ser_json_bytes="base64"
    )


class FunctionCall(Aliased):
    """A call that Gemini asks for."""

    name: str
    args: dict[str, Any] | None = None


class Part(Aliased):
    """A part of Gemini's content."""

    text: str | None = None
    function_call: FunctionCall | None = None
    thought_signature: bytes | None = None


class Content(Aliased):
    """Gemini's message."""

    role: str | None = None
    parts: list[Part] | None = None


class Hostile:
    """Raises whatever is read from it."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":  # pytest looks at its parameters
            return Hostile
        raise RuntimeError(f"no {name} for you")


class BytesAsText(pydantic.BaseModel):
    """A model of an SDK that did not think of bytes that are no text."""

    content: "list[BytesAsText] | bytes"


class Undumpable:
    """Has fields, but no way to dump them."""

    def __init__(self) -> None:
        self.content = "Hello!"

    def model_dump(self, **_: object) -> dict[str, object]:
        """Fail."""
        raise ValueError("cannot")


def facts_of(response: object) -> dict[str, Any]:
    """Return what is read out of a response, without what holds the rest of it."""
    found = read_response(response)
    rest = {"api", "response_extra", "encoding_notes"}
    return {name: found[name] for name in found if name not in rest}


def chat(**choice: object) -> dict[str, Any]:
    return {**CHAT, "choices": [{**CHAT["choices"][0], **choice}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            CHAT,
            {
                "response_message": MESSAGE,
                "finish_reason": "stop",
                "response_id": "chatcmpl-1",
                "response_model": "gpt-4-0613",
                "usage": USAGE,
            },
            id="openai-chat",
        ),
        pytest.param(
            {"choices": [{"index": 0, "text": "Hello!", "finish_reason": "length"}]},
            {
                "response_message": {"index": 0, "text": "Hello!", "finish_reason": "length"},
                "finish_reason": "length",
            },
            id="openai-legacy-completion",
        ),
        pytest.param(
            {
                "id": "resp_1",
                "object": "response",
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
                "output": [{"type": "message", "content": []}],
                "usage": None,
            },
            {
                "response_message": {
                    "role": "assistant",
                    "output": [{"type": "message", "content": []}],
                },
                "finish_reason": "max_output_tokens",
                "response_id": "resp_1",
            },
            id="openai-responses",
        ),
        pytest.param(
            {"object": "response", "status": "completed", "output": []},
            {"finish_reason": "completed"},
            id="openai-responses-without-output",
        ),
        pytest.param(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "claude",
                "content": [{"type": "text", "text": "Hello!"}],
                "stop_reason": "end_turn",
            },
            {
                "response_message": {
                    "role": "assistant",
                    "content": [{"type": "text", "text": "Hello!"}],
                },
                "finish_reason": "end_turn",
                "response_id": "msg_1",
                "response_model": "claude",
            },
            id="anthropic",
        ),
        pytest.param(
            {
                "candidates": [
                    {"content": {"parts": [{"text": "Hello!"}]}, "finishReason": "STOP"}
                ],
                "modelVersion": "gemini-2.5-flash",
                "responseId": "r1",
                "usageMetadata": {"promptTokenCount": 1},
            },
            {
                "response_message": {"parts": [{"text": "Hello!"}]},
                "finish_reason": "STOP",
                "response_id": "r1",
                "response_model": "gemini-2.5-flash",
                "usage": {"promptTokenCount": 1},
            },
            id="gemini",
        ),
        pytest.param(
            {"promptFeedback": {"blockReason": "SAFETY"}},
            {"finish_reason": "SAFETY", "error_type": "SAFETY"},
            id="gemini-blocked-prompt",
        ),
        pytest.param(
            {
                "output": {"message": {"role": "assistant", "content": [{"text": "Hello!"}]}},
                "stopReason": "end_turn",
                "usage": {"inputTokens": 1},
                "ResponseMetadata": {"RequestId": "aws-1", "HTTPStatusCode": 200},
            },
            {
                "response_message": {"role": "assistant", "content": [{"text": "Hello!"}]},
                "finish_reason": "end_turn",
                "response_id": "aws-1",
                "usage": {"inputTokens": 1},
            },
            id="bedrock-converse",
        ),
        pytest.param(
            {
                "inputTextTokenCount": 10,
                "results": [{"outputText": "Hi", "completionReason": "FINISH", "tokenCount": 5}],
            },
            {
                "response_message": {
                    "outputText": "Hi",
                    "completionReason": "FINISH",
                    "tokenCount": 5,
                },
                "finish_reason": "FINISH",
                "usage": {"inputTextTokenCount": 10, "tokenCount": 5},
            },
            id="bedrock-titan",
        ),
        pytest.param(
            {
                "id": 1234,
                "completions": [{"data": {"text": "Hi"}, "finishReason": {"reason": "endoftext"}}],
            },
            {
                "response_message": {"text": "Hi"},
                "finish_reason": "endoftext",
                "response_id": "1234",
            },
            id="bedrock-jurassic",
        ),
        pytest.param(
            {
                "id": "c2",
                "message": {"role": "assistant", "tool_plan": "I will", "tool_calls": [TOOL_CALL]},
                "finish_reason": "TOOL_CALL",
            },
            {
                "response_message": {
                    "role": "assistant",
                    "tool_plan": "I will",
                    "tool_calls": [TOOL_CALL],
                },
                "finish_reason": "TOOL_CALL",
                "response_id": "c2",
            },
            id="cohere-v2",
        ),
        pytest.param(
            {
                "response_id": "c1",
                "text": "Hi",
                "tool_calls": [{"name": "search", "parameters": {}}],
                "meta": {"billed_units": {"input_tokens": 1, "output_tokens": 1}},
            },
            {
                "response_message": {
                    "text": "Hi",
                    "tool_calls": [{"name": "search", "parameters": {}}],
                },
                "response_id": "c1",
                "usage": {"billed_units": {"input_tokens": 1, "output_tokens": 1}},
            },
            id="cohere-v1",
        ),
        pytest.param(
            {
                "model": "llama3",
                "message": MESSAGE,
                "done_reason": "stop",
                "done": True,
                "prompt_eval_count": 10,
                "eval_count": 5,
                "eval_duration": 123,
            },
            {
                "response_message": MESSAGE,
                "finish_reason": "stop",
                "response_model": "llama3",
                "usage": {"prompt_eval_count": 10, "eval_count": 5},
            },
            id="ollama-chat",
        ),
        pytest.param(
            {"model": "e5", "data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 1}},
            {"response_model": "e5", "usage": {"prompt_tokens": 1}},
            id="embeddings",
        ),
        pytest.param(
            {"id": "r", "results": [{"index": 3, "relevance_score": 0.9}, {"index": 1}]},
            {"response_id": "r"},
            id="rerank",
        ),
        pytest.param({**CHAT, "choices": [], "usage": None}, HEAD, id="no-choices"),
        pytest.param(
            {"error": {"message": "overloaded", "code": 502}},
            {"error_type": "502", "error_message": "overloaded", "http_status": 502},
            id="error-in-a-200",
        ),
        pytest.param({"message": "Too many tokens"}, {}, id="error-of-aws"),
        pytest.param(
            {"choices": None, "candidates": [None], "output": 5, "content": 7, "message": [1]},
            {},
            id="rubbish",
        ),
    ],
)
def test_a_body_is_read_by_the_shape_of_its_api(
    body: dict[str, Any], expected: dict[str, Any]
) -> None:
    """What a body holds is found, in the API's own shape, and nothing is made up."""
    assert facts_of(body) == expected


def test_the_other_choices_are_kept() -> None:
    """With n > 1, the first choice is the message and the others stay whole."""
    first, second = CHAT["choices"][0], {"index": 1, "message": {"role": "assistant"}}
    found = read_response({**CHAT, "choices": [first, second]})

    assert found["response_message"] == MESSAGE
    assert found["other_choices"] == [second]
    assert read_response({**CHAT, "choices": [first, Hostile()]})["response_message"] == MESSAGE


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", "stop"),
        (154827, "154827"),
        (FinishReason.STOP, "STOP"),
        ({"reason": "endoftext"}, "endoftext"),
        (["stop"], None),
    ],
    ids=repr,
)
def test_finish_reasons_become_strings(reason: object, expected: str | None) -> None:
    """However a provider spells it, the finish reason is a str, or left out."""
    assert read_response(chat(finish_reason=reason)).get("finish_reason") == expected


@pytest.mark.parametrize(
    "response",
    [None, 7, [1], {}, object(), MagicMock(), Hostile(), {"choices": [Hostile()]}],
    ids=["none", "int", "list", "empty", "object", "mock", "hostile", "hostile-choice"],
)
def test_rubbish_gives_nothing(response: object) -> None:
    """Something that is no response gives nothing, and no error."""
    assert facts_of(response) == {}


def test_objects_of_any_class_are_read() -> None:
    """A response built of plain objects, as a home-made client has it, is read by attribute."""
    message = SimpleNamespace(role="assistant", content="Hello!")
    response = SimpleNamespace(
        id="1",
        model="gpt-4",
        choices=[SimpleNamespace(message=message, finish_reason=FinishReason.STOP)],
        usage=SimpleNamespace(**USAGE),
    )

    assert facts_of(response) == {
        "response_message": MESSAGE,
        "finish_reason": "STOP",
        "response_id": "1",
        "response_model": "gpt-4",
        "usage": USAGE,
    }


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Undumpable(), {"content": "Hello!"}),
        (
            BytesAsText(content=[BytesAsText(content=b"\xff")]),
            {"content": [{"content": b"\xff"}]},
        ),
    ],
    ids=["no-dump", "no-json"],
)
def test_a_message_that_cannot_be_dumped_is_kept(message: object, expected: object) -> None:
    """A `model_dump()` that fails, as JSON or at all, does not cost the message."""
    assert read_response(chat(message=message))["response_message"] == expected


def test_gemini_objects_become_what_the_api_sent() -> None:
    """Attributes go back to the API's camelCase, bytes to base64, and unset ones away."""
    call = Part(function_call=FunctionCall(name="search"), thought_signature=b"\xff\xfe")
    content = Content(role="model", parts=[call])
    response = SimpleNamespace(
        candidates=[SimpleNamespace(content=content, finish_reason=FinishReason.STOP)],
        model_version="gemini-2.5-flash",
        response_id="r1",
        usage_metadata=SimpleNamespace(prompt_token_count=10, candidates_token_count=5),
    )
    found = read_response(response)

    assert found["response_message"] == {
        "role": "model",
        "parts": [{"functionCall": {"name": "search"}, "thoughtSignature": "//4="}],
    }
    assert (found["finish_reason"], found["response_id"]) == ("STOP", "r1")
    assert found["response_model"] == "gemini-2.5-flash"
    assert read_usage(found["usage"]) == USAGE


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ({"role": "assistant", "content": "Hello!"}, []),
        ({"role": "assistant", "content": None, "tool_calls": None}, []),
        ({"tool_calls": [TOOL_CALL, CUSTOM_CALL, TOOL_CALL]}, ["search", "shell", "search"]),
        ({"content": "Let me see", "tool_calls": [TOOL_CALL]}, ["search"]),
        ({"tool_calls": [{"name": "search", "parameters": {}}]}, ["search"]),
        ({"content": None, "function_call": {"name": "search", "arguments": "{}"}}, ["search"]),
        (
            {
                "content": [
                    {"type": "text", "text": "x"},
                    {"type": "tool_use", "name": "a"},
                    {"type": "server_tool_use", "name": "b"},
                    {"type": "mcp_tool_use", "name": "c"},
                    {"type": "web_search_tool_result", "tool_use_id": "1", "name": "no"},
                ]
            },
            ["a", "b", "c"],
        ),
        (
            {
                "output": [
                    {"type": "reasoning"},
                    {"type": "function_call", "name": "a"},
                    {"type": "function_call_output", "name": "no"},
                    {"type": "custom_tool_call", "name": "b"},
                    {"type": "web_search_call"},
                    {"type": "mcp_list_tools", "name": "no"},
                    {"type": "mcp_call", "name": "c"},
                    {"type": "message", "content": [{"type": "output_text"}]},
                ]
            },
            ["a", "b", "web_search_call", "c"],
        ),
        (
            {
                "parts": [
                    {"text": "x"},
                    {"functionCall": {"name": "a"}},
                    {"function_call": {"name": "b"}},
                    {"toolCall": {"toolType": "FILE_SEARCH"}},
                    {"executableCode": {"code": "1"}},
                    {"functionResponse": {"name": "no"}},
                ]
            },
            ["a", "b", "FILE_SEARCH", "code_execution"],
        ),
        (
            {"content": [{"toolUse": {"name": "a"}}, {"toolResult": {"name": "no"}}]},
            ["a"],
        ),
        ({"content": "x", "executed_tools": [{"type": "search", "index": 0}]}, ["search"]),
        ([{"type": "tool_use", "name": "a"}], ["a"]),
        ({"type": "function_call", "name": "a", "content": "x"}, ["a"]),
        ({"type": "tool_use", "name": "a", "input": {}, "content": "x"}, ["a"]),
        ({"type": "web_search_call", "content": "x"}, ["web_search_call"]),
        (Content(parts=[Part(function_call=FunctionCall(name="a"))]), ["a"]),
        (SimpleNamespace(tool_calls=[SimpleNamespace(function=SimpleNamespace(name="a"))]), ["a"]),
    ],
    ids=[
        *("plain", "no-tool-calls", "openai", "openai-with-text", "cohere-v1", "openai-legacy"),
        *("anthropic", "openai-responses", "gemini", "bedrock", "groq", "blocks-alone"),
        *("call-alone", "use-alone", "search-alone"),
        *("gemini-objects", "plain-objects"),
    ],
)
def test_tools_called_by_shape(message: object, names: list[str]) -> None:
    """The tools that a message asks for are named in order, with repeats, results left out."""
    assert tools_asked_for(message)[0] == names


@pytest.mark.parametrize(
    "message",
    [
        *(None, "text", 7, object(), MagicMock(), Hostile()),
        {"tool_calls": "search"},
        {"tool_calls": [None, 7, "x", {}, {"function": None}, {"function": {"name": 7}}]},
        {"content": [Hostile(), {"type": ["tool_use"]}, {"toolUse": "a"}], "function_call": "a"},
    ],
    ids=[
        "none",
        "text",
        "int",
        "object",
        "mock",
        "hostile",
        "str-calls",
        "bad-calls",
        "bad-blocks",
    ],
)
def test_rubbish_asks_for_no_tools(message: object) -> None:
    """Something that is no message asks for no tools, and raises no error."""
    assert tools_asked_for(message)[0] == []
    assert tools_asked_for(message)[1] == []


def in_every_shape(arguments: object) -> dict[str, dict[str, Any]]:
    """Return messages that call the tool f with these arguments, by the API's name."""
    named = {"name": "f", "arguments": arguments}
    return {
        "openai": {"content": None, "tool_calls": [{"type": "function", "function": named}]},
        "openai, legacy": {"content": None, "function_call": named},
        "openai, responses": {"output": [{"type": "function_call", "call_id": "1", **named}]},
        "openai, mcp": {"output": [{"type": "mcp_call", **named}]},
        "anthropic": {"content": [{"type": "tool_use", "name": "f", "input": arguments}]},
        "gemini": {"parts": [{"functionCall": {"name": "f", "args": arguments}}]},
        "gemini, sdk": {"parts": [{"function_call": {"name": "f", "args": arguments}}]},
        "bedrock": {"content": [{"toolUse": {"name": "f", "input": arguments}}]},
        "cohere": {"tool_calls": [{"name": "f", "parameters": arguments}]},
    }


WELL_FORMED = ["{}", '{"a": [1]}', ' {"a": null}\n', {}, {"a": 1}, None]
MALFORMED = [
    *("", "{", '{"a": 1', "[]", "5", "null", '"{}"', "{'a': 1}"),
    *('{"a": NaN}', "{" * 99_999, '{"a": 1} {}'),
    *([], ["a"], 5, True),
]


def test_malformed_arguments_are_told() -> None:
    """In every provider's shape, arguments have to be an object, or a text that is one in JSON."""
    for arguments, told in [*product(WELL_FORMED, [[]]), *product(MALFORMED, [["f"]])]:
        for shape, message in in_every_shape(arguments).items():
            assert tools_asked_for(message)[0] == ["f"], (shape, arguments)
            assert tools_asked_for(message)[1] == told, (shape, arguments)


def test_free_text_is_not_malformed() -> None:
    """A custom tool takes any text, and a tool of the provider's may have no arguments."""
    message = {
        "tool_calls": [CUSTOM_CALL],
        "output": [
            {"type": "custom_tool_call", "name": "shell", "input": "ls"},
            {"type": "web_search_call", "action": {"query": "x"}},
        ],
    }

    assert tools_asked_for(message)[0] == ["shell", "web_search_call", "shell"]
    assert tools_asked_for(message)[1] == []


NAMES = st.sampled_from(
    [
        *("choices", "candidates", "results", "message", "content", "parts", "output", "text"),
        *("tool_calls", "function", "function_call", "toolUse", "name", "type", "finish_reason"),
        *("incomplete_details", "promptFeedback", "usage", "meta", "id", "model", "role", "data"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_survived(body: object) -> None:
    """Whatever JSON a provider sends, reading it raises nothing and gives the promised types."""
    found = read_response(body)

    assert isinstance(found.get("response_message", {}), dict)
    assert isinstance(found.get("finish_reason", ""), str)
    assert all(isinstance(name, str) for name in tools_asked_for(body)[0])
    assert set(tools_asked_for(body)[1]) <= set(tools_asked_for(body)[0])
    assert all(isinstance(name, str) for name in tools_asked_for(found.get("response_message"))[0])

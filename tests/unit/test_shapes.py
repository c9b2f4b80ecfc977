"""One table of shapes, and one walk: whoever reads what was said finds the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_traffic import TRAFFIC, recorded_calls

from llm_audit.providers.messages import read_answers, read_messages
from llm_audit.providers.response import read_response
from llm_audit.providers.shapes import ANY, SHAPES, shape_of
from llm_audit.providers.tool_calls import tools_asked_for

CALL = {"type": "tool_call", "id": "1", "name": "a", "args": {}}
WORDS = sorted(
    {
        *("role", "type", "name", "id", "arguments", "input", "args", "text", "thought", "code"),
        *("data", "kwargs", "lc", "audio", "reasoningContent", "toolType"),
        *(*ANY.contents, *ANY.texts, *ANY.thoughts, *ANY.calls, *ANY.call_keys, *ANY.result_keys),
    }
)
KINDS = sorted(
    {
        *("message", "function", "custom", "ai", "human", "tool", "constructor", "image"),
        *("tool_use", "web_search_call", "custom_tool_call", "tool_result", "function_call_output"),
        *(*ANY.text_types, *ANY.thought_types),
    }
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "{", "{}", "x", *KINDS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner),
    max_leaves=30,
)


def names_of(message: dict[str, Any]) -> list[str]:
    """Return the names of the tool calls among the parts of a message."""
    parts = read_messages(message, role="assistant")
    return [part.name for part in parts if part.type == "tool_call" and part.name]


@given(st.dictionaries(st.sampled_from(WORDS), ANYTHING))
def test_parts_and_names_agree(message: dict[str, Any]) -> None:
    """Whatever a message looks like, its tool calls have the names of the field `tools_called`."""
    assert tools_asked_for(message)[0] == names_of(message)
    assert set(tools_asked_for(message)[1]) <= set(tools_asked_for(message)[0])


@pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")
def test_parts_and_names_agree_on_what_was_recorded() -> None:
    """So they do for every message that was sent to real providers, and for every answer."""
    compared = 0
    for call in recorded_calls():
        request = call["request"] if isinstance(call["request"], dict) else {}
        found = read_response(call["response"])
        answer = found.get("response_message")
        sent = [request.get(name) for name in ("messages", "contents", "chat_history", "input")]
        messages = [message for one in sent if isinstance(one, list) for message in one]
        for message in (*messages, answer, call["response"]):
            if isinstance(message, dict):
                assert tools_asked_for(message)[0] == names_of(message), (call["id"], message)
                compared += bool(names_of(message))
        parts, *_ = read_answers(found)
        assert [part.name for part in parts if part.type == "tool_call"] == tools_asked_for(answer)[
            0
        ]
    assert compared > 500


@pytest.mark.parametrize(
    ("message", "names", "malformed"),
    [
        ({"type": "ai", "content": "hello", "tool_calls": [CALL]}, ["a"], []),
        ({"type": "ai", "data": {"content": "", "tool_calls": [CALL, CALL]}}, ["a", "a"], []),
        (
            {"type": "ai", "content": [{**CALL, "type": "tool_use"}], "tool_calls": [CALL]},
            ["a"],
            [],
        ),
        ({"type": "ai", "content": [CALL], "tool_calls": [CALL]}, ["a"], []),
        (
            {"type": "ai", "content": "", "invalid_tool_calls": [{**CALL, "args": "{x"}]},
            ["a"],
            ["a"],
        ),
        ({"content": "Hm", "function_call": {"name": "a", "arguments": "{}"}}, ["a"], []),
    ],
    ids=["ai", "in data", "said twice", "said twice, v1", "invalid", "without role"],
)
def test_messages_of_frameworks(
    message: dict[str, Any], names: list[str], malformed: list[str]
) -> None:
    """What LangChain dumps asks for each tool once, however often it says so."""
    assert tools_asked_for(message)[0] == names_of(message) == names
    assert tools_asked_for(message)[1] == malformed


def test_langchains_answer_is_read() -> None:
    """A message of LangChain given as the response is the message, with ids and usage."""
    usage = {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}
    metadata = {"id": "chatcmpl-1", "model_name": "gpt-4o", "finish_reason": "stop"}
    answer = {"type": "ai", "id": "lc_run--1", "content": "hello", "tool_calls": []}
    found = read_response(answer | {"response_metadata": metadata, "usage_metadata": usage})

    assert found.pop("response_message").items() >= answer.items()
    assert found == {
        "api": "langchain",
        "finish_reason": "stop",
        "response_id": "chatcmpl-1",
        "response_model": "gpt-4o",
        "usage": usage,
    }


@pytest.mark.parametrize("levels", [10, 5000])
def test_deep_nesting_is_survived(levels: int) -> None:
    """However deep lists and messages lie in each other, the rest is found."""
    deep: Any = "x"
    for number in range(levels):
        deep = [deep] if number % 2 else {"content": deep}
    message = {"role": "assistant", "content": deep, "tool_calls": [CALL]}

    assert tools_asked_for(message)[0] == names_of(message) == ["a"]


def test_names_of_apis_are_unique() -> None:
    """A row stands for one API."""
    names = [shape.api for shape in SHAPES]
    assert len(names) == len({*names})


APIS = {
    "/v1/messages": "anthropic.messages",
    "/converse": "bedrock.converse",
    "/chat/completions": "openai.chat",
    "/v1/completions": "openai.completions",
    ":generateContent": "google.generate_content",
    "/v2/chat": "cohere.chat",
    "/api/chat": "ollama.chat",
    "/responses": "openai.responses",
}


@pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")
def test_recorded_answers_are_told_by_their_shape() -> None:
    """Every answer with a message is known as what its endpoint is."""
    for call in recorded_calls():
        found = read_response(call["response"])
        api = next((api for end, api in APIS.items() if call["endpoint"].endswith(end)), None)
        if api and "response_message" in found:
            assert shape_of(call["response"]).api == api, call["id"]

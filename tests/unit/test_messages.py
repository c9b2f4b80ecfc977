"""What was said, read alike from every provider's shape."""

from typing import Any

import pytest
from properties import given, st

from llm_audit.providers.messages import Part, read_messages

WEATHER = {"city": "Paris"}
SUNNY = {"sky": "sunny"}

OPENAI = [
    {"role": "user", "content": "Weather in Paris?"},
    {
        "role": "assistant",
        "content": "Let me look.",
        "tool_calls": [
            {
                "id": "1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "1", "content": '{"sky": "sunny"}'},
    {"role": "assistant", "content": "It is sunny."},
]
SHAPES: dict[str, list[Any]] = {
    "openai": OPENAI,
    "openai, in parts": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Weather in "},
                {"type": "text", "text": "Paris?"},
            ],
        },
        *OPENAI[1:],
    ],
    "openai, legacy": [
        OPENAI[0],
        {
            "role": "assistant",
            "content": "Let me look.",
            "function_call": {"name": "weather", "arguments": '{"city":"Paris"}'},
        },
        {"role": "function", "name": "weather", "content": '{"sky":"sunny"}'},
        OPENAI[3],
    ],
    "openai, responses": [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather in Paris?"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Let me look."}],
        },
        {
            "type": "function_call",
            "id": "fc",
            "call_id": "1",
            "name": "weather",
            "arguments": '{"city": "Paris"}',
        },
        {"type": "function_call_output", "call_id": "1", "output": '{"sky": "sunny"}'},
        {"role": "assistant", "content": "It is sunny."},
    ],
    "anthropic": [
        {"role": "user", "content": [{"type": "text", "text": "Weather in Paris?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "1", "name": "weather", "input": WEATHER},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "1",
                    "content": [{"type": "text", "text": '{"sky": "sunny"}'}],
                }
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "It is sunny."}]},
    ],
    "gemini": [
        {"role": "user", "parts": [{"text": "Weather in Paris?"}]},
        {
            "role": "model",
            "parts": [
                {"text": "Hm.", "thought": True},
                {"text": "Let me look."},
                {"functionCall": {"name": "weather", "args": WEATHER}, "thoughtSignature": "x"},
            ],
        },
        {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": SUNNY}}]},
        {"role": "model", "parts": [{"text": "It is sunny."}]},
    ],
    "bedrock": [
        {
            "role": "user",
            "content": [{"text": "Weather in Paris?"}, {"cachePoint": {"type": "default"}}],
        },
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "x"}}},
                {"text": "Let me look."},
                {"toolUse": {"toolUseId": "1", "name": "weather", "input": WEATHER}},
            ],
        },
        {
            "role": "user",
            "content": [{"toolResult": {"toolUseId": "1", "content": [{"json": SUNNY}]}}],
        },
        {"role": "assistant", "content": [{"text": "It is sunny."}]},
    ],
    "ollama": [
        OPENAI[0],
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [{"function": {"name": "weather", "arguments": WEATHER}}],
        },
        {"role": "tool", "tool_name": "weather", "content": '{"sky": "sunny"}'},
        OPENAI[3],
    ],
    "cohere": [
        {"role": "USER", "message": "Weather in Paris?"},
        {
            "role": "CHATBOT",
            "message": "Let me look.",
            "tool_calls": [{"name": "weather", "parameters": WEATHER}],
        },
        {"role": "TOOL", "content": [{"type": "text", "text": '{"sky": "sunny"}'}]},
        {"role": "CHATBOT", "message": "It is sunny."},
    ],
    "langchain": [
        {"type": "human", "content": "Weather in Paris?"},
        {
            "type": "ai",
            "content": "Let me look.",
            "tool_calls": [{"type": "tool_call", "id": "1", "name": "weather", "args": WEATHER}],
            "invalid_tool_calls": [],
        },
        {"type": "tool", "tool_call_id": "1", "content": '{"sky": "sunny"}', "status": "success"},
        {"type": "AIMessageChunk", "content": "It is sunny."},
    ],
    "opentelemetry": [
        {"role": "user", "parts": [{"type": "text", "content": "Weather in Paris?"}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Hm."},
                {"type": "text", "content": "Let me look."},
                {"type": "tool_call", "id": "1", "name": "weather", "arguments": WEATHER},
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": SUNNY}]},
        {"role": "assistant", "parts": [{"type": "text", "content": "It is sunny."}]},
    ],
}
SHAPES["langchain, to dicts"] = [
    {"type": message["type"], "data": message} for message in SHAPES["langchain"]
]
SHAPES["langchain, dumped"] = [
    {"lc": 1, "type": "constructor", "id": ["langchain", "schema"], "kwargs": message}
    for message in SHAPES["langchain"]
]


def told(parts: list[Part]) -> list[tuple[Any, ...]]:
    return [(p.role, p.type, p.content, p.name, p.arguments, p.response) for p in parts if p.key()]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_says_the_same(shape: str) -> None:
    """Text, tool call and result are found wherever a provider puts them, and compare equal."""
    parts = read_messages(SHAPES[shape])
    name = "weather" if shape in {"openai, legacy", "gemini", "ollama"} else None

    assert told(parts) == [
        ("user", "text", "Weather in Paris?", None, None, None),
        ("assistant", "text", "Let me look.", None, None, None),
        ("assistant", "tool_call", None, "weather", WEATHER, None),
        ("tool", "tool_call_response", None, name, None, SUNNY),
        ("assistant", "text", "It is sunny.", None, None, None),
    ]
    assert [p.key() for p in parts if p.key()] == [p.key() for p in read_messages(OPENAI)]


@pytest.mark.parametrize(
    "shape", ["openai", "openai, responses", "anthropic", "bedrock", "langchain", "opentelemetry"]
)
def test_ids_join_results_to_calls(shape: str) -> None:
    """Where a provider has ids, a tool's response has the id of its call."""
    parts = {part.type: part for part in read_messages(SHAPES[shape])}

    assert parts["tool_call"].id == parts["tool_call_response"].id == "1"


@pytest.mark.parametrize(
    "shape", ["openai, responses", "anthropic", "gemini", "bedrock", "opentelemetry"]
)
def test_reasoning_is_read_but_not_compared(shape: str) -> None:
    """What a model thought is shown; later requests may leave it out."""
    (reasoning,) = (part for part in read_messages(SHAPES[shape]) if part.type == "reasoning")

    assert (reasoning.content, reasoning.key()) == ("Hm.", "")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"text": "Hello"}, ["Hello"]),
        (
            {
                "role": "assistant",
                "output": [
                    {
                        "type": "message",
                        "role": "assistant",
                        "content": [{"type": "output_text", "text": "Hello"}],
                    }
                ],
            },
            ["Hello"],
        ),
        ({"parts": [{"text": "Hello"}], "role": "model"}, ["Hello"]),
        ({"role": "assistant", "content": None, "refusal": "No"}, ["No"]),
        (None, []),
    ],
    ids=["completion", "responses", "gemini", "refusal", "none"],
)
def test_answers_are_read(answer: Any, expected: list[str]) -> None:
    """The message of a response is read like any other."""
    parts = read_messages(answer, role="assistant")

    assert [(p.role, p.content) for p in parts] == [("assistant", text) for text in expected]


def test_what_is_no_text_is_kept_as_it_was() -> None:
    """An image is a part under its provider's name for it."""
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    (text, part) = read_messages([{"role": "user", "content": ["Look:", image]}])

    assert (text.content, part.type, part.content) == ("Look:", "image_url", image)


def test_arguments_that_are_no_json_are_kept_as_sent() -> None:
    """A model may send half an object."""
    call = {"function": {"name": "f", "arguments": '{"city": "Par'}}
    (part,) = read_messages([{"role": "assistant", "content": None, "tool_calls": [call]}])

    assert part.arguments == '{"city": "Par'


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "role",
                        "type",
                        "content",
                        "text",
                        "parts",
                        "output",
                        "tool_calls",
                        "function",
                    ),
                    *(
                        "function_call",
                        "toolUse",
                        "toolResult",
                        "functionResponse",
                        "name",
                        "input",
                    ),
                    *("arguments", "summary", "thought", "reasoningContent", "call_id", "json"),
                ]
            ),
            inner
            | st.sampled_from(["tool", "assistant", "reasoning", "tool_use", "x_call_output"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_like)
def test_reading_never_fails(messages: Any) -> None:
    """Whatever was sent as messages, it is read, and can be compared."""
    for part in read_messages(messages):
        assert isinstance(part.key(), str)


@pytest.mark.parametrize(("levels", "parsed"), [(100, True), (101, False), (5000, False)])
def test_what_is_nested_too_deeply_stays_text(levels: int, parsed: bool) -> None:
    """A model may write thousands of brackets: whoever reads arguments would recurse as often."""
    sent = "[" * levels + "]" * levels
    [part] = read_messages({"role": "assistant", "tool_calls": [{"function": {"arguments": sent}}]})

    assert (part.arguments == sent) is not parsed
    assert part.model_dump_json()

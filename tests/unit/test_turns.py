from typing import Any

import pytest

pytest.importorskip("typer")

from llm_audit.cli.messages import Other, Said, ToolCall, ToolResult, Turn, read_turns

ASKED = {"city": "Vienna"}


def weather(identifier: str | None, arguments: Any, *answers: ToolResult) -> ToolCall:
    return ToolCall(identifier, "weather", arguments, list(answers))


SHAPES: dict[str, tuple[dict[str, Any], list[Turn]]] = {
    "OpenAI chat completions": (
        {
            "system_prompt": "Be brief.",
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "1",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"city": "Vienna"}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "1", "content": "21"},
            ],
            "response_message": {"role": "assistant", "content": "21 degrees"},
        },
        [
            Turn("system", [Said("Be brief.")]),
            Turn("user", [Said("Weather?")]),
            Turn(
                "assistant",
                [weather("1", '{"city": "Vienna"}', ToolResult("1", None, "21"))],
            ),
            Turn("assistant", [Said("21 degrees")]),
        ],
    ),
    "OpenAI legacy functions": (
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": None,
                    "function_call": {"name": "weather", "arguments": "{}"},
                },
                {"role": "function", "name": "weather", "content": "21"},
            ],
        },
        [Turn("assistant", [weather(None, "{}", ToolResult(None, "weather", "21"))])],
    ),
    "OpenAI Responses": (
        {
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
                {"type": "function_call", "call_id": "1", "name": "weather", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "1", "output": "21"},
            ],
            "response_message": {
                "role": "assistant",
                "output": [
                    {
                        "type": "message",
                        "role": "assistant",
                        "content": [{"type": "output_text", "text": "21"}],
                    }
                ],
            },
        },
        [
            Turn("user", [Said("Weather?")]),
            Turn("assistant", [Said("Hm.", thinking=True)]),
            Turn("assistant", [weather("1", "{}", ToolResult("1", None, "21"))]),
            Turn("assistant", [Said("21")]),
        ],
    ),
    "Anthropic": (
        {
            "system_prompt": [{"type": "text", "text": "Be brief."}],
            "messages": [
                {"role": "user", "content": "Weather?"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                        {"type": "text", "text": "I look."},
                        {"type": "tool_use", "id": "1", "name": "weather", "input": ASKED},
                    ],
                },
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "1", "content": "21"}],
                },
            ],
        },
        [
            Turn("system", [Said("Be brief.")]),
            Turn("user", [Said("Weather?")]),
            Turn(
                "assistant",
                [
                    Said("Hm.", thinking=True),
                    Said("I look."),
                    weather("1", ASKED, ToolResult("1", None, "21")),
                ],
            ),
        ],
    ),
    "Gemini": (
        {
            "system_prompt": {"parts": [{"text": "Be brief."}]},
            "messages": [
                {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": ASKED}}]},
                {
                    "role": "user",
                    "parts": [{"functionResponse": {"name": "weather", "response": {"t": 21}}}],
                },
            ],
            "response_message": {
                "role": "model",
                "parts": [{"text": "Hm.", "thought": True}, {"text": "21 degrees"}],
            },
        },
        [
            Turn("system", [Said("Be brief.")]),
            Turn("model", [weather(None, ASKED, ToolResult(None, "weather", {"t": 21}))]),
            Turn("model", [Said("Hm.", thinking=True), Said("21 degrees")]),
        ],
    ),
    "Bedrock": (
        {
            "system_prompt": [{"text": "Be brief."}],
            "messages": [
                {
                    "role": "assistant",
                    "content": [{"toolUse": {"toolUseId": "1", "name": "weather", "input": ASKED}}],
                },
                {
                    "role": "user",
                    "content": [{"toolResult": {"toolUseId": "1", "content": [{"text": "21"}]}}],
                },
            ],
            "response_message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Hm."}}},
                    {"text": "21 degrees"},
                ],
            },
        },
        [
            Turn("system", [Said("Be brief.")]),
            Turn("assistant", [weather("1", ASKED, ToolResult("1", None, [{"text": "21"}]))]),
            Turn("assistant", [Said("Hm.", thinking=True), Said("21 degrees")]),
        ],
    ),
    "embeddings": (
        {"input": ["one", "two"]},
        [Turn("user", [Said("one")]), Turn("user", [Said("two")])],
    ),
    "several choices": (
        {
            "response_message": {"role": "assistant", "content": "one"},
            "other_choices": [{"index": 1, "message": {"role": "assistant", "content": "two"}}],
        },
        [Turn("assistant", [Said("one")]), Turn("assistant, choice 2", [Said("two")])],
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_turns_are_read_from_every_shape(shape: str) -> None:
    """What was said, thought and asked of tools is found, results beside what was asked."""
    call, turns = SHAPES[shape]

    assert read_turns(call) == turns


def test_parallel_calls_of_one_tool_get_their_own_results() -> None:
    """Ids tell them apart in any order; without ids the order does."""
    with_ids = [
        {"role": "assistant", "tool_calls": [{"id": n, "function": {"name": "f"}} for n in "ab"]},
        *({"role": "tool", "tool_call_id": n, "content": f"of {n}"} for n in "ba"),
    ]
    without = [
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": n}} for n in "ab"]},
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "f", "response": {"of": n}}} for n in "ab"],
        },
    ]
    for messages in (with_ids, without):
        [turn] = read_turns({"messages": messages})
        first, second = turn.parts
        assert isinstance(first, ToolCall)
        assert isinstance(second, ToolCall)
        assert "a" in str(first.results[0].content)
        assert "b" in str(second.results[0].content)


def test_a_result_that_nobody_asked_for_is_kept() -> None:
    """A history that was cut off begins with a result: it stands alone."""
    result = {"role": "tool", "tool_call_id": "1", "content": "21"}

    assert read_turns({"messages": [result]}) == [Turn("tool", [ToolResult("1", None, "21")])]


@pytest.mark.parametrize(
    "strange",
    [
        7,
        True,
        [],
        {},
        {"role": "user"},
        {"role": "x", "new": 1},
        ["a", None, 7],
        [[["a"]]],
        {"type": 5},
    ],
    ids=str,
)
def test_what_is_not_known_is_kept_and_never_raises(strange: Any) -> None:
    """Whatever was recorded as a message, the call can be shown."""
    for field in ("system_prompt", "messages", "input", "response_message", "other_choices"):
        for value in (strange, [strange]):
            turns = read_turns({field: value})
            assert all(turn.parts for turn in turns)
    parts = [part for turn in read_turns({"input": [strange]}) for part in turn.parts]
    if strange in (7, {"role": "x", "new": 1}):
        assert any(isinstance(part, Other) for part in parts)


def test_media_are_named() -> None:
    """An image is shown as what it is."""
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}

    [turn] = read_turns({"messages": [{"role": "user", "content": [image]}]})

    assert turn.parts == [Other("image_url", {"image_url": image["image_url"]})]

"""Calls of every provider's shape, read as a whole: results stand beside what was asked."""

from typing import Any

import pytest

from llm_audit.providers.messages import Part, read_answers, read_request
from llm_audit.queries.answers.pairing import pair

Told = tuple[Any, ...]

ASKED = {"city": "Vienna"}


def told(call: dict[str, Any]) -> list[Told]:
    """Return who said what, in short; what a tool gave back follows what was asked."""
    lists = pair(read_request(call), *read_answers(call))
    return [
        (*_short(one.part), *(response.response for response in one.responses))
        for parts in lists
        for one in parts
    ]


def _short(part: Part) -> Told:
    if part.type == "tool_call":
        return (part.role, part.name, part.id, part.arguments)
    if part.type == "tool_call_response":
        return (part.role, "gave", part.id, part.response)
    return (part.role, part.type, part.content)


SHAPES: dict[str, tuple[dict[str, Any], list[Told]]] = {
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
            ("system", "text", "Be brief."),
            ("user", "text", "Weather?"),
            ("assistant", "weather", "1", ASKED, "21"),
            ("assistant", "text", "21 degrees"),
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
        [("assistant", "weather", None, {}, "21")],
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
            ("user", "text", "Weather?"),
            ("assistant", "reasoning", "Hm."),
            ("assistant", "weather", "1", {}, "21"),
            ("assistant", "text", "21"),
        ],
    ),
    "OpenAI Responses, tools that the provider runs": (
        {
            "response_message": {
                "role": "assistant",
                "output": [
                    {"type": "web_search_call", "id": "1", "action": {"query": "Vienna"}},
                    {"type": "code_interpreter_call", "id": "2", "code": "1+1", "outputs": None},
                    {
                        "type": "mcp_call",
                        "id": "3",
                        "name": "ask",
                        "arguments": "{}",
                        "output": "x",
                    },
                    {"type": "tool_search_call", "call_id": "4", "queries": ["x"]},
                    {"type": "tool_search_output", "call_id": "4", "tools": ["y"]},
                ],
            },
        },
        [
            ("assistant", "web_search_call", "1", {"query": "Vienna"}),
            ("assistant", "code_interpreter_call", "2", {"code": "1+1"}),
            ("assistant", "ask", "3", {}, "x"),
            ("assistant", "tool_search_call", "4", {"queries": ["x"]}, {"tools": ["y"]}),
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
            ("system", "text", "Be brief."),
            ("user", "text", "Weather?"),
            ("assistant", "reasoning", "Hm."),
            ("assistant", "text", "I look."),
            ("assistant", "weather", "1", ASKED, "21"),
        ],
    ),
    "Gemini": (
        {
            "system_prompt": {"role": "user", "parts": [{"text": "Be brief."}]},
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
            ("system", "text", "Be brief."),
            ("assistant", "weather", None, ASKED, {"t": 21}),
            ("assistant", "reasoning", "Hm."),
            ("assistant", "text", "21 degrees"),
        ],
    ),
    "Gemini runs code and searches files": (
        {
            "response_message": {
                "role": "model",
                "parts": [
                    {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
                    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
                    {"toolCall": {"toolType": "FILE_SEARCH", "id": "1", "args": ASKED}},
                    {"toolResponse": {"toolType": "FILE_SEARCH", "id": "1", "response": {"t": 21}}},
                ],
            },
        },
        [
            ("assistant", "code_execution", None, {"language": "PYTHON", "code": "print(1)"}, "1"),
            ("assistant", "FILE_SEARCH", "1", ASKED, {"t": 21}),
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
            ("system", "text", "Be brief."),
            ("assistant", "weather", "1", ASKED, "21"),
            ("assistant", "reasoning", "Hm."),
            ("assistant", "text", "21 degrees"),
        ],
    ),
    "DeepSeek": (
        {"response_message": {"role": "assistant", "content": "21", "reasoning_content": "Hm."}},
        [("assistant", "reasoning", "Hm."), ("assistant", "text", "21")],
    ),
    "Groq": (
        {
            "response_message": {
                "role": "assistant",
                "content": "4",
                "executed_tools": [
                    {"type": "python", "arguments": '{"code": "2+2"}', "output": "4"}
                ],
            }
        },
        [
            ("assistant", "text", "4"),
            ("assistant", "python", None, {"code": "2+2"}, "4"),
        ],
    ),
    "audio": (
        {"response_message": {"role": "assistant", "content": None, "audio": {"data": "x"}}},
        [("assistant", "audio", {"data": "x"})],
    ),
    "embeddings": (
        {"input": ["one", "two"]},
        [("user", "text", "one"), ("user", "text", "two")],
    ),
    "embeddings of tokens": (
        {"input": [1, 2, 3]},
        [("user", "other", [1, 2, 3])],
    ),
    "several choices": (
        {
            "response_message": {"role": "assistant", "content": "one"},
            "other_choices": [
                {"index": 1, "message": {"role": "assistant", "content": "two"}},
                {"index": 2, "text": "three"},
            ],
        },
        [
            ("assistant", "text", "one"),
            ("assistant", "text", "two"),
            ("assistant", "text", "three"),
        ],
    ),
    "content that moved to GridFS": (
        {"messages": [{"role": "user", "content": {"gridfs_id": "a" * 64, "length": 3}}]},
        [("user", "other", {"gridfs_id": "a" * 64, "length": 3})],
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_calls_are_read_from_every_shape(shape: str) -> None:
    """What was said, thought and asked of tools is found, results beside what was asked."""
    call, expected = SHAPES[shape]

    assert told(call) == expected


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
            "parts": [{"functionResponse": {"name": "f", "response": f"of {n}"}} for n in "ab"],
        },
    ]
    unnamed = [
        {"role": "CHATBOT", "tool_calls": [{"name": n, "parameters": {}} for n in "ab"]},
        *({"role": "TOOL", "content": [{"type": "text", "text": f"of {n}"}]} for n in "ab"),
    ]
    for messages in (with_ids, without, unnamed):
        [first, second] = told({"messages": messages})
        assert (first[-1], second[-1]) == ("of a", "of b")


def test_an_id_that_is_given_again_means_the_newest_call() -> None:
    """A provider that counts its calls anew in each turn gets each result where it belongs."""
    turns = [
        [
            {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": name}}]},
            {"role": "tool", "tool_call_id": "1", "content": f"of {name}"},
        ]
        for name in "ab"
    ]

    assert [one[-1] for one in told({"messages": [*turns[0], *turns[1]]})] == ["of a", "of b"]


def test_an_id_that_only_the_result_has_is_no_hindrance() -> None:
    """Where the provider gives calls no ids and the program makes them, names tell."""
    asked = {"role": "model", "parts": [{"functionCall": {"name": n}} for n in "ab"]}
    gave = [{"functionResponse": {"id": n, "name": n, "response": f"of {n}"}} for n in "ba"]

    assert [one[-1] for one in told({"messages": [asked, {"role": "user", "parts": gave}]})] == [
        "of a",
        "of b",
    ]


def test_what_says_nothing_is_left_out() -> None:
    """A message of empty texts is no part."""
    assert told({"messages": [{"role": "user", "parts": [{"text": ""}]}, ""]}) == []


def test_a_result_that_nobody_asked_for_is_kept() -> None:
    """A history that was cut off begins with a result: it stands alone."""
    result = {"role": "tool", "tool_call_id": "1", "content": "21"}

    assert told({"messages": [result]}) == [("tool", "gave", "1", "21")]


@pytest.mark.parametrize(
    ("mark", "fine"),
    [
        ({"is_error": True}, {"is_error": False}),  # Anthropic
        ({"status": "error"}, {"status": "success"}),  # Bedrock
        ({"isError": True}, {"isError": False}),  # MCP
    ],
    ids=["Anthropic", "Bedrock", "MCP"],
)
def test_a_tool_that_failed_is_told_from_one_that_did_not(
    mark: dict[str, Any], fine: dict[str, Any]
) -> None:
    """The mark is read, in a block as in a message of its own, and nothing else changes."""

    def read(marked: Any) -> list[tuple[Any, bool]]:
        result = {"content": [{"text": "no such city"}], **marked}
        block = {"toolResult": {"toolUseId": "1", **result}}
        whole = {"role": "tool", "tool_call_id": "1", **result}
        parts = read_request({"messages": [{"role": "user", "content": [block]}, whole]})
        return [(part.response, part.is_error) for part in parts]

    assert read(mark) == [("no such city", True)] * 2
    assert read(fine) == read({}) == [("no such city", False)] * 2


def test_a_tool_that_the_provider_ran_may_fail() -> None:
    """A call that holds its error instead of a result."""
    call = {"type": "mcp_call", "id": "1", "name": "find", "output": None, "error": "no"}
    asked, gave = read_request({"input": [call]})

    assert (asked.name, gave.response, gave.is_error) == ("find", "no", True)
    (_, gave) = read_request({"input": [call | {"output": "yes", "error": None}]})
    assert (gave.response, gave.is_error) == ("yes", False)


def test_a_tool_may_give_nothing() -> None:
    """A result without content is a result, with nothing in it."""
    result = {"role": "tool", "tool_call_id": "1", "name": "f", "content": None}

    assert told({"messages": [result]}) == [("tool", "gave", "1", None)]


def test_what_looks_like_a_number_stays_as_it_was_sent() -> None:
    """A tool that gave 1.10 is not said to have given 1.1."""
    result = {"role": "tool", "tool_call_id": "1", "content": "1.10"}

    assert told({"messages": [result]}) == [("tool", "gave", "1", "1.10")]


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
            told({field: value})
    kinds = {kind for _, kind, _ in told({"input": [strange]})}
    if strange in (7, {"role": "x", "new": 1}):
        assert "other" in kinds

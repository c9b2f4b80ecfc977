"""`llm-audit session`: a conversation, turn by turn."""

import json
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from made_up_calls import START, Call, call_id
from recorded_traffic import TRAFFIC, recorded_calls, split
from waiting import Calls

from llm_audit.call import SAID
from llm_audit.providers.response import read_response
from llm_audit.queries import pipelines
from llm_audit.queries.answers.conversation import build_conversation

Shell = Callable[..., Any]

ASKS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "1", "function": {"name": "weather", "arguments": '{"city": "Vienna"}'}}],
}
WEATHER = [{"role": "user", "content": "Weather?"}, ASKS]
RESULT = {"role": "tool", "tool_call_id": "1", "content": "21 degrees"}
SUNNY = {"role": "assistant", "content": "It is warm."}


def made(name: str, messages: list[Any], answer: Any, **more: Any) -> Call:
    return {
        "_id": name,
        "session_id": "s",
        "status": "SUCCESS",
        "model": "gpt-4o",
        "created_at": START,
        "messages": messages,
        "response_message": answer,
        **more,
    }


@pytest.fixture
def chat(calls: Calls) -> None:
    """Store a chat of three calls: a tool is asked, answers, and somebody says thanks."""
    thanks = {"role": "user", "content": "Thanks!"}
    calls.insert_many(
        [
            made("a", WEATHER[:1], ASKS, total_tokens=20, estimated_cost=0.25, latency_ms=1500),
            made("b", [*WEATHER, RESULT], SUNNY),
            made(
                "c",
                [*WEATHER, RESULT, SUNNY, thanks],
                None,
                status="ERROR",
                error_type="RateLimitError",
                error_message="slow down",
            ),
        ]
    )


def said(lines: list[str]) -> list[str]:
    """Return what was said of a page: without heading, lines above turns, and empty lines."""
    turns = [line.strip() for line in lines[2:]]
    return [line for line in turns if line and not line.startswith(("──", "2026", "05-01"))]


@pytest.mark.usefixtures("chat")
def test_a_session_reads_as_a_conversation(shell: Shell) -> None:
    """Nothing is said twice, results stand with what was asked, errors where they happened."""
    ended = shell("session", "s")

    assert (ended.code, ended.errors) == (0, "")
    assert ended.lines[1] == "3 calls, 1 failed; 20 tokens; $0.2500 (2 of unknown cost)"
    assert said(ended.lines) == [
        *("user", "Weather?"),
        *("assistant", "→ weather  1", '{"city": "Vienna"}', "← 21 degrees"),
        *("assistant", "It is warm."),
        *("user", "Thanks!"),
        "✗ RateLimitError: slow down",
    ]


def test_a_session_of_langchain_reads_like_any_other(shell: Shell, calls: Calls) -> None:
    """Its dumped messages are a conversation, also where they are said again as OpenAI has them."""
    asks = {"type": "ai", "content": "", "tool_calls": [{"id": "1", "name": "weather", "args": {}}]}
    result = {"type": "tool", "content": "21 degrees", "tool_call_id": "1"}
    question = {"type": "human", "content": "Weather?"}
    calls.insert_many(
        [
            made("a", [{"role": "user", "content": "Weather?"}], asks),
            made("b", [question, asks, result], {"type": "AIMessageChunk", "content": "Warm."}),
        ]
    )

    assert said(shell("session", "s").lines) == [
        *("user", "Weather?"),
        *("assistant", "→ weather  1", "{}", "← 21 degrees"),
        *("assistant", "Warm."),
    ]


@pytest.mark.usefixtures("chat")
def test_each_turn_says_what_it_took(shell: Shell) -> None:
    """Above a turn stand its number, model and id, and what is known of time, tokens and cost."""
    lines = shell("session", "s").lines
    rules = [number for number, line in enumerate(lines) if line.startswith("──")]

    assert [lines[number].split()[1] for number in rules] == ["1", "2", "3"]
    assert lines[rules[0]].endswith("─ a")
    assert "ERROR gpt-4o" in lines[rules[2]]
    assert lines[rules[0] + 1].endswith("1.5 s, 20 tokens, $0.2500")
    assert max(map(len, lines)) == 80


def test_threads_are_told_apart(shell: Shell, calls: Calls) -> None:
    """A turn that does not go on from the one before it says from which, or that it is new."""
    cats, dogs = ([{"role": "user", "content": f"{animal}?"}] for animal in ("Cats", "Dogs"))
    soft = {"role": "assistant", "content": "Soft."}
    calls.insert_many(
        [
            made("a", cats, soft),
            made("b", dogs, {"role": "assistant", "content": "Loyal."}),
            made("c", [*cats, soft, {"role": "user", "content": "Why?"}], soft),
            made("d", [*cats, soft, {"role": "user", "content": "Why?"}], soft),
        ]
    )

    facts = [line for line in shell("session", "s").lines if line.startswith("   ")]

    assert "new beginning" not in facts[0]
    assert facts[1].endswith(", a new beginning")
    assert facts[2].endswith(", goes on from 1")
    assert ", nothing new was asked" in facts[3]


def test_choices_are_numbered(shell: Shell, calls: Calls) -> None:
    """Where several answers were asked for, each is shown as one of them."""
    other = {"index": 1, "message": {"role": "assistant", "content": "Green."}}
    calls.insert_one(
        made("a", WEATHER[:1], {"role": "assistant", "content": "Red."}, other_choices=[other])
    )

    assert said(shell("session", "s").lines)[2:] == [
        *("assistant  choice 1", "Red."),
        *("assistant  choice 2", "Green."),
    ]


def test_long_content_is_folded(shell: Shell, calls: Calls) -> None:
    """What is left out is counted, and --full shows it."""
    text = "\n".join(f"line {number}" for number in range(300))
    calls.insert_one(made("a", [{"role": "user", "content": text}], SUNNY))

    folded, whole = shell("session", "s").output, shell("session", "s", "--full").output

    assert "line 12" not in folded
    assert "more characters: --full" in folded
    assert "line 299" in whole


@pytest.mark.usefixtures("chat")
def test_machines_get_a_line_for_each_turn(shell: Shell) -> None:
    """--json has each turn with what is new in it and what was answered."""
    turns = [json.loads(line) for line in shell("session", "s", "--json").lines]

    assert [turn["id"] for turn in turns] == ["a", "b", "c"]
    assert [turn["continues"] for turn in turns] == [None, "a", "b"]
    assert [[part["type"] for part in turn["new"]] for turn in turns] == [
        ["text"],
        ["tool_call_response"],
        ["text"],
    ]


@pytest.mark.usefixtures("chat")
def test_an_unknown_session_is_said_so(shell: Shell) -> None:
    """A call's id names its session; one that nothing has is said to be none."""
    of_call, unknown = shell("session", "b"), shell("session", "nobody")

    assert of_call.code == unknown.code == 1
    assert of_call.errors == (
        "llm-audit: b is a call of the session s, no session: llm-audit session s\n"
    )
    assert unknown.errors.startswith("llm-audit: There is no session 'nobody' in ")


@pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")
def test_real_conversations_are_shown_whole(shell: Shell, calls: Calls) -> None:
    """Of recorded sessions every new text is on the page, and no line is too long."""
    lot = Random(7)
    sizes: Counter[str] = Counter()
    for call in recorded_calls():
        start, rest = split(call)
        response = read_response(call["response"] or {})
        answer = {name: response[name] for name in SAID if name in response}
        document = {"_id": call_id(START, lot), "session_id": call["group"], "status": "SUCCESS"}
        calls.insert_one({**document, **start, "request_params": rest, **answer})
        sizes[call["group"]] += 1
    sessions = [name for name, size in sizes.items() if size > 3][:40]
    for session_id in sessions:
        rows = calls.aggregate(pipelines.session(session_id))
        turns = build_conversation(session_id, rows).turns
        ended = shell("session", session_id, "--full")
        page = "".join(ended.output.split())
        parts = [part for turn in turns for part in (*turn.new, *turn.answer)]
        texts = ["".join(part.content.split()) for part in parts if part.type == "text"]

        assert ended.code == 0
        assert [text for text in texts if text not in page] == []
        assert max(map(len, ended.lines)) <= 80
    assert len(sessions) > 20

import json
from collections.abc import Callable
from typing import Any

import pytest
from bson import json_util
from made_up_calls import CALLS, Call
from pymongo.database import Database
from waiting import Calls

Shell = Callable[..., Any]

WEATHER = {
    "_id": "01a2136a-d928-7223-99be-67f237aa89f0",
    "status": "SUCCESS",
    "call_type": "CHAT",
    "provider": "openai",
    "model": "gpt-4o",
    "trace_id": "a-trace",
    "system_prompt": "Be brief.",
    "messages": [
        {"role": "user", "content": "Weather in Vienna?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city":"Vienna","days":[1,2]}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees"},
    ],
    "response_message": {"role": "assistant", "content": "It has \x1b[31m21 degrees."},
    "prompt_tokens": 1200,
    "completion_tokens": 7,
    "estimated_cost": 0.00123,
    "latency_ms": 1234.5,
}


@pytest.fixture
def weather(calls: Calls) -> Call:
    """Store a chat with a tool in it."""
    calls.insert_one(WEATHER)
    return WEATHER


def test_a_call_reads_from_top_to_bottom(shell: Shell, weather: Call) -> None:
    """Facts, then each turn; what a tool gave back stands with what was asked of it."""
    ended = shell("show", weather["_id"])

    shown = [line.strip() for line in ended.lines if line.strip()]
    assert (ended.code, ended.errors) == (0, "")
    assert shown[0] == "CHAT SUCCESS"
    assert shown[shown.index("system") :] == [
        *("system", "Be brief."),
        *("user", "Weather in Vienna?"),
        *("assistant", "→ weather  call_1", '{"city": "Vienna", "days": [1, 2]}', "← 21 degrees"),
        *("assistant", "It has \N{REPLACEMENT CHARACTER}[31m21 degrees."),
    ]
    facts = dict(line.split(maxsplit=1) for line in shown[1 : shown.index("system")])
    assert facts["tokens"] == "1,200 in, 7 out"
    assert facts["cost"] == "$0.001230"
    assert facts["took"] == "1.2 s"


def test_the_beginning_of_an_id_will_do(shell: Shell, weather: Call) -> None:
    """What the lists print is enough."""
    assert weather["_id"] in shell("show", weather["_id"][:18]).output


def test_long_content_is_folded(shell: Shell, calls: Calls) -> None:
    """What is left out is counted, and --full shows it."""
    text = "\n".join(f"line {number}" for number in range(300))
    messages = [{"role": "user", "content": text}]
    calls.insert_one({"_id": "long", "status": "SUCCESS", "messages": messages})

    folded, whole = shell("show", "long").output, shell("show", "long", "--full").output

    assert "line 11" in folded
    assert "line 12" not in folded
    assert "more characters: --full" in folded
    assert "line 299" in whole
    assert "--full" not in whole


def test_the_stored_document_is_extended_json(shell: Shell, weather: Call) -> None:
    """--raw is what MongoDB has; --json is one line."""
    raw = shell("show", weather["_id"], "--raw").output
    as_json = shell("show", weather["_id"], "--json")

    assert json_util.loads(raw) == weather
    assert [json.loads(line) for line in as_json.lines] == [weather]


def test_failures_say_why(shell: Shell, calls: Calls) -> None:
    """The error, its traceback and what ended the call are shown."""
    error = {"error_type": "ValueError", "error_message": "no index", "error_traceback": "File x"}
    calls.insert_one({"_id": "failed", "status": "ERROR", "ended_by": "exception", **error})

    output = shell("show", "failed").output

    assert "ValueError: no index" in output
    assert "File x" in output
    assert "exception" in output


@pytest.mark.parametrize("status", ["PENDING", "SUCCESS"])
def test_a_call_that_is_half_there_is_shown(status: str, shell: Shell, calls: Calls) -> None:
    """Of a call that only a start or a finish has reached, what is there is shown."""
    calls.insert_one({"_id": "half", "status": status})

    ended = shell("show", "half")

    assert ended.code == 0
    assert ended.lines[0] == f"- {status}"


def test_an_unknown_id_names_those_near(shell: Shell, made_up: Database[Call]) -> None:
    """A wrong end, or a wrong beginning, of an id is found out."""
    wanted = CALLS[100]["_id"]

    by_beginning = shell("show", f"{wanted[:-1]}{'0' if wanted[-1] != '0' else '1'}")
    by_end = shell("show", f"ffffffff-{wanted[9:]}")

    assert by_beginning.code == by_end.code == 1
    assert by_beginning.errors.startswith("llm-audit: There is no call ")
    assert f"in {made_up.name}.llm_calls. Near it: " in by_beginning.errors
    assert wanted[:13] in by_beginning.errors.partition("Near it")[2]
    assert by_end.errors.endswith(f"Near it: {wanted}.\n")


@pytest.mark.usefixtures("made_up")
def test_the_beginning_of_several_ids_names_them(shell: Shell) -> None:
    """A beginning that several ids share shows no call."""
    ended = shell("show", "019d")

    assert (ended.code, ended.output) == (1, "")
    assert "begin with '019d': 019d" in ended.errors


def test_the_id_of_something_else_names_the_command(shell: Shell, weather: Call) -> None:
    """Who gives a trace's id is told so."""
    ended = shell("show", weather["trace_id"])

    assert ended.code == 1
    assert ended.errors == "llm-audit: a-trace is a trace, no call: llm-audit trace a-trace\n"

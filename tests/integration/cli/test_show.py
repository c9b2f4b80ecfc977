import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import json_util
from made_up_calls import CALLS, Call
from pymongo.database import Database
from waiting import Calls

from llm_audit.cli.drawing.parts import FOLDED_LINES
from llm_audit.encoding.moved import reference_to

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
    "cost_details": {"input": 0.0012, "output": 0.00003, "searches": 0.0, "previous": []},
    "latency_ms": 1234.5,
    "redacted": {"named_secret": 1, "email": 2},
}


@pytest.fixture
def weather(calls: Calls) -> Call:
    """Store a chat with a tool in it."""
    calls.insert_one(WEATHER)
    return WEATHER


ASKED = {"id": "call_1", "name": "weather", "args": {"city": "Vienna", "days": [1, 2]}}
LANGCHAIN = [
    {"type": "human", "content": "Weather in Vienna?", "tool_calls": []},
    {"type": "ai", "content": "", "tool_calls": [ASKED], "invalid_tool_calls": []},
    {"type": "tool", "content": "21 degrees", "tool_call_id": "call_1", "status": "success"},
]
IN_DATA = [{"type": message["type"], "data": message} for message in LANGCHAIN]


@pytest.mark.parametrize(
    "messages",
    [WEATHER["messages"], LANGCHAIN, IN_DATA],
    ids=["openai", "langchain", "langchain, in data"],
)
def test_a_call_reads_from_top_to_bottom(messages: Any, shell: Shell, calls: Calls) -> None:
    """Facts, then each turn; what a tool gave back stands with what was asked of it."""
    calls.insert_one({**WEATHER, "messages": messages})
    ended = shell("show", WEATHER["_id"])

    shown = [line.strip() for line in ended.lines if line.strip()]
    assert (ended.code, ended.errors) == (0, "")
    assert shown[0] == "CHAT SUCCESS"
    assert shown[shown.index("system") :] == [
        *("system", "Be brief."),
        *("user", "Weather in Vienna?"),
        *("assistant", "→ weather  call_1", '{"city": "Vienna", "days": [1, 2]}', "← 21 degrees"),
        *("assistant", "It has <U+001B>[31m21 degrees."),
        "! 1 invisible character: 1 control",
    ]
    facts = dict(line.split(maxsplit=1) for line in shown[1 : shown.index("system")])
    assert facts["tokens"] == "1,200 in, 7 out"
    assert facts["cost"] == "$0.001230"
    assert facts["parts"] == "input $0.001200, output $0.000030"
    assert facts["took"] == "1.2 s"
    assert facts["redacted"] == "email 2, named_secret 1"


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
    assert [json.loads(line) for line in as_json.lines] == [
        {"id" if name == "_id" else name: value for name, value in weather.items()}
    ]


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


def test_tabs_are_no_line_breaks(shell: Shell, calls: Calls) -> None:
    """A table of tab-separated values stays in its lines."""
    text = "if x:\n\treturn\t1"
    said = {"messages": [{"role": "user", "content": text}], "session_id": "s"}
    calls.insert_one({"_id": "tabs", "status": "SUCCESS", **said})

    for words in (["show", "tabs"], ["session", "s"]):
        lines = [line.rstrip() for line in shell(*words).lines]
        assert lines[lines.index("user") :][1:3] == ["  if x:", "          return  1"]


def test_empty_messages_are_shown_as_such(shell: Shell, calls: Calls) -> None:
    """Who said nothing is named with that."""
    messages = [{"role": "user", "content": ""}, {"type": "ai", "content": ""}]
    answer = {"response_message": {"role": "assistant", "content": " "}, "session_id": "s"}
    calls.insert_one({"_id": "empty", "status": "SUCCESS", "messages": messages, **answer})

    shown = [line.strip() for line in shell("show", "empty").lines if line.strip()]

    said = [*("user", "(empty)"), *("assistant", "(empty)"), *("assistant", "(empty)")]
    assert shown[-len(said) :] == said
    assert shell("session", "s").lines[-2:] == ["assistant", "  (empty)"]


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ({"foo": 1, "bar": 2}, ['· {"foo": 1, "bar": 2}']),
        ({"type": "image_url", "image_url": {"url": "u"}}, ["· image_url", '{"url": "u"}']),
        (
            {"type": "document", "document": "text", "title": "T"},
            ["· document", '{"document": "text", "title": "T"}'],
        ),
        ({"type": "tool_result", "tool_use_id": "t_1", "content": "21"}, ["← t_1", "21"]),
        (
            {"type": "tool_result", "tool_use_id": "t_1", "content": "no", "is_error": True},
            ["← t_1 failed:", "no"],
        ),
        (
            reference_to("a" * 64, 2048, "str", "It begins so"),
            ["· <2.0 KiB in GridFS,", f'{"a" * 64}, begins "It', 'begins so">'],
        ),
    ],
    ids=["unknown", "image", "document", "result without its call", "failure", "GridFS"],
)
def test_parts_are_shown_whole(content: Any, shown: list[str], shell: Shell, calls: Calls) -> None:
    """Whatever shape a part has, nothing of it is left out, and labels stand apart."""
    messages = [{"role": "user", "content": [content]}]
    calls.insert_one({"_id": "a", "status": "SUCCESS", "messages": messages, "media": ["a" * 64]})

    lines = [line.strip() for line in shell("show", "a").lines]

    *_, read_it, problem = lines
    assert lines[-len(shown) - 2 : -2] == shown
    assert read_it.endswith("comes with LLMCallRepository.get(call_id, with_media=True)")
    assert problem == f"✗ of its media {'a' * 64}: it is missing from GridFS, or not whole"


def test_a_tool_that_failed_says_so(shell: Shell, calls: Calls) -> None:
    """What it gave back stands with its call, and that it is no result is to be seen."""
    asked = {"type": "tool_use", "id": "1", "name": "weather", "input": {"city": "Atlantis"}}
    failed = {
        "type": "tool_result",
        "tool_use_id": "1",
        "is_error": True,
        "content": "no such city",
    }
    messages = [{"role": "assistant", "content": [asked]}, {"role": "user", "content": [failed]}]
    calls.insert_one({"_id": "a", "status": "SUCCESS", "messages": messages})

    lines = [line.strip() for line in shell("show", "a").lines]

    assert lines[-3:] == ["→ weather  1", '{"city": "Atlantis"}', "← failed: no such city"]


def test_long_parameters_are_folded(shell: Shell, calls: Calls) -> None:
    """What is left out of metadata and parameters is counted, and --full shows it."""
    long = {"metadata": {"key": "x" * 2000 + "end"}}
    calls.insert_one({"_id": "a", "status": "SUCCESS", **long})

    folded, whole = shell("show", "a").output, shell("show", "a", "--full").output

    assert "more characters: --full" in " ".join(folded.split())
    assert "end" not in folded
    assert 'end"}' in whole


def test_the_end_of_a_traceback_is_kept(shell: Shell, calls: Calls) -> None:
    """Where a traceback is long, the cause is seen; that of a raised exception is no repetition."""
    lines = [f"  File {n} {'x' * 60}" for n in range(200)]
    traceback = "\n".join(["Traceback:", *lines, "KeyError: 'a'"])
    error = {"error_type": "KeyError", "error_message": "'a'"}
    calls.insert_many(
        [
            {"_id": "raised", "status": "ERROR", **error, "error_traceback": traceback},
            {"_id": "not raised", "status": "ERROR", **error, "error_traceback": "KeyError: 'a'\n"},
        ]
    )

    raised, not_raised = shell("show", "raised"), shell("show", "not raised")

    assert raised.lines[-1].rstrip() == "  KeyError: 'a'"
    assert "File 199" in raised.output
    assert "File 2 " not in raised.output
    kept = raised.output.partition("more characters: --full")[2].splitlines()
    assert kept[1].startswith("    File 1"), "a line is whole or left out"
    assert not_raised.output.count("KeyError") == 1


def test_a_long_traceback_ends_with_as_many_lines_as_there_is_room_for(
    shell: Shell, calls: Calls
) -> None:
    """Where its last lines are short, none of them is left out."""
    traceback = "\n".join(f"  File {n} {'x' * 40}" for n in range(200))
    calls.insert_one(
        {"_id": "a", "status": "ERROR", "error_type": "E", "error_traceback": traceback}
    )

    kept = shell("show", "a").output.partition("more characters: --full")[2].split("File ")[1:]

    assert [line.split()[0] for line in kept] == [str(n) for n in range(200 - FOLDED_LINES, 200)]


def test_a_running_call_says_for_how_long(shell: Shell, calls: Calls) -> None:
    """What has not ended tells how long it has run."""
    created = datetime.now(UTC) - timedelta(minutes=3)
    calls.insert_one({"_id": "a", "status": "PENDING", "created_at": created})

    assert re.search(r"running for  3m0\ds", shell("show", "a").output)


def test_recorded_text_turns_nothing_around(shell: Shell, calls: Calls) -> None:
    """Neither control characters nor overrides of the direction of text reach the terminal."""
    nasty = "a\x1b]0;b\u202ec\u2066d"
    fields = {"ended_by": nasty, "error_type": nasty, "error_message": nasty, "model": nasty}
    known = {
        "session_id": "s",
        "trace_id": "t",
        "created_at": datetime.now(UTC),
        "task": {"name": nasty},
    }
    calls.insert_one({"_id": nasty, "status": "ERROR", **fields, **known})

    for words in (
        *(["show", nasty], ["session", "s"], ["trace", "t"], ["failures"], ["calls", "--limit", 1]),
        *(
            ["search", "none", "--model", nasty],
            ["costs"],
            ["usage"],
            ["failures", "--model", nasty],
        ),
    ):
        output = shell(*words).output
        assert output
        assert not set(output) & {"\x1b", "\u202e", "\u2066"}, words


def test_what_is_said_of_the_call_is_shown(shell: Shell, calls: Calls) -> None:
    """Each score has a line: what was judged, by whom, and why."""
    user = {"name": "helpful", "value": False, "source": "user", "comment": "wrong\x1b[31m city"}
    calls.insert_one(WEATHER | {"scores": [user, {"name": "tone", "value": "kind"}]})

    lines = shell("show", WEATHER["_id"]).lines

    shown = [line.split(maxsplit=1)[1].strip() for line in lines if line.startswith("score")]
    assert shown == ["helpful False (user): wrong<U+001B>[31m city", "tone kind"]

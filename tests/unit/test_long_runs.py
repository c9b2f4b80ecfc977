"""However much is in a call, a session or a trace: work grows in proportion, and it is folded."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lines_run import lines_run
from patience import share
from rich.console import Console

from llm_audit.cli.commands.calls import session as session_command
from llm_audit.cli.commands.calls.show import print_call
from llm_audit.cli.drawing.trace_table import trace_table
from llm_audit.display.left_over import left_over
from llm_audit.providers.messages import Part, read_messages, read_request
from llm_audit.queries.answers.conversation import build_conversation
from llm_audit.queries.answers.pairing import Paired, pair
from llm_audit.queries.answers.trace_tree import build_trace_tree

Call = dict[str, Any]

# What takes work in proportion takes twice as much for twice as much; quadratic work, four times.
LINEAR = 2.5


def tool_calls(count: int) -> Call:
    asked = [
        {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": f"[{n}]"}}
        for n in range(count)
    ]
    gave = [{"role": "tool", "tool_call_id": f"c{n}", "content": f"r{n}"} for n in range(count)]
    return {"messages": [{"role": "assistant", "tool_calls": asked}, *gave]}


def tool_calls_without_ids(count: int) -> Call:
    asked = [{"functionCall": {"name": f"f{n}", "args": {"n": n}}} for n in range(count)]
    gave = [
        {"functionResponse": {"name": f"f{n}", "response": {"n": n}}}
        for n in reversed(range(count))
    ]
    return {"messages": [{"role": "model", "parts": asked}, {"role": "user", "parts": gave}]}


def responses_to_one(count: int) -> Call:
    call = tool_calls(1)
    gave = {"role": "tool", "tool_call_id": "c0", "content": "again"}
    return {"messages": [*call["messages"], *([gave] * count)]}


def responses_to_none(count: int) -> Call:
    call = tool_calls(count)
    gave = [{"role": "tool", "tool_call_id": f"x{n}", "content": "?"} for n in range(count)]
    return {"messages": [call["messages"][0], *gave]}


def messages(count: int) -> Call:
    return {"messages": [{"role": "user", "content": f"message {n}"} for n in range(count)]}


def texts_of_one(count: int) -> Call:
    texts = [{"type": "text", "text": f"word {n} "} for n in range(count)]
    return {"messages": [{"role": "user", "content": texts}]}


def said_again(count: int) -> Call:
    return {
        "messages": [{"role": "assistant", "content": "ok"}] * count,
        "response_message": {"role": "assistant", "content": "ok"},
    }


def odd_fields(count: int) -> Call:
    return {"messages": [{"role": "user", "content": "x", "odd": f"odd {n}"} for n in range(count)]}


def choices(count: int) -> Call:
    others = [{"message": {"role": "assistant", "content": f"choice {n}"}} for n in range(count)]
    return {"response_message": {"role": "assistant", "content": "first"}, "other_choices": others}


SHAPES = (
    *(tool_calls, tool_calls_without_ids, responses_to_one, responses_to_none, messages),
    *(texts_of_one, said_again, odd_fields, choices),
)


def console() -> Console:
    return Console(file=StringIO(), width=100, no_color=True, markup=False, highlight=False)


def shown(call: Call, *, full: bool = False) -> str:
    out = console()
    print_call(out, {"_id": "1", "status": "SUCCESS", **call}, {}, full=full)
    return out.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def session_of(call: Call) -> None:
    rows = [{"_id": str(n), "status": "SUCCESS", **call} for n in range(3)]
    turns = build_conversation("s", rows).turns
    session_command._print_turns(console(), turns, full=False)


@pytest.mark.many
def test_work_grows_with_what_there_is() -> None:
    """Twice as many tool calls, messages, texts or choices take about twice the work."""
    works = [lambda call: pair(read_request(call)), shown, session_of]
    for number, shape in enumerate(SHAPES):
        for work in share(works, 3, number):
            once, twice = (lines_run(lambda: work(shape(n))) for n in (50, 100))  # noqa: B023
            assert twice < LINEAR * once, (shape.__name__, once, twice)


def test_work_grows_with_the_calls_of_a_trace() -> None:
    """Whoever called whom: all one, each the next, in a circle, nobody."""
    parents: dict[str, Callable[[int, int], int | None]] = {
        "one": lambda n, _: 0 if n else None,
        "next": lambda n, _: n - 1 if n else None,
        "circle": lambda n, count: (n + 1) % count,
        "pairs": lambda n, _: n ^ 1,
        "unknown": lambda n, _: -n - 1,
    }

    def draw(count: int, parent_of: Callable[[int, int], int | None]) -> None:
        rows = [
            {"id": str(n), "status": "ERROR", "parent_call_id": None if p is None else str(p)}
            for n in range(count)
            for p in [parent_of(n, count)]
        ]
        tree = build_trace_tree(rows)
        assert tree.calls == count
        trace_table(100, tree, datetime.now(UTC), {c.id for c in tree.critical_path()}, full=False)

    for name, parent_of in parents.items():
        once, twice = (lines_run(lambda: draw(n, parent_of)) for n in (300, 600))  # noqa: B023
        assert twice < LINEAR * once, (name, once, twice)


def test_long_runs_are_folded() -> None:
    """Of 2,000 the first and the last are shown, and how many are between; --full shows them."""
    for shape, fold in {
        tool_calls: "… 1,960 more tool calls: --full",
        messages: "… 1,960 more parts: --full",
        choices: "… 1,961 more choices: --full",
        responses_to_one: "… 1,961 more responses: --full",
    }.items():
        short = shown(shape(2_000))
        assert fold in short, shape.__name__
        assert len(short.splitlines()) < 300
    ends = shown(tool_calls(101))
    assert "r0" in ends
    assert "r19" in ends
    assert "r20" not in ends
    assert "r81" in ends
    assert "r100" in ends
    assert "--full" not in shown(tool_calls(100)), "a run of no great length is shown whole"
    assert "r50" in shown(tool_calls(101), full=True)


def test_a_session_of_many_turns_is_folded() -> None:
    """The first and the last turns, with the numbers that they have."""
    rows = [{"_id": str(n), "status": "SUCCESS", "input": f"q{n}"} for n in range(1, 151)]
    out = console()
    session_command._print_turns(out, build_conversation("s", rows).turns, full=False)
    text = out.file.getvalue()  # type: ignore[attr-defined]

    assert "── 20 " in text
    assert "… 110 more turns: --full" in text
    assert "── 131 " in text
    assert "── 21 " not in text


def test_what_is_looked_through_has_a_bound() -> None:
    """What was shown is found again without looking through all of it each time."""
    document = odd_fields(3_000) | {"input": ["abc " * 5_000] * 3}
    parts = read_request(document)
    rest = left_over(document, (), parts)

    assert len(rest) == 3_000
    assert left_over(messages(3_000), (), read_request(messages(3_000))) == {}


def test_texts_of_one_message_are_one_part() -> None:
    """However many there are."""
    [part] = read_messages(texts_of_one(100_000)["messages"])

    assert part.content == "".join(f"word {n} " for n in range(100_000))


parts = st.builds(
    Part,
    role=st.just("tool"),
    type=st.sampled_from(["tool_call", "tool_call_response", "text"]),
    content=st.just("x"),
    id=st.none() | st.sampled_from("ab"),
    name=st.none() | st.sampled_from("fg"),
)


@given(st.lists(st.lists(parts, max_size=8), max_size=3))
def test_pairs_are_those_that_a_look_at_every_call_finds(said: list[list[Part]]) -> None:
    """By the newest call of its id; else the oldest unanswered one of its name without an id."""
    waiting: list[Paired] = []

    def asked_for(response: Part) -> Paired | None:
        same = [one for one in waiting if response.id and one.part.id == response.id]
        if same:
            return same[-1]
        return next(
            (
                one
                for one in waiting
                if (one.part.id is None or response.id is None)
                and not one.responses
                and response.name in {None, one.part.name}
            ),
            None,
        )

    expected: list[list[Paired]] = []
    for some in said:
        expected.append([])
        for part in some:
            asked = asked_for(part) if part.type == "tool_call_response" else None
            if asked:
                asked.responses.append(part)
                continue
            expected[-1].append(Paired(part))
            if part.type == "tool_call":
                waiting.append(expected[-1][-1])

    assert pair(*said) == expected

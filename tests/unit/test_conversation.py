"""A session as a conversation: history is shown once, and nothing new is missed."""

from collections import Counter
from typing import Any

from properties import given, st

from llm_audit.providers.messages import Part, read_messages
from llm_audit.queries.answers.conversation import Conversation, build_conversation

Row = dict[str, Any]


def user(text: str) -> Row:
    return {"role": "user", "content": text}


def assistant(text: str) -> Row:
    return {"role": "assistant", "content": text}


def system(text: str) -> Row:
    return {"role": "system", "content": text}


def call(number: int, messages: list[Any], answer: str | Row | None, **more: Any) -> Row:
    """Make up a row of the session."""
    row = {"_id": f"call {number}", "status": "SUCCESS", "messages": messages, **more}
    if answer is not None:
        row["response_message"] = assistant(answer) if isinstance(answer, str) else answer
    return row


def session(*calls: tuple[Any, ...], **more: Any) -> list[tuple[Any, ...]]:
    """Return, for each call, what it continues and what is new in it."""
    rows = [call(number, *rest, **more) for number, rest in enumerate(calls)]
    turns = build_conversation("s", rows).turns
    return [(turn.continues, *(part.content for part in turn.new)) for turn in turns]


def test_history_is_shown_once() -> None:
    """Each turn shows what its user said; the rest was there before."""
    assert session(
        ([system("Be kind."), user("one")], "1"),
        ([system("Be kind."), user("one"), assistant("1"), user("two")], "2"),
        (
            [
                system("Be kind."),
                user("one"),
                assistant("1"),
                user("two"),
                assistant("2"),
                user("three"),
            ],
            "3",
        ),
    ) == [(None, "Be kind.", "one"), ("call 0", "two"), ("call 1", "three")]


def test_a_new_thread_is_a_new_beginning() -> None:
    """Two threads in turn are told apart, each continued where it stopped."""
    assert session(
        ([user("cats?")], "soft"),
        ([user("dogs?")], "loyal"),
        ([user("cats?"), assistant("soft"), user("and?")], "quick"),
        ([user("dogs?"), assistant("loyal"), user("and?")], "loud"),
    ) == [(None, "cats?"), (None, "dogs?"), ("call 0", "and?"), ("call 1", "and?")]


def test_tool_calls_and_results_are_shown() -> None:
    """A call for a tool is an answer; what it gave is new in the next request."""
    wanted = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    asks = {"role": "assistant", "content": None, "tool_calls": [wanted]}
    result = {"role": "tool", "tool_call_id": "1", "content": "42"}
    first, second = build_conversation(
        "s", [call(0, [user("f?")], asks), call(1, [user("f?"), asks, result], "It is 42.")]
    ).turns

    assert [(p.type, p.name, p.arguments) for p in first.answer] == [("tool_call", "f", {"x": 1})]
    assert [(p.type, p.id, p.response) for p in second.new] == [("tool_call_response", "1", "42")]
    assert second.continues == first.id


def test_history_may_change_its_shape() -> None:
    """A conversation that goes on with another provider is the same conversation."""
    wanted = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    asks = {"role": "assistant", "content": "Wait.", "tool_calls": [wanted]}
    blocks = [
        {"type": "text", "text": " Wait. "},
        {"type": "tool_use", "id": "made anew", "name": "f", "input": {"x": 1}},
    ]
    result = {"type": "tool_result", "tool_use_id": "made anew", "content": "42"}
    _, turn = build_conversation(
        "s",
        [
            call(0, [user("f?")], asks),
            call(
                1,
                [
                    {"role": "user", "content": [{"type": "text", "text": "f?"}]},
                    {"role": "assistant", "content": blocks},
                    {"role": "user", "content": [result]},
                ],
                {"role": "assistant", "content": [{"type": "text", "text": "It is 42."}]},
            ),
        ],
    ).turns

    assert turn.continues == "call 0"
    assert [(part.type, part.response) for part in turn.new] == [("tool_call_response", "42")]


def test_new_instructions_are_shown() -> None:
    """Once there is an answer, instructions may change, and are shown when they do."""
    assert session(
        ([system("It is one."), user("a")], "A"),
        ([system("It is two."), user("a"), assistant("A"), user("b")], "B"),
    ) == [(None, "It is one.", "a"), ("call 0", "It is two.", "b")]


def test_two_prompts_about_one_text_are_two_beginnings() -> None:
    """As in a pipeline that first classifies a question and then answers it."""
    assert session(
        ([system("Classify."), user("a")], "question"),
        ([system("Answer."), user("a")], "A"),
        ([system("Answer."), user("a"), assistant("A"), user("b")], "B"),
    ) == [(None, "Classify.", "a"), (None, "Answer.", "a"), ("call 1", "b")]


def test_asking_again_adds_nothing() -> None:
    """A retry of a call that failed repeats it as a whole."""
    assert session(([user("a")], None), ([user("a")], "A")) == [(None, "a"), ("call 0",)]


def test_an_answer_may_be_told_differently() -> None:
    """History that does not hold the answer as it was given shows what it holds instead."""
    assert session(
        ([user("a")], "A long answer"), ([user("a"), assistant("Short"), user("b")], "B")
    ) == [
        (None, "a"),
        ("call 0", "Short", "b"),
    ]


def test_a_question_may_be_asked_differently() -> None:
    """An edited question goes on from what was before it."""
    assert session(
        ([user("a")], "A"),
        ([user("a"), assistant("A"), user("b")], "B"),
        ([user("a"), assistant("A"), user("c")], "C"),
    ) == [(None, "a"), ("call 0", "b"), ("call 0", "c")]


def test_history_may_be_cut_off() -> None:
    """A window over the last messages still continues what it shows the end of."""
    assert session(
        ([user("a")], "A"),
        ([user("a"), assistant("A"), user("b")], "B"),
        ([user("b"), assistant("B"), user("c")], "C"),
    ) == [(None, "a"), ("call 0", "b"), ("call 1", "c")]


def test_a_long_answer_says_what_is_continued() -> None:
    """What was retrieved for a question leaves the history with the next one; the answer stays."""
    answer = "A long answer. " * 10
    assert session(
        ([user("context 1, question 1")], answer),
        ([user("question 1"), assistant(answer), user("context 2, question 2")], "B"),
    ) == [(None, "context 1, question 1"), ("call 0", "question 1", "context 2, question 2")]


def test_examples_in_a_prompt_are_no_conversation() -> None:
    """Requests that share their examples begin anew each time."""
    examples = [user("good"), assistant("positive"), user("bad"), assistant("negative")]
    turns = session(
        ([*examples, user("fine")], "positive"), ([*examples, user("poor")], "negative")
    )

    assert [turn[0] for turn in turns] == [None, None]
    assert turns[1][-1] == "poor"


def test_the_provider_may_keep_the_history() -> None:
    """A request that names the response it follows repeats nothing, and continues it."""
    turns = build_conversation(
        "s",
        [
            {"_id": "a", "status": "SUCCESS", "input": "one", "response_id": "resp_1"},
            {"_id": "b", "status": "SUCCESS", "input": "one", "previous_response_id": "resp_1"},
        ],
    ).turns

    assert [(turn.continues, turn.new[0].content) for turn in turns] == [
        (None, "one"),
        ("a", "one"),
    ]


def test_calls_that_did_not_answer_are_turns() -> None:
    """A failed or running call shows what was asked and how it stands."""
    failed, running = build_conversation(
        "s",
        [
            {"_id": "a", "status": "ERROR", "messages": [user("a")], "error_message": "no"},
            {"_id": "b", "status": "PENDING", "messages": [user("b")]},
        ],
    ).turns

    assert (failed.status, failed.error_message, failed.answer) == ("ERROR", "no", [])
    assert (running.status, running.new[0].content) == ("PENDING", "b")


def test_a_session_without_calls_has_no_turns() -> None:
    """No rows, no turns."""
    assert build_conversation("s", []) == Conversation(session_id="s", turns=[])


texts = st.sampled_from(["a", "b", "c", "", "d" * 150])
messages = st.lists(
    st.builds(lambda say, text: say(text), st.sampled_from([user, assistant, system]), texts),
    max_size=5,
)


@given(st.lists(st.tuples(messages, texts | st.none(), st.integers(0, 3)), max_size=6))
def test_nothing_new_is_missed(calls: list[tuple[list[Row], Any, int]]) -> None:
    """Whatever is asked, in whatever order, what no turn has shown before is in this turn's."""
    rows: list[Row] = []
    for number, (said, answer, kept) in enumerate(calls):
        before = rows[-kept] if 0 < kept <= len(rows) else {}
        history = [
            *before.get("messages", []),
            *([m] if (m := before.get("response_message")) else []),
        ]
        rows.append(call(number, [*history, *said], answer))
    shown: Counter[str] = Counter()
    for row, turn in zip(rows, build_conversation("s", rows).turns, strict=True):
        new = keys(turn.new)
        asked = keys(read_messages(row["messages"]))
        assert not Counter(new) - Counter(asked)
        shown.update(new)
        assert set(asked) <= set(shown)
        shown.update(keys(turn.answer))


def keys(parts: list[Part]) -> list[str]:
    return [part.key() for part in parts if part.key()]


def test_long_chats_are_shown_in_one_line_each() -> None:
    """However long the history, each turn adds one message."""
    turns = 60
    history: list[Row] = []
    rows = []
    for number in range(turns):
        history = [*history, user(f"question {number}")]
        rows.append(call(number, history, f"answer {number}"))
        history = [*history, assistant(f"answer {number}")]

    assert [len(turn.new) for turn in build_conversation("s", rows).turns] == [1] * turns

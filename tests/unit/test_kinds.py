"""Every field of a call has one kind, and everything that asks what content is goes by it."""

from typing import Any

import pytest

import llm_audit
from llm_audit import LLMLogger
from llm_audit.call import CONTENT, CallFields, Kind, named
from llm_audit.context import CallContext, enter, leave
from llm_audit.exports.columns import ALL_COLUMNS, PLAIN_COLUMNS
from llm_audit.journal.stripped import BARE_FIELD_MAX_BYTES
from llm_audit.queries.views import v_calls, v_failures
from llm_audit.redaction.functions import STRUCTURE
from llm_audit.testing.records import RecordedCalls

TASK = {"name": "app.summarize", "attempt_id": "a-1", "retries": 1}
SAID = [{"role": "user", "content": "x" * 2500}]


def start(**given: Any) -> str:
    return LLMLogger.start(model="m", messages=SAID, **given)


@pytest.fixture
def full_spool(llm_audit_records: RecordedCalls) -> RecordedCalls:
    """Record into a spool that has no room for content."""
    llm_audit.configure(spool_max_bytes=200_000)
    start()
    while llm_audit_records[-1].messages:
        start()
    return llm_audit_records


def test_every_field_has_one_kind() -> None:
    """Whoever adds a field says there what it holds, and nowhere else."""
    for name, field in CallFields.model_fields.items():
        assert len([mark for mark in field.metadata if isinstance(mark, Kind)]) == 1, name
    assert sorted(named(*Kind)) == sorted(CallFields.model_fields)


def test_who_and_how_much_stay_where_the_spool_is_full(full_spool: RecordedCalls) -> None:
    """A call without its content still says who asked, in which task, and what it took."""
    frame = enter(CallContext(task_id="t-1", task=TASK))
    call_id = start(temperature=0.5, max_tokens=9, tags=["a"], metadata={"a": 1})
    leave(frame)
    LLMLogger.complete(
        call_id,
        response_message={"role": "assistant", "content": "said"},
        tokens={"total_tokens": 7},
        estimated_cost=0.5,
        response_id="r",
        response_model="m-1",
        time_to_first_token_ms=3.0,
    )
    call = full_spool[-1]

    assert call.task
    assert call.task.model_dump(exclude_unset=True) == TASK
    assert (call.task_id, call.temperature, call.max_tokens, call.tags) == ("t-1", 0.5, 9, ["a"])
    assert (call.response_id, call.response_model) == ("r", "m-1")
    assert (call.time_to_first_token_ms, call.cost_source) == (3.0, "caller")
    assert not call.model_fields_set & {*named(Kind.SAID, Kind.QUOTES)} - {
        "encoding_notes",
        "media",
    }
    assert call.encoding_notes == [
        "messages, metadata: dropped: spool_max_bytes",
        "response_message, usage: dropped: spool_max_bytes",
    ]


def test_what_stays_where_the_spool_is_full_is_small(full_spool: RecordedCalls) -> None:
    """Labels and ids that are as large as content go with it, and the note names them."""
    large = "x" * BARE_FIELD_MAX_BYTES
    start(tags=["a", large], user_id=large, session_id="s", task_id="t")
    call = full_spool[-1]

    assert (call.tags, call.user_id, call.session_id, call.task_id) == ([], None, "s", "t")
    assert call.encoding_notes == ["messages, user_id, tags: dropped: spool_max_bytes"]


def test_no_body_is_left_where_a_rule_fails() -> None:
    """A rule that fails costs everything that it may be there for, and nothing else."""
    assert {*named(Kind.WHO, Kind.FIGURE)}.isdisjoint(CONTENT)
    assert {*CONTENT, *named(Kind.WHO, Kind.FIGURE)} == {*CallFields.model_fields}
    assert CONTENT.isdisjoint(STRUCTURE)


@pytest.mark.parametrize("view", [v_calls, v_failures])
def test_views_show_every_field_that_is_no_body(view: Any) -> None:
    """What analysts may see goes by the kind of a field."""
    shown = {path.partition(".")[0] for path in view()[-1]["$project"]}

    assert shown == {"_id", *named(Kind.WHO, Kind.FIGURE, Kind.LABEL)}


def test_csv_has_every_field_that_is_no_body() -> None:
    """The columns are the fields of the views, why a call failed, and what was said as text."""
    fields = {column.partition(".")[0] for column in PLAIN_COLUMNS}
    plain = named(Kind.WHO, Kind.FIGURE, Kind.LABEL)
    assert fields == {"id", *plain, "error_message", "prompt", "answer"}
    assert "task.attempt_id" in PLAIN_COLUMNS
    assert len(PLAIN_COLUMNS) == len({*PLAIN_COLUMNS})


def test_every_field_is_a_column() -> None:
    """Who adds a field has it in exports that hold everything."""
    fields = {column.partition(".")[0] for column in ALL_COLUMNS}
    assert fields == {"id", *CallFields.model_fields, "prompt", "answer"}

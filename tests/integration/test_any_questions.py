"""Whatever is asked with: a filter is a value, a search a text; never an operator or a pattern."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from anything import TEXTS, VALUES, no_hang
from properties import given, st
from pymongo.database import Database
from whole_documents import OPENAI

from llm_audit import LLMAuditError, SyncLLMCallRepository, UsageError
from llm_audit.queries.filters import LATENCIES, CallFilters

Call = dict[str, Any]
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
NAMES = sorted(CallFilters.__annotations__.keys() - {"start_date", "end_date"})


class Impostor:
    """An id that says it is something else."""

    def __str__(self) -> str:
        return '{"$ne": null}'


OPERATORS: list[Any] = [
    *(
        {"$ne": None},
        [{"$ne": None}],
        {"$gt": ""},
        {"$in": ["x"]},
        {"$regex": ".*"},
        {"$exists": True},
    ),
    *(
        {"$where": "1"},
        {"$expr": True},
        {"$not": {"$eq": 1}},
        {"$or": [{}]},
        {"$function": {"body": "1"}},
    ),
    *(re.compile(".*"), [re.compile(".*")], [["x"]], [[]], {"x"}, b"x", True, 1.5, Impostor()),
    *("$user_id", "$$ROOT", "$model", "*", ".*", "x|y", "", " ", "\0", "x\0y", "\ud800"),
]
PATTERNS = [
    "(a+)+$",
    ".*",
    "\\E.*\\Q",
    "$where",
    "$user_id",
    "^",
    "[^",
    "(" * 1000,
    "ß" * 500,
    "\n",
    "\\",
]
ID = OPENAI["_id"]


@pytest.fixture
def questions(database: Database[Call]) -> SyncLLMCallRepository:
    """Give one call, and somebody to ask for it."""
    database["llm_calls"].insert_one(OPENAI)
    return SyncLLMCallRepository(database["llm_calls"])


def refused_or(nothing: object, question: Callable[..., Any], *given: Any, **filters: Any) -> bool:
    """Tell whether a question is refused as ours are, or is about nothing."""
    try:
        return question(*given, **filters) in (nothing, None, [], 0)
    except LLMAuditError:
        return True


def test_no_argument_is_an_operator(questions: SyncLLMCallRepository) -> None:
    """It is refused, or looked for as it is, and then nothing is found."""
    for value in OPERATORS:
        for name in NAMES:
            if not (name == "tags" and value == []) and not (name in LATENCIES and value == 1.5):
                found = refused_or(None, questions.list_by_filters, **{name: value})
                assert found, (name, value)
                assert refused_or(0, questions.count_by_filters, **{name: value}), (name, value)
        for ask in (questions.get, questions.get_calls_by_trace, questions.get_calls_by_task):
            assert refused_or(None, ask, value), (ask, value)
        assert refused_or(None, questions.get_workflow, value), value
        assert refused_or(None, lambda it: questions.get_session(it).turns, value), value  # type: ignore[misc]
        assert refused_or(None, lambda it: list(questions.get_trace_tree(it).walk()), value), value
        with pytest.raises(UsageError):
            questions.list_by_filters(limit={"$gt": 0})  # type: ignore[arg-type]
        for by in (questions.cost_summary, questions.latency_summary, questions.usage_over_time):
            with pytest.raises(LLMAuditError):
                by(value)  # type: ignore[arg-type]
        for zone in ("$user_id", {"$literal": "UTC"}, value):
            with pytest.raises(LLMAuditError):
                questions.cost_summary("day", timezone=zone)  # type: ignore[arg-type]


def test_no_text_is_a_pattern(questions: SyncLLMCallRepository, database: Database[Call]) -> None:
    """A search finds a text where it is said, and takes no longer for one that is a pattern."""
    database["llm_calls"].insert_one(
        OPENAI | {"_id": f"{ID[:-1]}2", "system_prompt": "a" * 5000 + "!"}
    )
    for text in PATTERNS:
        with no_hang():
            found = questions.search(text, start_date=LONG_AGO) if text.strip() else []
        assert found == [], text
    said = f"{ID[:-1]}3"
    database["llm_calls"].insert_one(OPENAI | {"_id": said, "system_prompt": " ".join(PATTERNS)})
    for text in filter(str.strip, PATTERNS):
        assert [call.id for call in questions.search(text, start_date=LONG_AGO)] == [said], text


@given(name=st.sampled_from(NAMES), value=VALUES | TEXTS, extra=TEXTS)
def test_any_filter(name: str, value: Any, extra: str, questions: SyncLLMCallRepository) -> None:
    """Whatever it is, what is found has it."""
    with no_hang():
        for given in ({name: value}, {name: [value, extra]}, {extra or "x": value}):
            try:
                found = questions.list_by_filters(**given)  # type: ignore[arg-type]
            except LLMAuditError:
                continue
            for call in found:
                assert holds(call.model_dump(), value) or holds(call.model_dump(), extra), given


def holds(document: Any, value: Any) -> bool:
    """Tell whether a value is in a document; None and an empty text restrict nothing."""
    return value is None or value == "" or str(value) in repr(document)

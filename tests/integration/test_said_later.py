"""What is said of a call after it was recorded: scores, more tags, more metadata."""

import os
import signal
import time
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from children import child, output_of
from uuid_utils import uuid7
from waiting import PATIENCE, Call, Calls, Recording, arrived, until

import llm_audit
from llm_audit import LLMLogger, SyncLLMCallRepository, UsageError, pipelines
from llm_audit.given.scores import COMMENT_MAX_CHARACTERS, LABEL_MAX_CHARACTERS, NAME_MAX_CHARACTERS
from llm_audit.ids import first_id_at
from llm_audit.queries.filters import condition

SCORE_AND_DIE = """
import os, signal, sys
from llm_audit import LLMLogger

LLMLogger.score(sys.argv[1], "helpful", value=False, source="reviewer")
LLMLogger.annotate(sys.argv[1], tags=["seen"], metadata={"ticket": 7})
print("said")
os.kill(os.getpid(), signal.SIGKILL)
"""
SCORE = """
import sys
import llm_audit
from llm_audit import LLMLogger

LLMLogger.score(sys.argv[1], "helpful", value=True, source="user", comment="thanks")
assert llm_audit.flush()
"""

pytestmark = pytest.mark.usefixtures("recording")


class Scalar:
    """A number as numpy has it."""

    def __init__(self, number: object) -> None:
        self.number = number

    def __str__(self) -> str:
        return str(self.number)

    def item(self) -> object:
        """Return the number as Python has it."""
        return self.number


def said(call: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the scores of a call, in their order."""
    scores = call.get("scores", [])
    return [(score["name"], score["value"], score.get("source")) for score in scores]


def outcome(call: Call) -> Call:
    """Return everything of a call but what was said of it later."""
    later = ("scores", "annotations", "tags", "metadata")
    return {name: value for name, value in call.items() if name not in later}


def test_scores_and_labels_are_added_to_a_call_that_has_ended(calls: Calls) -> None:
    """They are in the document, the last said stands, and the outcome is as it was."""
    call_id = LLMLogger.start(model="m", messages=[], tags=["b", "a"], metadata={"x": 1, "y": 1})
    LLMLogger.complete(call_id, tokens={"total_tokens": 3})
    before = arrived(calls, call_id)

    assert LLMLogger.score(call_id, "helpful", value=True, source="user") == call_id
    LLMLogger.score(call_id, "helpful", value=False, source="user", comment="it was wrong")
    LLMLogger.score(call_id, "helpful", 0.5, source="evaluator")
    LLMLogger.score(call_id, "tone", "rude")
    LLMLogger.annotate(call_id, tags=["a", "c"], metadata={"y": 2, "a.b": {"$z": 3}})
    LLMLogger.annotate(call_id, metadata={"y": 3})
    call = arrived(calls, call_id)

    assert said(call) == [
        ("helpful", False, "user"),
        ("helpful", 0.5, "evaluator"),
        ("tone", "rude", None),
    ]
    assert call["scores"][0]["comment"] == "it was wrong"
    assert call["scores"][0]["at"] >= call["completed_at"]
    assert call["tags"] == ["a", "b", "c"]
    assert call["metadata"] == {"x": 1, "y": 3, "a.b": {"$z": 3}}
    assert outcome(call) == outcome(before)
    read = SyncLLMCallRepository(calls).get(call_id)
    assert read is not None
    assert [score.value for score in read.scores] == [False, 0.5, "rude"]
    assert read.unreadable == []


async def test_a_score_of_a_call_that_is_open_waits_for_nothing(calls: Calls) -> None:
    """It may be said before the call ends, and awaited like every recording function."""
    call_id = await LLMLogger.start(model="m", messages=[], tags=["a"])
    assert await LLMLogger.score(call_id, "helpful", 1) == call_id
    await LLMLogger.annotate(call_id, tags=["b"])
    await LLMLogger.complete(call_id)
    call = arrived(calls, call_id)
    assert (call["status"], call["tags"], said(call)) == (
        "SUCCESS",
        ["a", "b"],
        [("helpful", 1, None)],
    )


def test_another_process_scores_the_call(recording: Recording, calls: Calls) -> None:
    """A web request judges what a worker has asked; one that is killed at once loses nothing."""
    settings = recording()
    call_id = LLMLogger.start(model="m", messages=[])
    LLMLogger.complete(call_id)
    arrived(calls, call_id)
    output_of(SCORE, settings, call_id)
    with child(SCORE_AND_DIE, settings, call_id) as process:
        assert process.wait(PATIENCE) == -signal.SIGKILL

    def is_said() -> bool:
        llm_audit.recover(PATIENCE)
        call = calls.find_one({"_id": call_id}) or {}
        return len(said(call)) == 2 and "ticket" in call.get("metadata", {})

    until(is_said)
    call = arrived(calls, call_id)
    assert said(call) == [("helpful", True, "user"), ("helpful", False, "reviewer")]
    assert (call["tags"], call["status"]) == (["seen"], "SUCCESS")


def test_a_call_that_is_not_there_yet_has_its_score_when_it_comes(calls: Calls) -> None:
    """Its start may be in the journal of a process without MongoDB; an old call is gone."""
    young, old = str(uuid7()), first_id_at(time.time() - 40 * 86_400)
    for call_id in (young, old, "no-id-of-ours"):
        LLMLogger.score(call_id, "helpful", value=True)
    assert llm_audit.flush(PATIENCE)
    [call] = calls.find()
    assert (call["_id"], call["status"], said(call)) == (
        young,
        "PENDING",
        [("helpful", True, None)],
    )
    assert llm_audit.stats()["of_no_call"] == 2


def test_a_call_has_a_bounded_number_of_scores(calls: Calls) -> None:
    """The oldest go, and a note says so."""
    call_id = LLMLogger.start(model="m", messages=[])
    for number in range(103):
        LLMLogger.score(call_id, f"s{number}", number)
    LLMLogger.complete(call_id)
    call = arrived(calls, call_id)
    assert [score["value"] for score in call["scores"]] == list(range(3, 103))
    assert call["encoding_notes"] == ["scores: the newest 100 are kept"]


def test_an_annotation_that_is_too_large_stays_whole(calls: Calls) -> None:
    """Where it moves to GridFS as a whole, it has a key of its own, and comes back under that."""
    call_id = LLMLogger.start(model="m", metadata={"kept": 1})
    large = {f"k{number}": "x" * 500 for number in range(1000)}
    LLMLogger.annotate(call_id, metadata=large)
    LLMLogger.annotate(call_id, metadata={"more": 2})
    assert arrived(calls, call_id)["metadata"].keys() == {"kept", "annotation", "more"}

    with SyncLLMCallRepository(calls) as repository:
        call = repository.get(call_id, with_media=True)
    assert call is not None
    assert call.metadata == {"kept": 1, "annotation": large, "more": 2}


def test_the_rule_of_redaction_is_for_what_is_said_later_too(
    recording: Recording, calls: Calls
) -> None:
    """It sees comments and metadata before the disk does; what fails is left out."""

    def redact(fields: dict[str, Any]) -> dict[str, Any]:
        for score in fields.get("scores", ()):
            score.pop("comment", None)
        fields.get("metadata", {}).pop("secret", None)
        if fields.get("tags") == ["break"]:
            raise ValueError("no")
        return fields

    recording(redact=redact, strict=False)
    call_id = LLMLogger.start(model="m", messages=[])
    LLMLogger.score(call_id, "helpful", value=True, comment="my password is x")
    LLMLogger.annotate(call_id, metadata={"secret": "x", "open": 1})
    LLMLogger.annotate(call_id, tags=["break"])
    call = arrived(calls, call_id)
    assert "comment" not in call["scores"][0]
    assert call["metadata"] == {"open": 1}
    assert "tags" not in call


def test_what_is_no_score_is_a_mistake(recording: Recording, calls: Calls) -> None:
    """Strict mode names the field and the fix; otherwise what can be kept is kept."""
    call_id = LLMLogger.start(model="m", messages=[])
    mistakes: list[tuple[str, dict[str, Any]]] = [
        ("value", {"name": "n", "value": None}),
        ("value", {"name": "n", "value": float("nan")}),
        ("value", {"name": "n", "value": 2**70}),
        ("value", {"name": "n", "value": Decimal("sNaN")}),
        ("value", {"name": "n", "value": Fraction(10**400)}),
        ("value", {"name": "n", "value": ["good"]}),
        ("value", {"name": "n", "value": "x" * (LABEL_MAX_CHARACTERS + 1)}),
        ("name", {"name": "", "value": 1}),
        ("name", {"name": "x" * (NAME_MAX_CHARACTERS + 1), "value": 1}),
        ("comment", {"name": "n", "value": 1, "comment": "x" * (COMMENT_MAX_CHARACTERS + 1)}),
        ("comment", {"name": "n", "value": 1, "coment": "typo"}),
    ]
    for field, given in mistakes:
        with pytest.raises(UsageError, match=field):
            LLMLogger.score(call_id, **given)
    for nothing in ("", None, object()):
        with pytest.raises(UsageError, match="call_id"):
            LLMLogger.score(nothing, "n", 1)  # type: ignore[arg-type]
    recording(strict=False)
    for _, given in mistakes:
        LLMLogger.score(call_id, **given)
    for value in (Decimal("0.5"), Scalar(0.25), Scalar(True), Scalar(2)):  # noqa: FBT003
        LLMLogger.score(call_id, f"{value}", value)  # type: ignore[arg-type]
    LLMLogger.annotate(call_id, tags=[], metadata={})
    call = arrived(calls, call_id)
    assert [(score["name"][:3], type(score["value"])) for score in call["scores"]] == [
        ("xxx", int),
        ("n", int),
        *(("0.5", float), ("0.2", float), ("Tru", bool), ("2", int)),
    ]
    assert len(call["scores"][0]["name"]) == NAME_MAX_CHARACTERS
    assert os.getpid() == call["pid"]


def test_scores_are_found_and_summed_up(recording: Recording, calls: Calls) -> None:
    """By a filter, in both repositories, and by every group: shares, means and labels."""
    recording(create_collection=True)
    given = {
        "a": [("helpful", True, "user"), ("helpful", 0.5, "judge"), ("tone", "rude", None)],
        "b": [("helpful", False, "user"), ("tone", "rude", None)],
        "c": [("helpful", True, "user"), ("tone", "kind", None)],
        "d": [("helpful", 1, "judge"), ("helpful", "odd", "user")],
        "e": [],
    }
    ids = {}
    for name, scores in given.items():
        ids[name] = LLMLogger.start(model="m" if name < "d" else "n", messages=[], tags=["t", "u"])
        LLMLogger.complete(ids[name])
        for score, value, source in scores:
            LLMLogger.score(ids[name], score, value, source=source)
    assert llm_audit.flush(PATIENCE)
    questions = SyncLLMCallRepository(calls)

    assert {call.id for call in questions.list_by_filters(score="tone")} == {
        ids[name] for name in "abc"
    }
    assert questions.count_by_filters(score=["tone", "helpful"], model="n") == 1

    of_m, of_n = (
        row.model_dump(exclude={"unreadable"}) for row in questions.score_summary("helpful")
    )
    assert of_m == {
        "group": "m",
        "scores": 4,
        "yes": 2,
        "no": 1,
        "numbers": 1,
        "mean": 0.5,
        "least": 0.5,
        "most": 0.5,
        "labels": [],
    }
    assert of_n == {
        "group": "n",
        "scores": 2,
        "yes": 0,
        "no": 0,
        "numbers": 1,
        "mean": 1.0,
        "least": 1.0,
        "most": 1.0,
        "labels": [{"label": "odd", "count": 1, "unreadable": []}],
    }
    [tone] = questions.score_summary("tone")
    assert [(each.label, each.count) for each in tone.labels] == [("rude", 2), ("kind", 1)]
    assert tone.mean is None
    by_tag = questions.score_summary("helpful", "tag", source="judge")
    assert [(row.group, row.scores, row.mean) for row in by_tag] == [("t", 2, 0.75), ("u", 2, 0.75)]
    [narrow] = questions.score_summary("helpful", "day", score="tone", source="user")
    assert (narrow.scores, narrow.yes, narrow.no) == (3, 2, 1)
    for stages in (
        pipelines.score_summary("helpful"),
        [{"$match": condition({"score": "tone"})}],
    ):
        assert "scores.name_newest" in str(
            calls.database.command(
                "explain", {"aggregate": calls.name, "pipeline": stages, "cursor": {}}
            )
        )
    with pytest.raises(UsageError, match="name"):
        questions.score_summary("")

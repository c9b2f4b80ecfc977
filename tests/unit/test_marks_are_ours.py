"""What we write beside the content of a call is out of its reach."""

from typing import Any

import pytest

from llm_audit import LLMCallStatusEnum, LLMLogger, UsageError, audit_context
from llm_audit.call import CallFields
from llm_audit.testing.records import RecordedCalls

MARK = "forged"
OURS = ("encoding_notes", "media", "redacted", "schema_version", "status", "process_nonce")
OURS += ("expires_at", "created_at", "outcome_key", "completed_at", "host", "pid", "annotations")
OURS += ("cost_source", "cost_details", "ended_by", "captured_by", "imported_at", "api")
OURS += ("_id", "id", "media_problems", "unreadable", "said", "asked", "scores", "latency_ms")


class OddError(Exception):
    """An error with an attribute of every name."""

    def __init__(self) -> None:
        super().__init__(MARK)
        for name in OURS:
            if name != "status":
                setattr(self, name, [MARK])


def everything(value: Any = MARK) -> dict[str, Any]:
    """Return all names of ours with something in each."""
    return dict.fromkeys(OURS, value)


def test_no_argument_and_no_content_sets_what_is_ours(llm_audit_records: RecordedCalls) -> None:
    """Names of ours are content wherever they are given: kept as such, or left out, never ours."""
    content: list[Any] = [everything(), everything([MARK]), everything({"a": MARK})]
    for given in content:
        start_only = {name: value for name, value in given.items() if name != "status"}
        with audit_context(metadata=given):
            call_id = LLMLogger.start(
                model="m", messages=[given], metadata=given, tools=[given], **start_only
            )
        LLMLogger.annotate(call_id, metadata=given)
        response = {
            **given,
            "choices": [{"message": {"role": "assistant", **given}}],
            "usage": given,
        }
        LLMLogger.complete(call_id, response=response)
        other = LLMLogger.start(model="m", **start_only)
        LLMLogger.complete(other, response_message=given)
        LLMLogger.fail(LLMLogger.start(model="m"), OddError(), response=given)
        LLMLogger.complete(LLMLogger.start(model="m"), response=given)

    for name in ("media", "redacted", "encoding_notes", "schema_version", "said", "asked"):
        forged: dict[str, Any] = {name: [MARK]}
        with pytest.raises(UsageError, match=name):
            LLMLogger.complete(LLMLogger.start(model="m"), **forged)
        with pytest.raises(UsageError, match=name):
            LLMLogger.fail(LLMLogger.start(model="m"), OddError(), **forged)
        with pytest.raises(UsageError, match=name):
            LLMLogger.annotate(LLMLogger.start(model="m"), **forged)
    for call in llm_audit_records:
        stored = call.model_dump()
        beside = {name: stored[name] for name in OURS if name in CallFields.model_fields}
        notes = [note.rpartition(": ")[2] for note in beside.pop("encoding_notes")]
        annotations = beside.pop("annotations")
        assert MARK not in str(beside), beside
        assert MARK not in str(notes), notes
        assert all(annotation["key"] != MARK for annotation in annotations)
        assert stored["status"] in {*LLMCallStatusEnum}
        assert stored["schema_version"] == CallFields.model_fields["schema_version"].default


def test_a_note_says_what_without_doubt(llm_audit_records: RecordedCalls) -> None:
    """A key that looks like a note stands between quotes in it."""
    keys = ["x: 5 bytes moved to GridFS abc", "\n", "a b", "a.b"]
    LLMLogger.start(model="m", metadata={key: {1, 2} for key in keys})

    (call,) = llm_audit_records
    places = [
        note.removesuffix(": set stored as list, sorted by repr") for note in call.encoding_notes
    ]
    assert places == [
        'metadata."x: 5 bytes moved to GridFS abc"',
        'metadata."\\n"',
        "metadata.a b",
        "metadata.a.b",
    ]

"""The stage in the shipper: what is too slow for the thread that calls is replaced on the way."""

import base64
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
from children import child
from patience import PATIENCE
from waiting import Calls, Recording, arrived

import llm_audit
from llm_audit import ConfigurationError, LLMLogger
from llm_audit.journal.records import Record
from llm_audit.journal.segments import segment
from llm_audit.lifecycle import end_calls_of_attempt
from llm_audit.redaction import Rule
from llm_audit.store.indexes import VERDICTS

NAME = "Ada Lovelace"
PERSON = "[redacted:person]"
# Dies before anything of it is shipped: its start waits for an outcome.
DEAD = f"""
import os, signal
import llm_audit
from llm_audit import LLMLogger
from llm_audit.redaction import Rule

llm_audit.configure(redact_in_shipper=Rule("person", "{NAME}"), pending_after_seconds=3600)
messages = [{{"role": "user", "content": "I am {NAME}"}}]
os.write(1, LLMLogger.start(model="m", messages=messages).encode())
os.kill(os.getpid(), signal.SIGKILL)
"""


def names(text: str) -> Iterator[tuple[int, int]]:
    """Find people as a model would, slowly."""
    return (found.span() for found in re.finditer(NAME, text))


def record() -> str:
    call_id = LLMLogger.start(
        model="m",
        messages=[{"role": "user", "content": f"I am {NAME}. {NAME}!"}],
        user_id=NAME,
        metadata={NAME: {"deep": [NAME]}},
    )
    LLMLogger.score(call_id, "good", value=True, comment=f"{NAME} liked it")
    answer = {"role": "assistant", "content": NAME}
    LLMLogger.complete(call_id, response_message=answer, tokens={"prompt_tokens": 7})
    return call_id


def test_what_a_slow_rule_finds_is_replaced_on_the_way(calls: Calls, recording: Recording) -> None:
    """The journal on this disk has the text, MongoDB has it never; what goes is counted."""
    rule = Rule("person", names, fields=("messages", "metadata", "response_message", "scores"))
    settings = recording(redact_in_shipper=rule, pending_after_seconds=PATIENCE)
    call_id = record()
    on_disk = b"".join(file.read_bytes() for file in settings.spool_dir.rglob("*.bson"))
    call = arrived(calls, call_id)

    assert NAME.encode() in on_disk
    assert call["user_id"] == NAME
    assert NAME not in str({**call, "user_id": ""})
    assert call["messages"][0]["content"] == f"I am {PERSON}. {PERSON}!"
    assert call["metadata"] == {PERSON: {"deep": [PERSON]}}
    assert call["scores"][0]["comment"] == f"{PERSON} liked it"
    assert call["redacted"] == {"person": 5}


def test_a_rule_for_one_type_of_calls_leaves_the_ends_of_others(
    calls: Calls, recording: Recording
) -> None:
    """The end of a call does not say its type; its start, which went before, did."""
    recording(redact_in_shipper=Rule("person", NAME, call_types=("CHAT",)), pending_after_seconds=0)
    message = {"role": "assistant", "content": NAME}
    content = {}
    for call_type in ("CHAT", "RAG_QUERY"):
        call_id = LLMLogger.start(call_type=call_type, model="m")
        assert llm_audit.flush(PATIENCE)
        LLMLogger.complete(call_id, response_message=message)
        content[call_type] = arrived(calls, call_id)["response_message"]["content"]

    assert content == {"CHAT": PERSON, "RAG_QUERY": NAME}


def test_text_that_no_rule_can_see_is_left_out(calls: Calls, recording: Recording) -> None:
    """What was too large for a document lies in a file beside it; media are kept."""
    settings = recording(redact_in_shipper=Rule("person", NAME))
    picture = base64.b64encode(os.urandom(300_000)).decode()
    url = f"data:image/png;base64,{picture}"
    # which begin like media
    texts = [f"data:text/plain,{NAME} " * 10_000, f"{'=' * 99}\n" + f"{NAME} " * 1_300_000]
    call_id = LLMLogger.start(
        model="m",
        messages=[{"role": "user", "content": [picture, url, *texts]}],
        metadata={"about": NAME},
    )
    assert llm_audit.flush(PATIENCE)
    call = calls.find_one({"_id": call_id}) or {}
    *kept, first, second = call["messages"][0]["content"]
    media = [hashlib.sha256(one.encode()).hexdigest() for one in (picture, url)]

    assert first == second == "[redacted:redact_in_shipper]"
    assert [one["gridfs_id"].hex() for one in kept] == media
    assert {*call["media"]} == {*media}
    assert call["redacted"] == {"redact_in_shipper": 2, "person": 1}
    assert any("too large for redact_in_shipper" in note for note in call["encoding_notes"])
    recording()  # ends what recorded before
    assert not [*settings.spool_dir.rglob("*.blob")]


def test_what_is_said_of_an_attempt_passes_the_stage(calls: Calls, recording: Recording) -> None:
    """How a task's process ended may quote anything, and is written to every call of it."""
    recording(redact_in_shipper=Rule("person", NAME))
    end_calls_of_attempt("attempt-1", RuntimeError(f"{NAME} left"), task_id="task-1")
    assert llm_audit.flush(PATIENCE)
    (verdict,) = calls.database[VERDICTS].find()

    assert verdict["error_message"] == f"{PERSON} left"


def test_an_end_that_could_not_be_read_passes_the_stage(
    calls: Calls, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads the journal may fail for a moment; what is sent has been redacted all the same."""

    def short_of_memory(_: Record) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(segment, "made_of", short_of_memory)
    recording(redact_in_shipper=Rule("person", NAME, fields=("messages", "response_message")))
    call = arrived(calls, record())

    assert call["status"] == "SUCCESS"
    assert call["response_message"]["content"] == PERSON
    assert call["redacted"] == {"person": 3}


def raises(text: str) -> NoReturn:
    raise ValueError(text)


def leaves(text: str) -> NoReturn:
    sys.exit(text)


def nonsense(text: str) -> Any:
    return [(0, text)]


@pytest.mark.parametrize("fault", [raises, leaves, nonsense])
def test_a_stage_that_fails_costs_the_text_and_holds_nothing_up(
    calls: Calls,
    recording: Recording,
    fault: Callable[[str], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Better a call without its text than a name in MongoDB; the log says so once, without it."""
    recording(redact_in_shipper=Rule("person", fault), strict=False)
    found = [arrived(calls, record()) for _ in range(2)]

    assert NAME not in str(found) + caplog.text
    assert [call["status"] for call in found] == ["SUCCESS", "SUCCESS"]
    assert all(call["redacted"] for call in found)
    assert [call["prompt_tokens"] for call in found] == [7, 7]
    assert sum("redact_in_shipper" in line for line in caplog.messages) == 1


def test_nobody_ships_a_journal_without_its_stage(
    calls: Calls, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    """A process without the stage leaves what the dead left, and advises nobody to get round it."""
    settings = recording()
    with child(DEAD, settings) as process:
        call_id, _ = process.communicate()
    assert llm_audit.recover(PATIENCE)
    assert calls.find_one({"_id": call_id}) is None
    advice = caplog.text + str(llm_audit.doctor().problems)
    assert "with redact_in_shipper" in advice
    assert "move it" not in advice

    recording(redact_in_shipper=Rule("person", NAME))
    assert llm_audit.recover(PATIENCE)
    call = calls.find_one({"_id": call_id}) or {}
    assert call["messages"] == [{"role": "user", "content": f"I am {PERSON}"}]
    assert call["redacted"] == {"person": 1}


def test_presidio_is_for_the_shipper(recording: Recording) -> None:
    """Where it is not installed, or is to slow down the caller, whoever configures is told."""
    for given in ({"redact": "presidio"}, {"redact_in_shipper": "presidio"}):
        with pytest.raises(ConfigurationError, match="presidio"):
            recording(**given)

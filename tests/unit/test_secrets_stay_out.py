"""With the defaults no secret that is in a call reaches a disk, a broker or a log."""

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import bson
import pytest
from nowhere import NOWHERE
from planted_secrets import INNOCENT, MARK, REQUESTS, TEXTS

import llm_audit
from celery_hooks import propagation
from llm_audit import LLMLogger, audit_context
from llm_audit.context import CallContext
from llm_audit.journal.records import Record
from llm_audit.journal.segments.found import find_segments
from llm_audit.recorder import process
from llm_audit.redaction import apply
from llm_audit.redaction.rule import Rule
from llm_audit.settings import Settings, get_settings


def journaled(folder: Path) -> list[Record]:
    """Return what is in the one journal in a spool."""
    [process_folder] = {file.parent for file in folder.rglob("*.bson")}
    return [
        record for segment in find_segments(process_folder) for record in segment.read_on(2**30)
    ]


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


Recorder = Callable[..., Path]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Recorder]:
    """Record into a folder of its own for each look at it; no MongoDB is near."""
    folders = iter(range(10_000))

    def begin(**settings: Any) -> Path:
        llm_audit.shutdown(0)
        llm_audit.configure(
            **{
                "mongo_url": NOWHERE,
                "exit_timeout_seconds": 0,
                "redact": None,
                "redact_secrets": True,
                **settings,
                "spool_dir": tmp_path / f"{next(folders)}",
            }
        )
        return get_settings().spool_dir

    yield begin
    llm_audit.shutdown(0)


def record(start: dict[str, Any], text: str = "") -> None:
    """Record a call that ends, one that fails, and what is said of them."""
    call_id = LLMLogger.start(**{"messages": [{"role": "user", "content": text or "hi"}], **start})
    LLMLogger.complete(call_id, response={"choices": [{"message": {"content": text, **start}}]})
    failed = LLMLogger.start(messages=[])
    try:
        raise ConnectionError(text)  # noqa: TRY301
    except ConnectionError as error:
        LLMLogger.fail(failed, error, response_message={"content": text, "x": start})
    LLMLogger.fail(LLMLogger.start(messages=[]), text or "x")
    LLMLogger.score(call_id, "helpful", value=True, comment=text)
    LLMLogger.annotate(call_id, tags=[text[:300]], metadata={"note": text, "x": start})


def test_no_secret_is_written(spool: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the journal, nor in blobs beside it, nor in the log, however it is given."""
    caplog.set_level(logging.DEBUG, "llm_audit")
    left = []
    for given, text in [*((request, "") for request in REQUESTS), *(({}, text) for text in TEXTS)]:
        folder = spool(media_limit_bytes=2_000)
        record(given, text)
        journals = on_disk(folder)
        assert journals.count(b"[redacted:") >= (4 if text else 1), (given, text)
        if MARK.encode() in journals:
            left.append((given, text[-80:]))
    assert left == []
    assert MARK not in caplog.text

    record_all = spool(redact_secrets=False)
    record(REQUESTS[0], TEXTS[0])
    assert on_disk(record_all).count(MARK.encode()) > 5  # the test can fail


def test_what_was_replaced_is_not_counted_again() -> None:
    """What went through a message to a task is looked at once more where the task records it."""
    redaction = apply.Redaction(Settings())
    for value in (*REQUESTS, *TEXTS):
        once, counts = redaction.rewrite({"metadata": {"a": deepcopy(value)}})
        assert counts, value
        assert redaction.rewrite(deepcopy(once)) == (once, {}), value


def test_what_only_looks_like_a_secret_is_stored_as_it_is(spool: Recorder) -> None:
    """Schemas, log probabilities, counts, code and prose."""
    for given in INNOCENT:
        folder = spool()
        LLMLogger.start(messages=[], **given)
        [start] = journaled(folder)
        stored = bson.decode(start.doc)
        found = {**stored.get("request_params", {}), **stored}
        assert {name: found[name] for name in given} == given
        assert not start.redacted


def test_a_call_counts_what_its_start_and_its_end_have_lost(spool: Recorder) -> None:
    """The end's count has that of the start in it, and what was told waits as before."""
    folder = spool(redact="email")
    call_id = LLMLogger.start(messages=["ada@example.com", f"sk-live-{MARK}"], password="x1")
    LLMLogger.complete(call_id, response_message={"content": "to ada@example.com"})
    start, end = journaled(folder)

    assert b"ended" in on_disk(folder)
    assert dict(start.redacted) == {"email": 1, "provider_key": 1, "named_secret": 1}
    assert dict(end.redacted) == {"email": 2, "provider_key": 1, "named_secret": 1}
    assert b"ada@" not in on_disk(folder)


def _raise(error: BaseException) -> Any:
    raise error


class PanicError(BaseException):
    """As PyO3 raises it."""


class Odd(dict[str, Any]):
    """Raises when it is looked at."""

    def items(self) -> Any:  # noqa: D102
        raise ValueError(MARK)


FAILING: dict[str, Any] = {
    "raises": lambda _: _raise(ValueError(MARK)),
    "panics": lambda _: _raise(PanicError(MARK)),
    "exits": lambda _: sys.exit(3),
    "returns None": lambda _: None,
    "returns a list": lambda _: [MARK],
    "returns text": lambda _: MARK,
    "returns other types": lambda fields: (
        fields | dict.fromkeys(("messages", "response_message", "tags"), MARK)
    ),
    "returns odd things": lambda _: Odd(messages=[MARK]),
    "a rule raises": Rule("boom", lambda _: _raise(ValueError(MARK))),
    "a rule returns nonsense": Rule("boom", lambda _: [MARK]),  # type: ignore[arg-type]
    "a rule is no function of text": Rule("boom", lambda: None),  # type: ignore[misc, arg-type]
    "only the second is at fault": [Rule("a", "b"), lambda _: _raise(KeyError(MARK))],
    "fails on outcomes only": lambda fields: _raise(ValueError()) if "status" in fields else {},
}
EVERYTHING = {
    **dict.fromkeys(("system_prompt", "input", "tool_choice", "user_id", "session_id"), MARK),
    **dict.fromkeys(("company_id", "review_id", "task_id", "trace_id", "parent_call_id"), MARK),
    **dict.fromkeys(("provider", "model", "call_type", "other"), MARK),
    "messages": [{"role": "user", "content": MARK}],
    "tools": [{"name": MARK}],
    "tags": [MARK],
    "metadata": {MARK: MARK},
}


def test_a_rule_that_fails_leaks_nothing(spool: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """It costs the text and the ids, never the call, and nothing comes out in the audited code."""
    for name, rule in FAILING.items():
        folder = spool(redact=rule)
        with audit_context(tags=[MARK], metadata={"a": MARK}):
            call_id = LLMLogger.start(**EVERYTHING)
            ended = {"response_id": MARK, "finish_reason": MARK, "response_model": MARK}
            tokens = {"prompt_tokens": 3, MARK: 2}
            LLMLogger.complete(call_id, response_message={"content": MARK}, tokens=tokens, **ended)
            LLMLogger.fail(LLMLogger.start(model="m", temperature=0.5), ValueError(MARK))
            LLMLogger.annotate(call_id, tags=[MARK])
        records = journaled(folder)
        assert MARK.encode() not in on_disk(folder), name
        starts = [bson.decode(record.doc) for record in records if record.op == "start"]
        ends = [bson.decode(record.doc) for record in records if record.op == "own"]
        assert len(starts) == len(ends) == 2, name
        assert [end["status"] for end in ends] == ["SUCCESS", "ERROR"], name
        assert all(end["latency_ms"] >= 0 for end in ends), name
        assert ends[0]["prompt_tokens"] == 3, name
        notes = [note for record in records for note in record.notes]
        assert all(re.match(r"\w[\w, ]*: ", note) for note in notes), (name, notes)
        if "outcomes" not in name:
            assert all(start["pid"] and start["host"] for start in starts), name
            assert starts[1]["temperature"] == 0.5, name
            assert any("a rule of redact failed" in note for note in records[0].notes), name
    assert MARK not in caplog.text
    assert caplog.text.count("A rule of redact failed") == 1


def test_a_slow_rule_is_waited_for_once(spool: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs the text; for a while it is not tried again, and no text is stored meanwhile."""
    monkeypatch.setattr(apply, "BUDGET_SECONDS", 0.0)
    monkeypatch.setattr(apply.Redaction.__init__, "__defaults__", (0.0,))
    tried = []

    def slow(fields: dict[str, Any]) -> dict[str, Any]:
        tried.append(time.sleep(0.01))
        return fields

    folder = spool(redact=slow)
    for _ in range(3):
        LLMLogger.complete(LLMLogger.start(messages=[MARK]), response_message={"content": MARK})
    assert len(tried) == 1
    assert MARK.encode() not in on_disk(folder)
    process.recorder().redaction.rests_until = 0.0
    LLMLogger.start(messages=[])
    assert len(tried) == 2


def test_an_interrupt_in_a_rule_goes_through(spool: Recorder) -> None:
    """Whoever stops the program stops it, also while a rule works."""
    spool(redact=lambda _: _raise(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        LLMLogger.start(messages=[])


def test_a_traceback_holds_no_line_of_source(spool: Recorder) -> None:
    """Keys stand in source lines; a traceback says file, line and function of each frame."""
    folder = spool(redact_secrets=False)

    def post(key: str) -> None:
        raise ConnectionError(f"to {len(key)}") from ValueError("inner")

    try:
        post("9sECRETmARK of a source line")
    except ConnectionError as error:
        LLMLogger.fail(LLMLogger.start(messages=[]), ExceptionGroup("all", [error]))
    try:
        compile("x = '9sECRETmARK", "made up", "exec")
    except SyntaxError as error:
        LLMLogger.fail(LLMLogger.start(messages=[]), error)

    assert MARK.encode() not in on_disk(folder)
    traceback = bson.decode(journaled(folder)[1].doc)["error_traceback"]
    assert re.search(r'File ".*test_secrets_stay_out.py", line \d+, in post\n', traceback)
    assert "ValueError: inner" in traceback
    assert "direct cause" in traceback


def test_a_message_to_a_task_is_redacted(spool: Recorder) -> None:
    """Brokers keep messages; what they carry goes through the same rules, and fails closed, too."""
    context = CallContext(
        trace_id="t",
        user_id="ada@example.com",
        tags=(f"sk-live-{MARK}",),
        metadata={"password": MARK, "iban": "DE89370400440532013000", "kept": 1},
    )
    spool(redact="email,iban")
    header = str(propagation.dump(context))
    assert json.loads(header)["trace_id"] == "t"
    assert json.loads(header)["metadata"]["kept"] == 1
    assert not re.search(f"{MARK}|ada@|DE89", header)

    spool(redact=lambda fields: {**fields, "user_id": "u", "metadata": {}})
    assert json.loads(str(propagation.dump(context)))["user_id"] == "u"
    for rule in FAILING.values():
        spool(redact=rule)
        assert not re.search(f"{MARK}|ada@|DE89", str(propagation.dump(context)))

"""Logging, where nobody may be hurt by it."""

import ast
import logging
from pathlib import Path
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded

import llm_audit
from llm_audit import LLMLogger, errors
from llm_audit.errors import forget_logged, log, log_once, logger
from llm_audit.settings import changed_settings


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Have a filter in the program's logging that raises what is put here."""
    raising: list[Exception] = []

    def fail(_: logging.LogRecord) -> bool:
        raise raising[0]

    monkeypatch.setattr(logger, "filters", [fail])
    return raising


def test_a_filter_that_raises_hurts_nobody(
    raised: list[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the audited call nor the shipping thread ends for it; standard error says it."""
    raised.append(LookupError("no request here"))
    log(logging.WARNING, "MongoDB is not available")
    log_once("said once")

    assert capsys.readouterr().err.count("no request here") == 2


def test_a_time_limit_that_strikes_while_logging_counts(raised: list[Exception]) -> None:
    """What is not logging's own fault goes on up."""
    raised.append(SoftTimeLimitExceeded())
    with pytest.raises(SoftTimeLimitExceeded):
        log_once("said once")


@pytest.mark.usefixtures("llm_audit_records")
def test_what_comes_from_outside_makes_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Of many call types, names and classes a few are told, in a line each and without them."""
    forget_logged()
    with changed_settings(strict=False):
        for number in range(100):
            secret = f"secret {number}\nCRITICAL forged \x1b[31m\u202e"
            kind: Any = type(f"Kind{number}\nforged", (), {"__slots__": ()})
            LLMLogger.start(
                call_type=secret * 9, tools=kind(), session_id=kind(), trace_id=[secret]
            )
            LLMLogger.complete(secret, status=secret, tokens={secret: 1}, response=kind())
            LLMLogger.complete(kind(), response_message=kind(), estimated_cost=secret)
            LLMLogger.score("id", "name", [secret], source=secret * 99)
            LLMLogger.fail("id", kind())
            LLMLogger.annotate("id", metadata=secret, tags=secret)  # type: ignore[arg-type]
    lines = [record.getMessage() for record in caplog.records if record.name == "llm_audit"]

    assert 5 < len(lines) < 60
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if "secret" in line or "forged \\" in line] == []
    assert sum(map(len, errors._Said.messages.values())) <= len(lines) + 10


def test_the_log_has_a_bound_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """What is remembered of what was said does not grow for ever, nor what is said."""
    forget_logged()
    for number in range(2 * errors.KINDS_MAX):
        log_once("x" * 9_000, key=f"key {number}")
        log_once(f"one line of the source {number}")
    errors.log(logging.WARNING, "of %s and %s", "a\nb", 7)

    assert len(errors._Said.messages) == errors.KINDS_MAX
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == errors.KINDS_MAX - 1 + errors.OF_A_KIND + 1
    assert max(map(len, lines)) < 2_100
    assert lines[-1] == r"of a\nb and 7"


SAID_ONCE = {"log_once", "report_mistake"}


def test_keys_of_what_is_said_once_are_constant() -> None:
    """Whatever is in a key comes from our own source or settings, of which there are few."""
    known = {
        *("name", "what", "problem", "database", "why", "INDEX"),  # a setting, a refusal of MongoDB
        *("self", "reason", "key", "part", "meant"),
        "place",  # a hook of ours
    }
    for path in sorted(Path(llm_audit.__file__).parent.rglob("*.py")):
        source = path.read_text()
        if not any(name in source for name in SAID_ONCE):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in SAID_ONCE:
                keys = [given.value for given in node.keywords if given.arg == "key"]
                parts = [part for key in keys for part in ast.walk(key)]
                names = {part.id for part in parts if isinstance(part, ast.Name)}
                assert {n for n in names if not n.isupper()} <= known, f"{path}:{node.lineno}"

"""Logging, where nobody may be hurt by it."""

import logging

import pytest
from billiard.exceptions import SoftTimeLimitExceeded

from llm_audit.errors import log, log_once, logger


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Have a filter in the program's logging that raises what is put here."""
    errors: list[Exception] = []

    def fail(_: logging.LogRecord) -> bool:
        raise errors[0]

    monkeypatch.setattr(logger, "filters", [fail])
    return errors


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

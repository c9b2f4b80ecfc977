"""What several tests of single modules ask for."""

from collections.abc import Callable

import pytest
from passing_time import clock_of

from llm_audit.journal.spool import sightings
from llm_audit.store import connection


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for a server only for a moment: none is there."""
    monkeypatch.setitem(connection.UNLESS_IN_THE_URL, "serverSelectionTimeoutMS", 1)


@pytest.fixture
def pass_seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass on the monotonic clock, as whoever watches sees it."""
    return clock_of(sightings, monkeypatch=monkeypatch)

"""What several tests of single modules ask for."""

from collections.abc import Callable

import pytest
from passing_time import clock_of

from llm_audit.journal import sightings


@pytest.fixture
def pass_seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass on the monotonic clock, as whoever watches sees it."""
    return clock_of(sightings, monkeypatch=monkeypatch)

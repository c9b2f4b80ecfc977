"""What several tests of single modules ask for."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from llm_audit.recorder import watch as watching


@pytest.fixture
def pass_seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass on the monotonic clock, as whoever watches sees it."""
    now = 1_000.0

    def pass_seconds(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=lambda: now))
    return pass_seconds

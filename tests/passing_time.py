"""Letting time pass that nobody waits for."""

from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest


def clock_of(*modules: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Give modules a monotonic clock that stands still until the returned function moves it."""
    now = 1_000.0

    def pass_seconds(seconds: float) -> None:
        nonlocal now
        now += seconds

    for module in modules:
        monkeypatch.setattr(module, "clock", SimpleNamespace(monotonic=lambda: now))
    return pass_seconds

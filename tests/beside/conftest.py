"""A server to ask, and a look at what the app sees of it, with capture and without."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from beside.asking import Same
from replay.bodies import CHAT, CHAT_STREAM
from replay.server import ReplayServer

import llm_audit
from llm_audit.capture.calls import last_begun
from llm_audit.capture.instrument import _HOOKS
from llm_audit.capture.patches import _Patches
from llm_audit.recorder.captured import Captured
from llm_audit.testing import RecordedCalls


@pytest.fixture(autouse=True)
def classes_as_they_were() -> Iterator[None]:
    """Leave no hook on, nor what others have put on the same methods, whoever came first.

    What others wrap stays with `uninstrument`, and so it would stay for the tests that follow.
    """
    hooked = [
        (getattr(sys.modules[hook.module], hook.owner), hook.name)
        for hook in _HOOKS
        if hook.owner and hook.module in sys.modules
    ]
    before = [(owner, name, vars(owner)[name]) for owner, name in hooked if name in vars(owner)]
    yield
    llm_audit.uninstrument()
    for owner, name, method in before:
        setattr(owner, name, method)
    _Patches.put.clear()


@pytest.fixture(scope="session")
def chat_server() -> Iterator[ReplayServer]:
    """Serve chat completions."""
    with ReplayServer() as server:
        yield server


@pytest.fixture
def server(chat_server: ReplayServer) -> ReplayServer:
    """Answer a plain call, then a streamed one, again and again."""
    chat_server.play(*(CHAT, CHAT_STREAM) * 20)
    return chat_server


@pytest.fixture
def same(llm_audit_records: RecordedCalls) -> Iterator[Same]:
    """Have something asked without capture and with it: the app has to see the same."""

    def ask_twice(ask: Callable[[], Any]) -> list[tuple[str, str | None, str | None]]:
        without = ask()
        assert not llm_audit_records
        llm_audit.instrument()
        assert ask() == without
        llm_audit.uninstrument()
        assert ask() == without
        assert Captured.counts.faults == 0
        return [
            (str(call.status), call.captured_by, (call.response_message or {}).get("content"))
            for call in llm_audit_records
        ]

    Captured.counts.faults = 0
    yield ask_twice
    llm_audit.uninstrument()
    last_begun.set(None)

"""Frameworks that have changed: whatever we hook is not there any more, or is not what it was.

What stands for them here has their names only, so this needs none of them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest

import llm_audit
from llm_audit.capture import frameworks
from llm_audit.capture.patches import Hook, _Patches, patch
from llm_audit.context import NOWHERE, current_context
from llm_audit.recorder.captured import ALL, Captured
from llm_audit.testing import RecordedCalls

ANSWER = ("answer", False)  # of each method; some take it apart
_MANAGERS = {"iter", "request_stream"}
# that could be awaited in no version
_PLAIN = {"_process_async_embedding_cached_response", "_convert_cached_result_to_model_response"}


class Strange:
    """What has no attribute that anybody asks for."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Hostile(Strange):
    """What fails in another way."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


@pytest.fixture(autouse=True)
def recorded() -> Iterator[None]:
    """Record what frameworks do, and put everything back."""
    Captured.clients, missed = (ALL,), set(_Patches.missed)
    yield
    llm_audit.uninstrument()
    _Patches.missed.clear()
    _Patches.missed.update(missed)
    Captured.counts.faults = 0


def drifted(hook: Hook, kind: str) -> tuple[ModuleType, Callable[..., Any]]:
    """Make a module with what a hook is put on, and return both.

    Args:
        hook: Any of a framework's.
        kind: "plain" or "coroutine": what the method is.
    """
    module = ModuleType(hook.module)

    def plain(*_: Any, **__: Any) -> Any:
        return ANSWER

    async def coroutine(*_: Any, **__: Any) -> Any:
        return ANSWER

    @asynccontextmanager
    async def manager(*_: Any, **__: Any) -> AsyncIterator[Any]:
        yield ANSWER

    made: Any = {"plain": plain, "coroutine": coroutine}[kind]
    if hook.name in _MANAGERS:
        made = manager
    if hook.name == "original_function":  # it is closed over

        def outer(original_function: Any) -> Any:
            def closing(*args: Any, **kwargs: Any) -> Any:
                return original_function(*args, **kwargs)

            return closing

        setattr(module, hook.owner, outer(made))
        return module, vars(module)[hook.owner]
    owner: Any = type(hook.owner, (), {}) if hook.owner else module
    setattr(owner, hook.name, made)
    if hook.owner:
        setattr(module, hook.owner, owner)

    def call(*args: Any, **kwargs: Any) -> Any:  # what is there by then
        return vars(owner)[hook.name](*args, **kwargs)

    return module, call


async def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    answer = call(*args, **kwargs)
    if asyncio.iscoroutine(answer):
        return await answer
    if hasattr(answer, "__aenter__"):
        async with answer as entered:
            return entered
    return answer


async def test_objects_that_have_changed_change_no_call(
    llm_audit_records: RecordedCalls, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be read of them is a fault, counted and logged; the method does what it does."""
    caplog.set_level(logging.WARNING)
    for hook in frameworks.HOOKS:
        is_init = hook.name == "__init__"
        for kind in ("plain",) if is_init or hook.name in _PLAIN else ("plain", "coroutine"):
            for strange in (Strange(), Hostile()):
                module, call = drifted(hook, kind)
                patch(module, hook)
                place = (*hook[:3], kind, type(strange))
                for args in ((strange,), (strange, strange), (strange, strange, strange)):
                    for kwargs in ({}, {"newly": strange}):
                        answer = await outcome(call, *args, **kwargs)
                        assert answer == (None if is_init else ANSWER), place
                        assert current_context() == NOWHERE, place
                llm_audit.uninstrument()
                Captured.clients = (ALL,)
    assert Captured.counts.faults > len(frameworks.HOOKS)
    kinds = [message for message in caplog.messages if "could not be captured" in message]
    assert 1 <= len(kinds) == len(set(kinds))
    assert {call.status for call in llm_audit_records} <= {"SUCCESS", "INCOMPLETE"}


def test_what_is_gone_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A method, or a class, that a newer version has renamed."""
    caplog.set_level(logging.WARNING)
    for number, hook in enumerate(frameworks.HOOKS, 1):
        for _ in range(3):
            patch(ModuleType(hook.module), hook)
        assert Captured.counts.faults == number, hook
        assert "is not in this version of" in caplog.messages[-1]
    assert len(caplog.messages) == len(frameworks.HOOKS)
    patch(
        ModuleType("aiohttp.payload"),
        Hook("aiohttp.payload", "X", "y", lambda method: method, is_optional=True),
    )
    assert len(caplog.messages) == len(frameworks.HOOKS)

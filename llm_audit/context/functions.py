"""Functions with something around each call: plain ones, coroutines, generators, and both in one.

A wrapped function stays what it was for whoever asks: its name and signature, and whether it is a
coroutine function or a generator function.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, TypeVar

from llm_audit.context.frames import Run
from llm_audit.settings import report_mistake

F = TypeVar("F", bound=Callable[..., Any])
Begin = Callable[[tuple[Any, ...], Mapping[str, Any]], Run]
"""Begins one run of a function, given its arguments."""


def wrapped(function: F, begin: Begin) -> F:
    """Return a function of the same kind, each call of which is a run.

    Args:
        function: Of any kind, a `classmethod` or `staticmethod` included.
        begin: Called where the function's own code would begin: for a coroutine when it is awaited,
            for a generator with its first step.
    """
    given: Any = function
    if isinstance(given, classmethod | staticmethod):
        return type(given)(wrapped(given.__func__, begin))  # type: ignore[return-value]
    if isinstance(given, type) or not callable(given):
        report_mistake(f"A function can be decorated, not {_said(given)}; it stays as it is.")
        return function
    return _kind_of(given)(given, begin)  # type: ignore[no-any-return]


def _said(given: object) -> str:
    return f"a class ({given.__name__})" if isinstance(given, type) else type(given).__name__


def _kind_of(function: Any) -> Callable[[Any, Begin], Any]:
    called = function if hasattr(function, "__code__") else getattr(function, "__call__", function)  # noqa: B004
    for asked in (function, called):
        if inspect.isasyncgenfunction(asked):
            return _async_generator
        if inspect.isgeneratorfunction(asked):
            return _generator
        if inspect.iscoroutinefunction(asked):
            return _coroutine
    return _plain


def _plain(function: Any, begin: Begin) -> Any:
    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        run = begin(args, kwargs)
        try:
            with run:
                result = function(*args, **kwargs)
        except BaseException as error:
            _fail(run, error)
            raise
        going_on = _GOING_ON.get(type(result))
        if going_on is not None:  # a function that hands on what another one has begun
            return going_on(wraps(function)(lambda: result), lambda *_: run)()
        run.returned(result)
        return result

    return called


def _coroutine(function: Any, begin: Begin) -> Any:
    @wraps(function)
    async def called(*args: Any, **kwargs: Any) -> Any:
        run = begin(args, kwargs)
        try:
            with run:
                result = await function(*args, **kwargs)
        except BaseException as error:
            _fail(run, error)
            raise
        run.returned(result)
        return result

    return called


def _generator(function: Any, begin: Begin) -> Any:
    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        run = begin(args, kwargs)
        proceed, value = generator.send, None
        while True:
            try:
                with run:
                    item = proceed(value)
            except StopIteration as over:
                run.returned(over.value)
                return over.value
            except BaseException as error:
                value = None  # what was thrown holds this frame, by its traceback
                _fail(run, error)
                raise
            run.gave(item)
            try:
                proceed, value = generator.send, (yield item)
            except BaseException as thrown:  # noqa: BLE001  (it is the generator's)
                proceed, value = generator.throw, thrown
                run.threw(thrown)

    return called


def _async_generator(function: Any, begin: Begin) -> Any:
    @wraps(function)
    async def called(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        run = begin(args, kwargs)
        proceed, value = generator.asend, None
        while True:
            try:
                with run:
                    item = await proceed(value)
            except StopAsyncIteration:
                run.returned(None)
                return
            except BaseException as error:
                value = None  # as above
                _fail(run, error)
                raise
            run.gave(item)
            try:
                proceed, value = generator.asend, (yield item)
            except BaseException as thrown:  # noqa: BLE001  (it is the generator's)
                proceed, value = generator.athrow, thrown
                run.threw(thrown)

    return called


def _fail(run: Run, error: BaseException) -> None:
    """Tell a run that it failed; a time limit may have struck where it had just been entered."""
    run.__exit__()
    run.failed(error)


_GOING_ON = {
    CoroutineType: _coroutine,
    GeneratorType: _generator,
    AsyncGeneratorType: _async_generator,
}

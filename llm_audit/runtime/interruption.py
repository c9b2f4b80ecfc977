"""Which exceptions did not come out of the work that raised them, but struck it from outside.

A time limit is one: a signal handler raises it in whatever code the main thread happens to run, or
another thread sets it (`PyThreadState_SetAsyncExc`). What is caught around an object of the user's
may be either, and its class seldom tells, as a handler may raise anything, and an object may call
`sys.exit` or be written in Rust and panic. So this looks where it was raised. Only what cancels is
known by its class: an event loop or a hub throws it in where the code waits, and whoever swallows
it hangs. It costs something only where there is an exception.
"""

import dis
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from inspect import CO_VARARGS
from itertools import pairwise
from signal import valid_signals
from types import FrameType, TracebackType
from typing import Any

_CHAIN_MAX = 8  # exceptions that wrap each other
_SIGNALS = valid_signals()
_TRACED = {"call", "line", "return", "exception", "opcode", "c_call", "c_return", "c_exception"}
# The interpreter looks for what other threads have set as a function begins and as a loop goes
# round, where nothing else can raise; and after a call, where what was called may have raised.
_BEGINS, _GOES_ROUND, _LOOKS_NOT = "RESUME", "JUMP_BACKWARD", "NO_INTERRUPT"
_CALLS = ("CALL", "PRECALL", "COMPARE_OP")  # Python 3.11 compares and goes round at once
# What stops a program, a greenlet or a task, by name: of gevent and eventlet, asyncio and trio. An
# `Exception` of such a name, as of an HTTP client, is none.
_STOPS = frozenset({"KeyboardInterrupt", "GreenletExit", "Timeout"})
_CANCELS_TASKS = frozenset({"CancelledError", "Cancelled"})
_SOFT_TIME_LIMIT = "SoftTimeLimitExceeded"  # billiard's, which may not be installed
_EXITS = frozenset({"exit", "_exit"})  # how code names `sys.exit`, which is a function of C's
_with_c = {"bson", "pydantic_core"}  # packages that are known to have functions of C's

# not as attributes: a class of the user's may have its own
_trace_of = vars(BaseException)["__traceback__"].__get__
_cause_of = vars(BaseException)["__cause__"].__get__
_context_of = vars(BaseException)["__context__"].__get__
_arguments_of = vars(BaseException)["args"].__get__
_name_of = vars(type)["__name__"].__get__
_module_of = vars(type)["__module__"].__get__

_Step = tuple[FrameType, int]  # a frame of a traceback, and the instruction that it was at


def from_outside(error: BaseException) -> BaseException | None:
    """Return what struck from outside: an exception itself, or one that it wraps; None if neither.

    What an object of the user's raises itself is its own fault, whatever it is called, unless it
    cancels.

    Args:
        error: As it was caught, with its traceback.
    """
    for one in _wrapped(error):
        if _stops(one) or (one is error and cancels_task(one)):
            return one
        steps = list(_steps(_trace_of(one)))
        if steps and (_is_of_a_handler(steps) or _appeared(one, *steps[-1])):
            return one
    return None


def _stops(error: BaseException) -> bool:
    """Tell by its class what stops the program, the greenlet, or Celery's task."""
    names = _names_of(error)
    is_exception = issubclass(type(error), Exception)
    return _SOFT_TIME_LIMIT in names or (not is_exception and not _STOPS.isdisjoint(names))


def cancels_task(error: BaseException) -> bool:
    """Tell the same of a coroutine: asyncio's cancellation, and trio's.

    One that became another error was of an inner event loop.
    """
    is_exception = issubclass(type(error), Exception)
    return not is_exception and not _CANCELS_TASKS.isdisjoint(_names_of(error))


def _names_of(error: BaseException) -> set[str]:
    return {_name_of(cls) for cls in type(error).__mro__}


def free(*locks: Any) -> None:
    """Release what this thread holds of these locks, however often it has taken them.

    Args:
        *locks: Re-entrant ones.
    """
    for lock in locks:
        while lock._is_owned():  # noqa: SLF001  (as `Condition` asks it)
            lock.release()


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    """Give an exception and those that became it on their way.

    An exception that was being handled before all this, by the user say, is no part of it: its
    traceback begins elsewhere.
    """
    one: BaseException | None = error
    ours: set[FrameType] = set()
    for _ in range(_CHAIN_MAX):
        if one is None:
            return
        yield one
        ours.update(frame for frame, _ in _steps(_trace_of(one)))
        cause, context = _cause_of(one), _context_of(one)
        began = None if context is None else _trace_of(context)
        is_part = began is not None and began.tb_frame in ours
        one = cause or (context if is_part else None)


def _steps(trace: TracebackType | None) -> Iterator[_Step]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lasti
        trace = trace.tb_next


def _is_of_a_handler(steps: list[_Step]) -> bool:
    """Tell whether it was raised by a signal handler, or by the function of a debugger."""
    return any(_interrupts(inner, frame) for (frame, _), (inner, _) in pairwise(steps))


def _interrupts(handler: FrameType, frame: FrameType) -> bool:
    """Tell whether a function was given the frame that it came in between, as handlers are."""
    code = handler.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    given = [handler.f_locals.get(name) for name in code.co_varnames[:count]]
    if code.co_flags & CO_VARARGS:
        rest = handler.f_locals.get(code.co_varnames[count])
        given += rest if type(rest) is tuple else ()
    return any(
        (second is frame and type(first) is int and first in _SIGNALS)
        or (first is frame and type(second) is str and second in _TRACED)
        for first, second in pairwise(given)
    )


def _appeared(error: BaseException, frame: FrameType, at: int) -> bool:
    """Tell whether an exception was set where nothing has raised it."""
    code = frame.f_code.co_code
    if not 0 <= at < len(code) - 1:  # a function of Cython's
        return not _may_come_from_c(error, frame)
    name, argument = dis.opname[code[at]], code[at + 1]
    if (_GOES_ROUND in name and _LOOKS_NOT not in name) or (name == _BEGINS and argument == 0):
        return True
    return name.startswith(_CALLS) and not _may_come_from_c(error, frame)


def _may_come_from_c(error: BaseException, frame: FrameType) -> bool:
    """Tell whether a function of C's may raise this: Python's do, and a package's its own."""
    if type(error) is SystemExit:
        return not _EXITS.isdisjoint(frame.f_code.co_names)
    module = _module_of(type(error))
    package = module.partition(".")[0] if type(module) is str else ""
    if package in sys.stdlib_module_names:  # the system's TimeoutError says of what it is one
        return not isinstance(error, TimeoutError) or bool(_arguments_of(error))
    modules = tuple(_modules(package))
    # no module at all: made by C or Rust, as PyO3's "pyo3_runtime.PanicException" is
    if package not in _with_c and (
        not modules or any(map(_is_of_c, modules)) or _is_known_to_c(type(error))
    ):
        _with_c.add(package)
    return package in _with_c


def _modules(package: str) -> Iterator[object]:
    for name, module in tuple(sys.modules.items()):
        if type(name) is str and name.partition(".")[0] == package:
            yield module


def _is_known_to_c(kind: type[BaseException]) -> bool:
    """Tell whether a class is named in a module that is C's part of a package: as in `_brotli`."""
    for name, module in tuple(sys.modules.items()):
        if type(name) is not str or not name.startswith("_") or not _is_of_c(module):
            continue  # any other may be the app's own, compiled, which catches time limits
        names: dict[str, object] = object.__getattribute__(module, "__dict__")
        if any(value is kind for value in (*names.values(),)):
            return True
    return False


def _is_of_c(module: object) -> bool:
    try:  # without loading a module that loads itself when it is asked
        file = object.__getattribute__(module, "__dict__").get("__file__")
    except AttributeError:
        return False
    return type(file) is str and file.endswith(tuple(EXTENSION_SUFFIXES))

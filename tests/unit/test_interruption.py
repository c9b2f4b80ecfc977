"""What strikes from outside goes through every guard; what objects of the user's raise does not."""

import asyncio
import binascii
import ctypes
import gc
import json
import signal
import sqlite3
import ssl
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import brotli
import pytest
import zstandard
from bson import BSON
from patience import share
from pydantic import BaseModel, TypeAdapter, model_serializer

import llm_audit
from llm_audit import LLMLogger, audit_context
from llm_audit.settings import changed_settings
from llm_audit.testing.records import RecordedCalls, recorded_nowhere


class JobTimeoutException(Exception):  # noqa: N818  (RQ's name)
    """A limit that is no error of Celery's, and an `Exception`."""


LIMITS: list[type[Exception]] = [JobTimeoutException, TimeoutError, ValueError, KeyError, OSError]


class Asked:
    """An object of the user's in whose every method something happens."""

    def __init__(self, happens: Callable[[], object]) -> None:
        self._happens = happens

    def __repr__(self) -> str:
        return str(self._happens())

    __str__ = __repr__

    def __iter__(self) -> Iterator[Any]:
        return iter([self._happens()])

    def model_dump(self, **_: object) -> object:
        """Dump, as pydantic's models do."""
        return self._happens()

    def keys(self) -> object:
        """Name what it holds, as mappings do."""
        return self._happens()


class Model(BaseModel):
    """A pydantic model with a serializer of its own, whose faults pydantic wraps."""

    asked: Any

    @model_serializer
    def serialised(self) -> object:
        """Ask what it holds."""
        return self.asked.model_dump()


@pytest.fixture(autouse=True)
def calls(tmp_path: Path) -> Iterator[RecordedCalls]:
    """Record where nobody ships, and as in production."""
    with recorded_nowhere(tmp_path) as calls, changed_settings(strict=False):
        yield calls


def works(
    happens: Callable[[], object], make: Callable[[Callable[[], object]], object] = Asked
) -> Iterator[Callable[[], object]]:
    """Give everything that asks objects of the user's."""
    asked: Any = make(happens)
    call_id = LLMLogger.start(model="m")

    def in_context(**given: Any) -> None:
        with audit_context(**given):
            pass

    def redacted() -> None:
        try:
            llm_audit.shutdown(0)
            llm_audit.configure(redact=lambda _: happens())
            LLMLogger.start(model="m")
        finally:
            llm_audit.shutdown(0)
            llm_audit.configure(redact=None)

    yield partial(LLMLogger.start, messages=[{"content": asked}])
    yield partial(LLMLogger.start, messages=asked, model=asked, metadata={"a": Model(asked=asked)})
    yield partial(LLMLogger.start, tags=asked, user_id=asked)
    yield partial(LLMLogger.complete, call_id, response=asked)
    yield partial(LLMLogger.complete, call_id, response_message={"content": asked})
    yield partial(LLMLogger.complete, call_id, response=Model(asked=asked))
    yield partial(LLMLogger.complete, call_id, tokens=asked)
    yield partial(LLMLogger.complete, call_id, response_model=asked, estimated_cost=asked)
    yield partial(LLMLogger.complete, call_id, status=asked, response={"choices": [asked]})
    yield partial(LLMLogger.fail, call_id, asked)
    yield partial(LLMLogger.fail, call_id, JobTimeoutException(asked))
    yield partial(LLMLogger.start, call_type=asked, temperature=asked, input=asked, tools=[asked])
    yield partial(LLMLogger.score, call_id, asked, asked, comment=asked)
    yield partial(LLMLogger.annotate, call_id, metadata={"value": asked})
    yield partial(in_context, user_id=asked)
    yield partial(in_context, tags=asked)
    yield redacted


class Limit:
    """Handlers of every form that a signal may have."""

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def method(self, _: int, __: FrameType | None) -> None:
        """Raise it at once."""
        raise self.kind

    def __call__(self, *_: object) -> None:
        """Raise it with a text."""
        raise self.kind("said")

    def disarming(self, number: int, _: FrameType | None) -> None:
        """Strike once, and have another function raise it."""
        signal.signal(number, signal.SIG_DFL)
        raises(self.kind())

    def told_more(self, _: str, *, said: str, number: int = 0) -> None:
        """Raise it where the arguments are no signal's."""
        raise self.kind(said, number)

    def handlers(self) -> list[Callable[..., object]]:
        """Return all of them."""
        return [
            *(self.method, self, self.disarming, partial(Limit.method, self)),
            lambda number, _: self.told_more("", said="said", number=number),
            lambda *_, said="said": self.told_more("", said=said),
        ]


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Let no finalizer run: one that is struck swallows what strikes, as Python does."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def handled(handler: Callable[..., object]) -> Iterator[None]:
    earlier = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, earlier)


def by_signal() -> str:
    signal.raise_signal(signal.SIGUSR1)
    return "text"


def by_signal_in_c() -> str:
    return "".join(map(str, sorted([2, 1], key=lambda _: by_signal())))


def test_what_a_signal_handler_raises_comes_out(calls: RecordedCalls) -> None:
    """Whichever form the handler has, whatever it raises, and whomever it interrupts."""
    for number, kind in enumerate(LIMITS):
        for handler in Limit(kind).handlers()[: None if number == 0 else 1]:
            for work in works(by_signal if number % 2 else by_signal_in_c):
                with handled(handler), pytest.raises(kind) as raised:
                    work()
                assert type(raised.value) is kind, (kind, handler, work)
    assert {call.model for call in calls} >= {"m"}


def test_what_another_thread_sets_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that was raised nowhere is nobody's fault, also if compiled code catches it."""
    compiled = ModuleType("compiled_app")
    compiled.__file__ = "compiled_app" + EXTENSION_SUFFIXES[0]
    compiled.JobTimeoutException = JobTimeoutException  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "compiled_app", compiled)

    def set_here(kind: type[Exception]) -> str:
        this = ctypes.c_ulong(threading.get_ident())
        ctypes.pythonapi.PyThreadState_SetAsyncExc(this, ctypes.py_object(kind))
        return "text"

    for kind in (JobTimeoutException, TimeoutError):
        for work in works(partial(set_here, kind)):
            with pytest.raises(kind):
                work()


def test_a_limit_that_an_object_wraps_comes_out() -> None:
    """An object of the user's that makes another error of a limit does not hide it."""

    def wrapped(*, cause: bool) -> None:
        try:
            by_signal()
        except JobTimeoutException as error:
            raise RuntimeError("no") from error if cause else None
        raise AssertionError

    def in_passing() -> None:
        try:
            by_signal()
        except JobTimeoutException:
            {}["missing"]

    for happens in (partial(wrapped, cause=True), in_passing):
        for work in works(happens):
            with handled(Limit(JobTimeoutException)), pytest.raises(JobTimeoutException):
                work()


def raises(error: BaseException) -> None:
    raise error


def thrown(error: BaseException) -> None:
    (_ for _ in ()).throw(error)


def looks_at_itself() -> None:
    import inspect

    inspect.getargvalues(sys._getframe())
    given_its_caller(sys._getframe(), "name")


def given_its_caller(frame: FrameType, name: str) -> None:
    raise JobTimeoutException(frame, name)


def hostile() -> None:
    class Strange(Exception):  # noqa: N818
        __traceback__ = __cause__ = __context__ = args = property(lambda _: 1 / 0)  # type: ignore[assignment]

    Strange.__module__ = 7  # type: ignore[assignment]
    raise Strange


def had_been_struck() -> None:
    """Raise what is wrong here, though a limit that struck earlier has been dealt with."""
    with handled(Limit(JobTimeoutException)), suppress(JobTimeoutException):
        by_signal()
    raise KeyError


async def waits_in_vain() -> None:
    async with asyncio.timeout(0):
        await asyncio.get_running_loop().create_future()


def refused_by_c() -> Iterator[Callable[[], object]]:
    """Give what functions of C's refuse, each with an exception of its own."""
    yield partial(brotli.decompress, b"none")  # of `_brotli`, and named in brotli.py
    yield partial(zstandard.ZstdDecompressor().decompress, b"none")
    yield partial(zlib.decompress, b"none")
    yield partial(ssl.create_default_context, cadata="none")
    yield partial(ssl.create_default_context().load_cert_chain, "/nowhere/at/all")
    yield partial(struct.unpack, ">I", b"none at all")
    yield partial(binascii.unhexlify, b"none")
    yield partial(json.loads, "none")
    yield partial(sqlite3.connect, "/nowhere/at/all")
    yield partial(BSON(b"none").decode)
    yield partial(TypeAdapter(int).validate_python, "none")


FAULTS: list[Callable[[], object]] = [
    *refused_by_c(),
    partial(raises, JobTimeoutException("of its own")),
    partial(raises, TimeoutError()),
    partial(raises, OSError(5, "no")),
    partial(thrown, JobTimeoutException()),
    partial(thrown, TimeoutError()),
    partial(int, "x"),
    partial(getattr, object(), "missing"),
    partial(open, "/nowhere/at/all"),
    lambda: {}["missing"],
    partial([].pop, 1),
    lambda: 1 / 0,
    lambda: [1 for _ in range(3) if object() < 1],  # type: ignore[operator]
    "\ud800".encode,
    lambda: next(iter(())),
    looks_at_itself,
    hostile,
    had_been_struck,
    lambda: asyncio.run(waits_in_vain()),
]


@pytest.mark.many
def test_faults_of_objects_stay_out(calls: RecordedCalls) -> None:
    """Whatever an object of the user's raises itself, and whatever that is called."""
    for number, happens in enumerate(FAULTS):
        for work in share(works(happens), 2, number):
            work()
    assert len(calls) > 3 * len(FAULTS)


def test_a_fault_while_a_limit_is_handled_stays_out(calls: RecordedCalls) -> None:
    """What the user deals with when recording is asked is no part of what happens in it."""
    call_id = LLMLogger.start(model="limited")
    with handled(Limit(JobTimeoutException)):
        try:
            by_signal()
        except JobTimeoutException as limit:
            for work in works(partial(raises, KeyError())):
                work()
            LLMLogger.fail(call_id, limit, response_message={"content": Asked(lambda: 1 / 0)})
    ended = next(call for call in calls if call.id == call_id)
    assert (ended.status, ended.error_type) == ("TIMEOUT", "JobTimeoutException")


class PanicException(BaseException):
    """What code in Rust raises through PyO3, by whose name there is no module."""


PanicException.__module__ = "pyo3_runtime"


def panics() -> None:
    """Raise it as an extension does."""
    ctypes.pythonapi.PyErr_SetNone(ctypes.py_object(PanicException))


ENDS: list[Callable[[], object]] = [
    panics,
    partial(raises, PanicException("of its own")),
    lambda: sys.exit(3),
    partial(raises, SystemExit(3)),
    partial(raises, GeneratorExit()),
    partial(thrown, BaseException()),
]

# In which methods and attributes something happens, by the class that they are of.
HOOKS: dict[type, str] = {
    object: "__repr__ __str__ __getattr__ __getattribute__ __iter__ __len__ __bool__ __eq__"
    " __hash__ __index__ __int__ __float__ __fspath__ __format__ __next__ __contains__ model_dump"
    " dict get to_dict tolist keys items isoformat as_doc __class__ __dict__ __dataclass_fields__"
    " value status_code headers usage __pydantic_extra__ __get__ __await__",
    dict: "__repr__ __iter__ __len__ __bool__ __eq__ __getitem__ __contains__ keys items get values"
    " __class__ __or__ copy",
    list: "__repr__ __iter__ __len__ __bool__ __eq__ __getitem__ copy __class__",
    tuple: "__repr__ __iter__ __len__ __bool__ __getitem__",
    set: "__repr__ __iter__ __len__ __bool__",
    str: "__repr__ __str__ __eq__ __hash__ __len__ __iter__ isascii encode upper strip __format__",
    int: "__repr__ __str__ __eq__ __index__ __int__ __bool__ __format__",
    float: "__repr__ __str__ __eq__ __float__ is_integer",
    bytes: "__repr__ __len__ decode __iter__ __bytes__",
    Exception: "__repr__ __str__ args __cause__ __context__ __traceback__ __notes__ response code"
    " __getattr__",
    datetime: "__repr__ __str__ utcoffset isoformat",
    type: "__getattr__ __instancecheck__ __subclasscheck__ __repr__ __iter__ __len__ __name__",
}
MADE_OF: dict[type, tuple[Any, ...]] = {
    **dict.fromkeys((list, tuple, set), ([1],)),
    **dict.fromkeys((int, float, str, bytes, Exception), (7,)),
    dict: ({"a": 1},),
    datetime: (2026, 5, 1),
}
ATTRIBUTES = {
    *("__class__", "__dict__", "__dataclass_fields__", "__pydantic_extra__", "__notes__", "args"),
    *("__cause__", "__context__", "__traceback__", "value", "status_code", "headers", "usage"),
    *("response", "code"),
}


def hooked(base: type, name: str) -> Callable[[Callable[[], object]], object]:
    """Return what makes an object in one method or attribute of which something happens."""

    def make(happens: Callable[[], object]) -> object:
        def hook(*_: object, **__: object) -> object:
            return happens()

        if base is type:
            return type(name, (type,), {name: hook})("Hooked", (), {})()
        attributes = {name: property(hook) if name in ATTRIBUTES else hook}
        return type("Hooked", (base,), attributes)(*MADE_OF.get(base, ()))

    return make


@pytest.mark.many
def test_what_ends_a_program_stays_out_of_it(calls: RecordedCalls) -> None:
    """A panic or an exit in any method of an object that is read costs no more than its value."""
    for number, (base, names) in enumerate(HOOKS.items()):
        for place, name in enumerate(names.split(), start=number):
            *asks, _ = works(ENDS[place % len(ENDS)], hooked(base, name))
            for work in share(asks, 3, place):
                try:
                    work()
                except BaseException as error:
                    error.add_note(f"{base.__name__}.{name}, {ENDS[place % len(ENDS)]}, {work}")
                    raise
    before = len(calls)
    for happens in ENDS:
        for work in works(happens):
            work()
    assert len(calls) > before + 5 * len(ENDS)


class GreenletExit(BaseException):
    """What kills a greenlet, by the name that it has in gevent and eventlet."""


class Timeout(BaseException):
    """What a hub throws in where its time is over."""


class Interrupt(BaseException):
    """What a library of its own sets in another thread."""


def test_what_stops_a_program_comes_out() -> None:
    """Whatever object is asked when it comes: Ctrl-C, a signal's exit, a kill, a cancelled task."""

    def set_here(kind: type[BaseException]) -> str:
        this = ctypes.c_ulong(threading.get_ident())
        ctypes.pythonapi.PyThreadState_SetAsyncExc(this, ctypes.py_object(kind))
        return "text"

    def exits(_: int, __: FrameType | None) -> None:
        sys.exit(1)

    stops: list[tuple[type[BaseException], Callable[[], object]]] = [
        (KeyboardInterrupt, partial(signal.raise_signal, signal.SIGINT)),
        (KeyboardInterrupt, partial(set_here, KeyboardInterrupt)),
        (SystemExit, by_signal),
        (SystemExit, partial(set_here, SystemExit)),
        (Interrupt, partial(set_here, Interrupt)),
        (GreenletExit, partial(raises, GreenletExit())),
        (Timeout, partial(raises, Timeout())),
        (asyncio.CancelledError, partial(raises, asyncio.CancelledError())),
    ]
    with handled(exits), nothing_collected():
        for kind, happens in stops:
            for work in works(happens):
                with pytest.raises(kind):
                    work()

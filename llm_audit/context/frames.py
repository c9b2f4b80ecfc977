"""Which context is in force here: a stack in a context variable, of blocks and of functions."""

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from llm_audit.context.inherited import NOWHERE, CallContext
from llm_audit.errors import let_through


@dataclass(eq=False, slots=True)
class Frame:
    """A context in force, inside another; what `enter` gives and `leave` takes."""

    make: Callable[[], CallContext]
    outer: "Frame | None" = None
    context: CallContext | None = None  # None until somebody asks
    left_at: object = None


_OUTERMOST = Frame(CallContext, context=NOWHERE)
_current: ContextVar[Frame] = ContextVar("llm_audit_context", default=_OUTERMOST)


def current_context() -> CallContext:
    """Return what a call made here would inherit."""
    frame = _current.get()
    if frame.context is None:
        frame.context = frame.make()
    return frame.context


def enter(context: CallContext) -> Frame:
    """Put a context in force here; hand the frame to `leave`."""
    frame = Frame(CallContext, context=context)
    put_in_force(frame)
    return frame


def enter_lazily(make: Callable[[], CallContext]) -> Frame:
    """Put a context in force here that is made when somebody asks for it; see `enter`.

    Args:
        make: Makes it; from several threads perhaps more than once, so each time the same.
    """
    frame = Frame(make)
    put_in_force(frame)
    return frame


def put_in_force(frame: Frame) -> None:
    """Put a frame in force here; hand it to `leave`."""
    frame.outer = _current.get()
    _current.set(frame)


def leave(frame: Frame) -> None:
    """Put back what was in force before `enter`.

    Generators may be left in another order than they were entered, and in another
    `contextvars.Context`: a frame that is not the innermost here is only marked, and stepped over
    when the one inside it is left in the same place.
    """
    if _current.get() is frame:
        put_back(frame)
    else:
        frame.left_at = _place()


def put_back(frame: Frame) -> None:
    """Put back what was in force before `enter`, also if something inside it was never left."""
    outer = frame.outer or _OUTERMOST
    while outer.outer is not None and outer.left_at is not None and outer.left_at == _place():
        outer = outer.outer
    _current.set(outer)


class _Over:
    """A stay that has ended.

    It has no `__del__`: an exception that strikes in one is lost.
    """

    frame = _OUTERMOST

    def end(self) -> None:
        """Do nothing more."""


class Stay(_Over):
    """A context that is in force until `end`, or until nobody holds this any more.

    A time limit may strike where a block has been entered and nobody can leave it yet.
    """

    def __init__(self, context: CallContext) -> None:
        self.frame = Frame(CallContext, context=context)
        put_in_force(self.frame)

    def end(self) -> None:
        """Put back what was in force before."""
        try:
            leave(self.frame)
        except BaseException:
            leave(self.frame)
            raise
        self.__class__ = _Over  # type: ignore[assignment]

    def __del__(self) -> None:
        leave(self.frame)


class Run:
    """One run of a function: its code has a context of its own, also where it runs in steps.

    A generator hands over to others with each `yield`: what is in force for them comes back, and
    what was in force in the generator, blocks that its body has entered included, waits for the
    next step. To be used by `with` around each step.

    Args:
        context: Of the first step.
        make: Makes it instead when somebody asks for it; see `enter_lazily`.
    """

    def __init__(
        self,
        context: CallContext | None = None,
        *,
        make: Callable[[], CallContext] = CallContext,
    ) -> None:
        self._inside = Frame(make, context=context)
        self._step: _Step | None = None

    def gave(self, item: object) -> None:
        """Be told what a generator yields."""

    def returned(self, value: object) -> None:
        """Be told what the function returned; a generator returns when it is exhausted."""

    def failed(self, error: BaseException) -> None:
        """Be told what the function raised; GeneratorExit where a generator is left early."""

    def __enter__(self) -> None:
        """Begin a step."""
        self._step = _Step(self._inside)

    def __exit__(self, *_: object) -> None:
        """End it, and put back what was in force before; do nothing if it has ended."""
        step, self._step = self._step, None
        if step is not None:
            self._inside = step.end()


class _StepOver:
    """A step that has ended; it has no `__del__`, as `_Over` has none."""

    _inside = _outside = _OUTERMOST


class _Step(_StepOver):
    """One step of a run: its frame is in force until `end`, or until nobody holds this any more."""

    def __init__(self, inside: Frame) -> None:
        self._inside, self._outside = inside, _current.get()
        _current.set(inside)

    def end(self) -> Frame:
        """Put back what was in force before; return what is in force inside."""
        inside = _current.get()
        try:
            _current.set(self._outside)
        except BaseException:  # a time limit
            _current.set(self._outside)
            raise
        self.__class__ = _StepOver  # type: ignore[assignment]
        return inside

    def __del__(self) -> None:
        if _current.get() is self._inside:
            _current.set(self._outside)


def innermost() -> Frame:
    """Return the frame that is in force here."""
    return _current.get()


def _place() -> object:
    """Name the thread or asyncio task that is running."""
    try:
        task = asyncio.current_task()
    except RuntimeError as error:
        let_through(error)
        task = None
    return task or threading.get_ident()

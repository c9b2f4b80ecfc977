"""Which context is in force here: a stack in a context variable, of blocks and of functions."""

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from llm_audit.context.inherited import NOWHERE, CallContext
from llm_audit.errors import let_through
from llm_audit.runtime.collecting import is_collecting


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
    frame = innermost()
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


def leave(frame: Frame, because_of: type[BaseException] | None = None) -> None:
    """Put back what was in force before `enter`.

    Generators may be left in another order than they were entered, and in another
    `contextvars.Context`, or by the garbage collector: then the frame is only marked, and stepped
    over in the same place.

    Args:
        frame: That was entered.
        because_of: Of which class the exception is that leaves it.
    """
    if _current.get() is frame and not (because_of is GeneratorExit and is_collecting()):
        put_back(frame)
    else:
        frame.left_at = _place()


def put_back(frame: Frame) -> None:
    """Put back what was in force before `enter`, also if something inside it was never left."""
    _current.set(_not_left(frame.outer or _OUTERMOST))


class _Over:
    """A stay that has ended.

    It has no `__del__`: an exception that strikes in one is lost.
    """

    frame = _OUTERMOST

    def end(self, because_of: type[BaseException] | None = None) -> None:
        """Do nothing more."""


class Stay(_Over):
    """A context that is in force until `end`, or until nobody holds this any more.

    A time limit may strike where a block has been entered and nobody can leave it yet.
    """

    def __init__(self, context: CallContext) -> None:
        self.frame = Frame(CallContext, context=context)
        put_in_force(self.frame)

    def end(self, because_of: type[BaseException] | None = None) -> None:
        """Put back what was in force before. As of `leave`."""
        try:
            leave(self.frame, because_of)
        except BaseException:
            leave(self.frame, because_of)
            raise
        self.__class__ = _Over  # type: ignore[assignment]

    def __del__(self) -> None:
        leave(self.frame, GeneratorExit)


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
        self._frame = self._inside = Frame(make, context=context)
        self._step: _Step | None = None
        self._is_collected = False

    @property
    def frame(self) -> Frame:
        """What is in force in its next step; for who puts it in force in another way."""
        return self._inside

    def gave(self, item: object) -> None:
        """Be told what a generator yields."""

    def returned(self, value: object) -> None:
        """Be told what the function returned; a generator returns when it is exhausted."""

    def failed(self, error: BaseException) -> None:
        """Be told what the function raised; GeneratorExit where a generator is left early."""

    def threw(self, error: BaseException) -> None:
        """Be told what is thrown into a generator; its next step deals with that."""
        self._is_collected = isinstance(error, GeneratorExit) and is_collecting()

    def __enter__(self) -> None:
        """Begin a step; one of the garbage collector's runs in whatever context is in force."""
        if not self._is_collected:
            self._step = _Step(self._inside, self._frame)

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        """End it, and put back what was in force before; do nothing if it has ended."""
        step, self._step = self._step, None
        if step is not None:
            self._inside = step.end(kind)


class _StepOver:
    """A step that has ended; it has no `__del__`, as `_Over` has none."""

    _inside = _outside = _OUTERMOST


class _Step(_StepOver):
    """One step of a run: its frame is in force until `end`, or until nobody holds this any more.

    Args:
        inside: Is in force: the run's frame, or that of a block in it.
        frame: The run's.
    """

    def __init__(self, inside: Frame, frame: Frame) -> None:
        self._inside, self._outside, self._frame = inside, _current.get(), frame
        _current.set(inside)

    def end(self, because_of: type[BaseException] | None) -> Frame:
        """Put back what was in force before; return what is in force inside. As of `leave`."""
        inside = _current.get()
        if because_of is not GeneratorExit or (self._is_here() and not is_collecting()):
            try:
                _current.set(self._outside)
            except BaseException:  # a time limit
                _current.set(self._outside)
                raise
        self.__class__ = _StepOver  # type: ignore[assignment]
        return inside

    def _is_here(self) -> bool:
        """Tell whether this is in force: a coroutine that is dropped is closed anywhere."""
        frame: Frame | None = _current.get()
        while frame is not None and frame is not self._frame:
            frame = frame.outer
        return frame is not None

    def __del__(self) -> None:
        if _current.get() is self._inside and not is_collecting():
            _current.set(self._outside)


def innermost() -> Frame:
    """Return the frame that is in force here."""
    frame = _current.get()
    return frame if frame.left_at is None else _not_left(frame)


def _not_left(frame: Frame) -> Frame:
    """Return a frame, or the first outside it that was not left here."""
    while frame.outer is not None and frame.left_at is not None and frame.left_at == _place():
        frame = frame.outer
    return frame


def _place() -> object:
    """Name the thread or asyncio task that is running."""
    try:
        task = asyncio.current_task()
    except RuntimeError as error:
        let_through(error)
        task = None
    return task or threading.get_ident()

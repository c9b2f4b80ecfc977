"""What frameworks do: a tool or an agent that runs, and a model that is asked through them."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from llm_audit import causes, recording
from llm_audit.call import LLMCallTypeEnum
from llm_audit.capture.faults import note_fault
from llm_audit.capture.patches import Method
from llm_audit.context import CallContext, SharedTrace, current_context
from llm_audit.context.frames import Run, innermost
from llm_audit.context.functions import wrapped
from llm_audit.decorators import Answer, RecordedRun
from llm_audit.logger import LLMLogger
from llm_audit.recorder.captured import ALL, Captured
from llm_audit.recorder.process import open_calls
from llm_audit.references import CallReference
from llm_audit.runtime import clock
from llm_audit.settings import get_settings

_BUBBLES_UP = "GraphBubbleUp"  # what LangGraph stops a run by, though nothing has failed
Begin = Callable[[tuple[Any, ...], Mapping[str, Any]], Run | None]


def is_on() -> bool:
    """Tell whether what frameworks do is to be recorded."""
    return ALL in Captured.clients and get_settings().enabled


def hooked(begin: Begin) -> Callable[[Method], Method]:
    """Return what makes of a method one of which each call is a run.

    Args:
        begin: Begins a run; where it fails, or returns None, the method runs as ever.
    """

    def begun(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
        run = None
        if is_on():
            try:
                run = begin(args, kwargs)
            except BaseException as fault:  # noqa: BLE001  (of objects of a framework's)
                note_fault(fault)
        return unchanged() if run is None else run

    return lambda method: wrapped(method, begun)


def start(
    framework: str,
    call_type: LLMCallTypeEnum,
    name: object,
    given: object,
    *,
    about: Mapping[str, Any] | None = None,
    **params: Any,
) -> CallReference:
    """Record that a step begins.

    Args:
        framework: Its name.
        call_type: TOOL_EXECUTION or AGENT.
        name: Of the tool or the agent.
        given: What it is given.
        about: Tags, metadata and ids, as `audit_context` takes them.
        **params: Of the step, where it has any.
    """
    fields = {
        "call_type": call_type,
        "provider": framework,
        "model": name,
        "input": given,
        "captured_by": framework,
        **(about or {}),
    }
    return recording.start(LLMLogger.start, fields, params)


def inside(call_id: str, about: Mapping[str, Any] | None = None) -> CallContext:
    """Return the context of what is called within a step.

    Args:
        call_id: The step's record.
        about: What it hands down, as `audit_context` takes it.
    """
    trace_id = open_calls().trace_of(call_id)
    ids = {"parent_call_id": str(call_id), "trace_id": trace_id}
    return current_context().extended(**{**(about or {}), **ids})


class StepAnswer(Answer):
    """What came of a step: what came last, as agents yield their state, step by step.

    Args:
        role: Of what comes back, as a message.
        read: Makes of what comes back a message, or its content.
    """

    def __init__(self, role: str, read: Callable[[Any], object] = lambda value: value) -> None:
        super().__init__(role)
        self._step_role, self._read = role, read
        self._last: object = None

    def add(self, item: object) -> None:
        """Note what came."""
        self._last, self.count = item, 1

    def message(self, returned: object = None) -> dict[str, Any] | None:
        """Return what came of it as a message."""
        value = self._last if self.count else returned
        try:
            value = self._read(value)
        except BaseException as fault:  # noqa: BLE001  (of objects of a framework's)
            note_fault(fault)
        if isinstance(value, dict) and "role" in value:
            return value
        return {"role": self._step_role, "content": value}


class Step(RecordedRun):
    """A step that is under way.

    Args:
        call_id: Its record.
        answer: Takes what comes back.
        about: What it hands down to what it calls.
    """

    def __init__(
        self, call_id: str, answer: StepAnswer, about: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(call_id, answer)
        self._call_id = call_id
        if about:
            self._inside.context = inside(call_id, about)

    def failed(self, error: BaseException) -> None:
        """Fail it, unless it has only stopped to go on in another run."""
        if any(kind.__name__ == _BUBBLES_UP for kind in type(error).__mro__):
            self.pause()
        super().failed(error)

    def pause(self, **fields: Any) -> None:
        """End it as one that waits for somebody.

        Args:
            **fields: Of its record, that say what it asks.
        """
        if self._call.is_open():
            recording.end_unfinished(self._call_id, None, causes.PAUSED, **fields)
        self._call.end()


class Asking(Run):
    """A model that is asked through a framework: calls made meanwhile know what that knows of it.

    If none is made, the answer came from no wire: then it is recorded by `record`.

    Args:
        about: Returns what is known, as `audit_context` takes it; None if that is of several calls.
    """

    def __init__(self, about: Callable[[], Mapping[str, Any] | None]) -> None:
        self.is_sent = False
        self.outer = current_context()
        self._about = about
        self._trace = _shared(self.outer)  # by one that fails and the next, say
        self._began_ns, self._began_ms = clock.monotonic_ns(), time.time_ns() // 1_000_000
        super().__init__(make=self.context)

    def context(self) -> CallContext:
        """Return the context of the calls made meanwhile; whoever asks for it makes one."""
        self.is_sent = True
        return self.outer.extended(**{**(self._about() or {}), **self._trace})

    def record(self, framework: str, **fields: Any) -> str:
        """Record that a model was asked, when it was, and return the call's id.

        Args:
            framework: Its name.
            **fields: As `LLMLogger.start` takes them.
        """
        fields = {"call_type": None, **fields, "captured_by": framework}  # which is CHAT then
        call_id = recording.start(LLMLogger.start, fields, {}, began_ms=self._began_ms)
        if call := open_calls().get(call_id):
            call.started_ns = self._began_ns
        return call_id


def trace_shared() -> Run:
    """Return a run whose calls are in one trace, whatever calls are made."""
    outer = current_context()
    return Run(outer.extended(**_shared(outer)))


def _shared(outer: CallContext) -> dict[str, Any]:
    has_one = outer.trace_id or outer.shared or outer.parent_call_id
    return {} if has_one else {"shared": SharedTrace()}


def unchanged() -> Run:
    """Return a run in the context that is in force, without asking what that is."""
    frame = innermost()

    def context() -> CallContext:
        if frame.context is None:
            frame.context = frame.make()
        return frame.context

    return Run(make=context)

"""A step of a framework: a tool or an agent that runs, as a call with what it calls below it."""

from collections.abc import Callable, Mapping
from typing import Any

from llm_audit import recording
from llm_audit.call import LLMCallTypeEnum
from llm_audit.capture.faults import note_fault
from llm_audit.capture.patches import Method
from llm_audit.context import current_context
from llm_audit.context.frames import Run
from llm_audit.context.functions import wrapped
from llm_audit.decorators import Answer, RecordedRun
from llm_audit.logger import LLMLogger
from llm_audit.recorder.captured import ALL, Captured
from llm_audit.references import CallReference
from llm_audit.settings import get_settings

Begin = Callable[[tuple[Any, ...], Mapping[str, Any]], Run]


def hooked(begin: Begin) -> Callable[[Method], Method]:
    """Return what makes of a method one of which each call is a run.

    Args:
        begin: Begins a run; where it fails, the method runs as ever.
    """

    def begun(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
        if ALL in Captured.clients and get_settings().enabled:
            try:
                return begin(args, kwargs)
            except BaseException as fault:  # noqa: BLE001  (of objects of a framework's)
                note_fault(fault)
        return Run(current_context())

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


class Step(RecordedRun):
    """A step that is under way.

    Args:
        call_id: Its record.
        role: Of what comes back, as a message.
        read: Makes of what comes back a message, or its content.
    """

    def __init__(
        self, call_id: str, role: str, read: Callable[[Any], object] = lambda value: value
    ) -> None:
        super().__init__(call_id, _StepAnswer(role, read))


class _StepAnswer(Answer):
    """What came of a step: what came last, as agents yield their state, step by step."""

    def __init__(self, role: str, read: Callable[[Any], object]) -> None:
        super().__init__(role)
        self._step_role, self._read = role, read
        self._last: object = None

    def add(self, item: object) -> None:
        self._last, self.count = item, 1

    def message(self, returned: object = None) -> dict[str, Any] | None:
        value = self._last if self.count else returned
        try:
            value = self._read(value)
        except BaseException as fault:  # noqa: BLE001  (of objects of a framework's)
            note_fault(fault)
        if isinstance(value, dict) and "role" in value:
            return value
        return {"role": self._step_role, "content": value}

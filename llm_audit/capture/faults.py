"""What goes wrong in capture stays there: it is counted and logged once, and the call goes on."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from llm_audit.errors import let_through, log_once
from llm_audit.recorder.captured import Captured
from llm_audit.recorder.process import let_go

P = ParamSpec("P")
R = TypeVar("R")


def note_fault(fault: BaseException) -> None:
    """Count a fault of ours.

    Args:
        fault: What was caught; what struck from outside, a time limit say, is raised again.
    """
    let_go()
    let_through(fault)
    Captured.counts.faults += 1
    log_once(
        f"A call could not be captured as it should ({type(fault).__name__}); it went through. "
        "llm_audit.stats() counts such faults."
    )


def harmless(function: Callable[P, R]) -> Callable[P, R | None]:
    """Let a function of ours raise nothing into the app; it returns None where it would."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except BaseException as fault:  # noqa: BLE001  (whatever a client's objects may raise)
            note_fault(fault)
            return None

    return guarded

"""The hooks on methods that send a request and return its answer: each tells an attempt of it.

They are no context manager: a time limit that strikes at the end of its `__enter__` would leave
`sending` set, and capture off for good.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from llm_audit.capture.by_hand import Follower
from llm_audit.capture.faults import harmless, note_fault
from llm_audit.capture.patches import Method
from llm_audit.recorder.captured import Captured

Begin = Callable[..., Follower | None]
Answered = Callable[[Follower, Any], None]

sending: ContextVar[Follower | None] = ContextVar("llm_audit_sending", default=None)


def is_inside() -> bool:
    """Tell whether a hook further out sees what is sent here: clients are made of other clients.

    What is started meanwhile, a task say, inherits the variable and outlives the sending.
    """
    attempt = sending.get()
    return attempt is not None and not attempt.is_sent


def hook_of(begin: Begin, answered: Answered) -> Callable[[Method], Method]:
    """Return what makes the hook of a method.

    Args:
        begin: Is called as the method is, before it, as `calls.begin`: returns what has to be told
            how the request ends; None if nobody wants to know.
        answered: Tells it of the answer.
    """
    begins = harmless(begin)

    def make(original: Method) -> Method:
        def send(*args: Any, **kwargs: Any) -> Any:
            attempt = begins(*args, **kwargs) if Captured.clients and not is_inside() else None
            if attempt is None:
                return original(*args, **kwargs)
            try:  # a time limit may strike as soon as that is set
                sending.set(attempt)
                answer = original(*args, **kwargs)
            except BaseException as error:
                attempt.raised(error)
                raise
            finally:
                attempt.is_sent = True
                sending.set(None)
            _tell(answered, attempt, answer)
            return answer

        return send

    return make


def async_hook_of(begin: Begin, answered: Answered) -> Callable[[Method], Method]:
    """Return the same for a method that is awaited."""
    begins = harmless(begin)

    def make(original: Method) -> Method:
        async def send(*args: Any, **kwargs: Any) -> Any:
            attempt = begins(*args, **kwargs) if Captured.clients and not is_inside() else None
            if attempt is None:
                return await original(*args, **kwargs)
            try:  # the same
                sending.set(attempt)
                answer = await original(*args, **kwargs)
            except BaseException as error:
                attempt.raised(error)
                raise
            finally:
                attempt.is_sent = True
                sending.set(None)
            _tell(answered, attempt, answer)
            return answer

        return send

    return make


def _tell(answered: Answered, attempt: Follower, answer: Any) -> None:
    try:
        answered(attempt, answer)
    except BaseException as fault:  # noqa: BLE001  (whatever has become of the answer)
        note_fault(fault)
        attempt.unseen()

"""`audited`: records functions of the user's own: tools, retrieval, chains, agents."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Never, TypeVar, overload

from llm_audit import causes, recording
from llm_audit.call import LLMCallTypeEnum
from llm_audit.context import current_context
from llm_audit.context.frames import Run
from llm_audit.context.functions import wrapped
from llm_audit.errors import let_through
from llm_audit.logger import LLMLogger
from llm_audit.misspelt import report_unknown
from llm_audit.recorder.process import open_calls
from llm_audit.settings import get_settings

F = TypeVar("F", bound=Callable[..., Any])

PROVIDER = "function"
# What a task says by raising them is no failure of what was called, as `celery_hooks` has it.
_CELERYS = "celery.exceptions"
_NO_FAILURES = {
    "Retry": causes.TASK_RETRY,
    "Ignore": causes.TASK_ENDED,
    "Reject": causes.TASK_ENDED,
}
ITEMS_MAX = 1_000  # of what a generator has yielded
CHARACTERS_MAX = 2**20  # in all of these, as far as they are text or bytes
_ARGUMENTS = "args"  # where there is no other name for them
_OF_A_METHOD = frozenset({"self", "cls"})
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@overload
def audited(function: F, /) -> F: ...


@overload
def audited(
    *,
    call_type: LLMCallTypeEnum | str = LLMCallTypeEnum.TOOL_EXECUTION,
    name: str | None = None,
    provider: str = PROVIDER,
    tags: Iterable[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    capture_input: bool = True,
    capture_output: bool = True,
    **unknown: Never,
) -> Callable[[F], F]: ...


def audited(
    function: Any = None,
    /,
    *,
    call_type: LLMCallTypeEnum | str = LLMCallTypeEnum.TOOL_EXECUTION,
    name: str | None = None,
    provider: str = PROVIDER,
    tags: Iterable[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    capture_input: bool = True,
    capture_output: bool = True,
    **unknown: Any,
) -> Any:
    """Record each call of a function as one of ours; `@audited`, or `@audited(call_type="AGENT")`.

    It may be a coroutine function, a generator function, both, or a method, and stays what it is.
    What it is given is `input`, by name and without `self`; what it returns is the content of
    `response_message`, an exception fails it. Calls made in it become its children. A generator
    ends when it is exhausted, closed or dropped, and has what it yielded: texts joined, up to 1,000
    items and a million characters.

    Args:
        function: Where it is used without arguments.
        call_type: What the function does.
        name: Stored as the `model`; by default the function's own.
        provider: Stored as that.
        tags: Labels to filter by, added to the context's.
        metadata: Anything else by name, merged over the context's.
        capture_input: Whether to record the arguments.
        capture_output: Whether to record what is returned or yielded.
        **unknown: Nothing: a misspelt argument is a mistake, and is left out.

    Raises:
        UsageError: In strict mode, when an argument is wrong, or it is no function.
    """
    if unknown:
        report_unknown(audited, unknown)
    given: dict[str, Any] = {
        "call_type": call_type,
        "provider": provider,
        "tags": tags,
        "metadata": metadata,
    }

    def decorated(function: F) -> F:
        start = partial(LLMLogger.start, model=name or _name_of(function), **given)
        begin = _Begin(
            function,
            start,
            "tool" if call_type == LLMCallTypeEnum.TOOL_EXECUTION else "assistant",
            capture_input=capture_input,
            capture_output=capture_output,
        )
        return wrapped(function, begin)

    return decorated if function is None else decorated(function)


def _name_of(function: Any) -> str:
    while not hasattr(function, "__name__") and hasattr(function, "func"):  # a partial
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


class _Begin:
    """Begins the record of one call of a function."""

    def __init__(
        self,
        function: Any,
        start: Callable[..., str],
        role: str,
        *,
        capture_input: bool,
        capture_output: bool,
    ) -> None:
        self._role = role
        self._function = getattr(function, "__func__", function)  # of a classmethod's, too
        self._start = start
        self._names: tuple[list[str], str] | None = None
        self._capture_input = capture_input
        self._capture_output = capture_output

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
        if not get_settings().enabled:
            return Run(current_context())
        given = self._named(args, kwargs) if self._capture_input else None
        answer = Answer(self._role, capture=self._capture_output)
        return RecordedRun(self._start(input=given), answer)

    def _named(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by name, as far as the signature has names for them."""
        if self._names is None:
            self._names = _names_of(self._function)
        names, rest = self._names
        named = dict(zip(names, args, strict=False))
        if len(args) > len(names):
            named[rest] = list(args[len(names) :])
        if names and names[0] in _OF_A_METHOD:
            named.pop(names[0], None)
        return named | dict(kwargs)


def _names_of(function: Any) -> tuple[list[str], str]:
    """Return the names of positional parameters, and that of a list of further ones."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except BaseException as error:  # noqa: BLE001  (it has none; or is an object of any kind)
        let_through(error)
        return [], _ARGUMENTS
    names = [one.name for one in parameters if one.kind in _POSITIONAL]
    rest = next((one.name for one in parameters if one.kind is one.VAR_POSITIONAL), _ARGUMENTS)
    return names, rest


class Answer:
    """What a function has given back so far.

    Args:
        role: Of what it returns, as a message.
        capture: Whether to keep that.
    """

    def __init__(self, role: str, *, capture: bool = True) -> None:
        self.count = 0
        self._role = role
        self._capture = capture
        self._items: list[Any] = []
        self._room = CHARACTERS_MAX

    def add(self, item: object) -> None:
        """Keep what a generator yields, as far as there is room."""
        self.count += 1
        size = len(item) if isinstance(item, str | bytes) else 0
        if self._capture and len(self._items) < ITEMS_MAX and size <= self._room:
            self._items.append(item)
            self._room -= size

    def message(self, returned: object = None) -> dict[str, Any] | None:
        """Return what came of it as a message, with all that was yielded."""
        if not self._capture:
            return None
        if not self.count:
            return {"role": self._role, "content": returned}
        texts = all(isinstance(item, str) for item in self._items)
        answer: dict[str, Any] = {
            "role": self._role,
            "content": "".join(self._items) if texts else self._items,
        }
        if returned is not None:
            answer["returned"] = returned
        if len(self._items) < self.count:
            answer["yielded"] = self.count  # of which these are the first
        return answer

    def so_far(self) -> dict[str, Any]:
        """Return what a generator has yielded, as a field of its call."""
        return {"response_message": self.message()} if self.count else {}


class RecordedRun(Run):
    """One call of a function, under way.

    Args:
        call_id: Its record.
        answer: Takes what comes back.
    """

    def __init__(self, call_id: str, answer: Answer) -> None:
        self._call = _Open(call_id)
        self._answer = answer
        trace_id = open_calls().trace_of(call_id)
        super().__init__(current_context().extended(parent_call_id=str(call_id), trace_id=trace_id))

    def gave(self, item: object) -> None:
        """Note what a generator yields, for whoever ends the call."""
        if not self._answer.count and (call := open_calls().get(self._call.call_id)):
            call.arrived = self._answer.so_far
        self._answer.add(item)

    def returned(self, value: object) -> None:
        """Complete the call."""
        try:
            LLMLogger.complete(self._call.call_id, response_message=self._answer.message(value))
            self._call.end()
        except BaseException as struck:  # a time limit, and nobody calls this again
            self.failed(struck)
            raise

    def failed(self, error: BaseException) -> None:
        """Fail it, with what had been yielded."""
        if self._call.is_open():
            if isinstance(error, GeneratorExit):
                recording.end_unfinished(self._call.call_id, None, causes.STREAM_CLOSED)
            elif type(error).__module__ == _CELERYS and type(error).__name__ in _NO_FAILURES:
                ended_by = _NO_FAILURES[type(error).__name__]
                recording.end_unfinished(self._call.call_id, None, ended_by)
            else:
                LLMLogger.fail(self._call.call_id, error, **self._answer.so_far())
        self._call.end()


class _Ended:
    """The record of a call of a function.

    It has no `__del__`: an exception that strikes in one is lost.
    """

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id

    def is_open(self) -> bool:
        """Tell whether nobody has ended it."""
        call = open_calls().get(self.call_id)
        return call is not None and not (call.over or call.unfinished)

    def end(self) -> None:
        """Know that it has ended."""
        self.__class__ = _Ended


class _Open(_Ended):
    """One that is open until `end`, or until nobody holds this any more."""

    def __del__(self) -> None:
        if self.is_open():  # of a generator that nobody could close any more
            recording.end_unfinished(self.call_id, None, causes.STREAM_DROPPED)

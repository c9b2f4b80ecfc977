"""Calls whose answer says that the result is still being made, and the requests that fetch it.

What fetches a result is no call of its own: it ends the call that was answered with the id.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from llm_audit import exchange
from llm_audit.capture.attempt import Attempt, How
from llm_audit.recorder.process import open_calls
from llm_audit.runtime import clock
from llm_audit.runtime.kept import kept
from llm_audit.wire.apis import Asked

AWAITED_MAX = 10_000


class _Call(NamedTuple):
    call_id: str
    asked: tuple[str | None, str | None]
    attempts: Sequence[Mapping[str, Any]]


@kept
class Awaited:
    """A bounded table, by the API and the id that it gave: the oldest go first.

    A forked child has it, too, and may fetch what its parent has asked for.
    """

    _calls: ClassVar[OrderedDict[tuple[str, str], _Call]] = OrderedDict()

    @classmethod
    def note(
        cls,
        asked: Asked,
        result: exchange.ToCome,
        call_id: str,
        attempts: Sequence[Mapping[str, Any]],
    ) -> None:
        """Note that the result of a call is to come.

        Args:
            asked: As of the call's request.
            result: What `exchange.end` returned.
            call_id: The call.
            attempts: Each request that asked for it, if several.
        """
        call = _Call(call_id, result.asked, attempts)
        cls._calls[asked.api.api, result.response_id] = call
        if len(cls._calls) > AWAITED_MAX:
            cls._calls.popitem(last=False)

    @classmethod
    def get(cls, asked: Asked) -> "Fetching | None":
        """Return what a request fetches; None if that is nothing that is to come."""
        call = cls._calls.get(_key(asked))
        return None if call is None else Fetching(asked, call)

    @classmethod
    def take(cls, asked: Asked) -> bool:
        """Tell whether nobody has recorded this result; whoever asks does."""
        return cls._calls.pop(_key(asked), None) is not None


class Fetching:
    """A request for the result of a call, as its attempt sees it.

    Args:
        asked: What its path says.
        call: That was answered with the id.
    """

    def __init__(self, asked: Asked, call: _Call) -> None:
        self.asked = asked
        self.call_id = call.call_id
        self.opened = open_calls().get(call.call_id)
        self.began_ns = clock.monotonic_ns()
        self._call = call

    def ended(
        self, attempt: Attempt, how: How | None, error: BaseException | None, ended_ns: int
    ) -> None:
        """Record the result, if this is one. As of `calls.CapturedCall`."""
        if error is not None or attempt.head is None or attempt.head.failed:
            return  # of fetching it, not of the call
        came = attempt.received(how)._replace(attempts=self._call.attempts)
        fields = exchange.result_in(came, self._call.asked)
        if fields is None or fields.get("response_id") != self.asked.result_of:
            return  # a proxy's page, say
        if Awaited.take(self.asked):
            exchange.end_with(self.call_id, fields, ended_ns)


def _key(asked: Asked) -> tuple[str, str]:
    return asked.api.api, asked.result_of or ""

"""The calls that this process has started: those that still run, and the last that have ended."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from llm_audit.runtime.interruption import free
from llm_audit.settings import Settings

OPEN_MAX = 100_000
ENDED_MAX = 10_000


class Origin(NamedTuple):
    """Where the start of a call is: in the journal of which recorder, which may be gone by now."""

    settings: Settings
    process_nonce: str


@dataclass(eq=False, slots=True)
class OpenCall:
    """What the end of a call, and its children, need to know about its start."""

    started_ns: int  # on the monotonic clock
    created_ms: int  # of the epoch: the id's instant
    provider: str | None
    model: str | None
    attempt_id: str | None
    trace_id: str
    unfinished: bool = False  # ended without a real outcome, which its owner may still give
    over: bool = False  # somebody has its outcome
    outcome: object = None  # whose fields these are
    recorded: bool = False  # the journal has its start or, once it is over, its outcome
    origin: Origin | None = None  # its end goes to the same place
    call_type: object = None
    content: Any = None  # what is to be done with it, see `recorder.content`
    held_bytes: int = 0  # of its content
    taken: bool = False  # it stands for a captured request already, which has not failed
    arrived: Callable[[], dict[str, Any]] | None = None  # returns what has come of a captured one
    redacted: Mapping[str, int] | None = (
        None  # how often each rule has found something in its start
    )

    @property
    def asked(self) -> tuple[str | None, str | None]:
        """The provider and the model that were asked, for the price."""
        return self.provider, self.model


class OpenCalls:
    """A bounded table: the oldest entries go first, and end like calls from elsewhere."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget them all."""
        self._calls: OrderedDict[str, OpenCall] = OrderedDict()
        self._ended: deque[str] = deque()
        self._held_bytes = 0
        self._lock = threading.RLock()  # a signal handler may record in the middle of it

    def begin(self, call_id: str, call: OpenCall) -> None:
        """Note that a call has started."""
        with self._lock:
            self._calls[call_id] = call
            if len(self._calls) > OPEN_MAX:
                self.hold_no_more(self._calls.popitem(last=False)[1])

    def hold(self, call: OpenCall, size: int, most: int) -> bool:
        """Tell whether there is room for the content of a call in memory, and take it.

        Args:
            call: The call.
            size: In bytes.
            most: Of all calls together.
        """
        with self._lock:
            if self._held_bytes + size > most:
                return False
            self._held_bytes += size
            call.held_bytes = size
        return True

    def hold_no_more(self, call: OpenCall) -> None:
        """Give the room of a call's content to others."""
        with self._lock:
            self._held_bytes -= call.held_bytes
            call.held_bytes = 0

    def get(self, call_id: str) -> OpenCall | None:
        """Return a call that runs or ended not long ago."""
        return self._calls.get(call_id)

    def trace_of(self, call_id: str) -> str | None:
        """Return the trace of a call that runs or ended not long ago."""
        call = self._calls.get(call_id)
        return None if call is None else call.trace_id

    def take(self, call_id: str, call: OpenCall, outcome: object) -> bool:
        """Tell whether this is a call's first outcome; who gives it notes when it is recorded."""
        with self._lock:
            if call.over:
                return False
            call.outcome = outcome  # first, as `give_back` goes by it
            call.recorded, call.unfinished, call.over = False, False, True
            self._forget_later(call_id)
        return True

    def give_back(self, call: OpenCall, outcome: object) -> None:
        """Let a call be ended anew, if it was this outcome's and that is not in the journal."""
        with self._lock:
            if call.outcome is outcome and not call.recorded:
                call.over, call.outcome = False, None

    def take_back(self, call_id: str, call: OpenCall) -> None:
        """Forget a call that has begun, if its start is not in the journal."""
        if not call.recorded:
            self._calls.pop(call_id, None)
            self.hold_no_more(call)

    def give_up(self, call_id: str) -> OpenCall | None:
        """Note that a call ended without a real outcome; return it, if it is known and not over."""
        with self._lock:
            call = self._calls.get(call_id)
            if call is None or call.over:
                return None
            call.unfinished = True
            self._forget_later(call_id)
        return call

    def unended(self, attempt_id: str | None) -> list[str]:
        """Return the calls that one attempt of a task left open; every open call for None."""
        with self._lock:
            return [
                call_id
                for call_id, call in self._calls.items()
                if not (call.over or call.unfinished) and attempt_id in {None, call.attempt_id}
            ]

    def ids(self) -> set[str]:
        """Return the calls that still run, or whose end is being recorded in this moment."""
        with self._lock:
            return {
                call_id
                for call_id, call in self._calls.items()
                if not (call.unfinished or (call.over and call.recorded))
            }

    def let_go(self) -> None:
        """Hold the lock no longer, if an exception has left it with this thread."""
        free(self._lock)

    def _forget_later(self, call_id: str) -> None:
        self._ended.append(call_id)
        if len(self._ended) > ENDED_MAX:
            self._calls.pop(self._ended.popleft(), None)

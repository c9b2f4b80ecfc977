"""The calls that this process has started and not yet ended, and the traces of recent ones."""

import threading
from collections import OrderedDict
from typing import NamedTuple

OPEN_MAX = 100_000
TRACES_MAX = 10_000


class OpenCall(NamedTuple):
    """What the end of a call needs to know about its start."""

    started_ns: int  # on the monotonic clock
    created_ms: int  # of the epoch: the id's instant
    provider: str | None
    model: str | None
    attempt_id: str | None
    unfinished: bool = False


class OpenCalls:
    """A bounded table: the oldest entries go first, and end like calls from elsewhere."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, OpenCall] = OrderedDict()
        self._ending: set[str] = set()
        self._traces: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.RLock()  # a signal handler may record in the middle of it

    def begin(self, call_id: str, call: OpenCall, trace_id: str) -> None:
        """Note that a call has started."""
        with self._lock:
            self._open[call_id] = call
            self._traces[call_id] = trace_id
            if len(self._open) > OPEN_MAX:
                self._open.popitem(last=False)
            if len(self._traces) > TRACES_MAX:
                self._traces.popitem(last=False)

    def end(self, call_id: str) -> OpenCall | None:
        """Take a call out, to be followed by `ended`; only the first to end it gets it."""
        with self._lock:
            call = self._open.pop(call_id, None)
            if call is not None:
                self._ending.add(call_id)
            return call

    def ended(self, call_id: str) -> None:
        """Note that the end of a call is recorded."""
        with self._lock:
            self._ending.discard(call_id)

    def get(self, call_id: str) -> OpenCall | None:
        """Return a call that is still open."""
        return self._open.get(call_id)

    def trace_of(self, call_id: str) -> str | None:
        """Return the trace of a call that this process started recently."""
        return self._traces.get(call_id)

    def unended(self, attempt_id: str | None) -> list[str]:
        """Return the calls that one attempt of a task left open; every open call for None."""
        with self._lock:
            return [
                call_id
                for call_id, call in self._open.items()
                if not call.unfinished and (attempt_id is None or call.attempt_id == attempt_id)
            ]

    def ids(self) -> set[str]:
        """Return the calls that still run, or whose end is being recorded in this moment."""
        with self._lock:
            running = {call_id for call_id, call in self._open.items() if not call.unfinished}
            return running | self._ending

    def end_unfinished(self, call_id: str) -> OpenCall | None:
        """Note that a call was ended without a real outcome; its owner may still give one."""
        with self._lock:
            call = self._open.get(call_id)
            if call is not None:
                self._open[call_id] = call._replace(unfinished=True)
            return call


open_calls = OpenCalls()


def forget_open_calls() -> None:
    """Start a forked child with none: its parent ends the calls that it began."""
    open_calls.__init__()  # type: ignore[misc]

"""One request and its answer, as they pass: bytes are kept, nothing is read of them here."""

import json
import re
import sys
import weakref
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_audit import causes, exchange
from llm_audit.capture.faults import harmless, note_fault
from llm_audit.providers.errors import bounded, is_refused
from llm_audit.recorder.captured import Captured
from llm_audit.runtime import clock
from llm_audit.runtime.forks import Here, notice
from llm_audit.runtime.interruption import from_outside
from llm_audit.wire.compressed import unpacked

if TYPE_CHECKING:
    from llm_audit.capture.awaited import Fetching
    from llm_audit.capture.calls import CapturedCall

KEPT_MAX_BYTES = 64 * 2**20  # of an answer that comes in pieces; one in one piece is in memory
PIECE_BYTES = 64  # that a piece takes beside what it holds
_ERROR_MAX_BYTES = 2**20  # read of a failed attempt's body, far more than is told of it
_READABLE = re.compile(r"json|text|event-?stream|xml|^$", re.IGNORECASE)
_STREAM = re.compile(r"event-?stream|ndjson|jsonl|stream\+json", re.IGNORECASE)
_FAULTS_OF_THE_SERVER = 500
_RETRIED = frozenset({408, 409, 429})


class How(Enum):
    """By what an answer ended; the value is the call's `ended_by`, if the answer is not whole."""

    LAST_BYTE = None
    CLOSED = causes.STREAM_CLOSED
    DROPPED = causes.STREAM_DROPPED
    UNSEEN = causes.NOT_CAPTURED


class Head(NamedTuple):
    """What came before the body.

    Attributes:
        status: Of HTTP.
        headers: By names in small letters.
    """

    status: int
    headers: Mapping[str, str]

    @property
    def failed(self) -> bool:
        """Tell whether it is no success."""
        return is_refused(self.status)


class Attempt:
    """One request of a captured call, and what came of it.

    None of its methods raises, and each of them may come from any thread. The first that ends it
    counts.

    Args:
        call: Whose attempt this is.
        tries: What its client notes of each request that it sends for it, the last included; None
            if it sends but one.
    """

    def __init__(
        self, call: "CapturedCall | Fetching", tries: list[dict[str, Any]] | None = None
    ) -> None:
        self._call = call
        self.tries = tries
        self._began_ns = clock.monotonic_ns()
        self._first_ns = self._dropped_ns = 0
        self.head: Head | None = None
        self.pieces: list[bytes] = []
        self._room, self._counted, self._left_out = KEPT_MAX_BYTES, 0, 0
        self._left: exchange.Received | None = None  # what came until the app left a loop over it
        self._left_with: dict[str, Any] = {}  # what is said of an error of the app's
        self._is_decoded = False  # whether what is kept is no longer compressed
        self._open = [True]  # taken by who ends it: at once, whichever threads try
        self._process = Here.process
        self._handled_before = id(sys.exc_info()[1])  # what is handled as it begins ends it not
        self.is_sent = False  # whether the client has given an answer, or raised
        mine = weakref.ref(self)  # the table of open calls holds no stream
        exchange.when_left(call.opened, lambda: _arrived(mine))

    @harmless
    def raised(self, error: BaseException) -> None:
        """Note that the client raised instead of answering."""
        self._end(None, error)

    @harmless
    def answered(self, head: Head, body: bytes) -> None:
        """Note an answer that the client has read, and decoded."""
        self.head, self._is_decoded = head, True
        self.pieces = [body]
        self._end(None, None)

    def begins(self, head: Head) -> None:
        """Note that an answer begins of which the app reads the body."""
        self.head = head

    def take(self, piece: bytes) -> int:
        """Keep a piece of the answer's body.

        Returns:
            For how many bytes there is room: so many more may be put into `pieces` without asking,
            `PIECE_BYTES` counted for each piece.
        """
        try:
            if not self._first_ns:
                self._first_ns = clock.monotonic_ns()
            new = self.pieces[self._counted :]
            self._counted += len(new)
            self._room -= sum(map(len, new)) + PIECE_BYTES * len(new)
            if self._room <= 0:
                self._left_out += len(piece)
                return 0
            self.pieces.append(piece if type(piece) is bytes else bytes(piece))
            return self._room - len(piece) - PIECE_BYTES
        except BaseException as fault:  # noqa: BLE001  (whatever a transport takes for bytes)
            note_fault(fault)
            return 0

    @harmless
    def ends(self, how: How) -> None:
        """Note that the answer ended."""
        self._end(how, None)

    @harmless
    def closed(self, because_of: tuple[type[BaseException], ...] = ()) -> None:
        """Note that the app has closed the answer, perhaps because of what has struck it.

        Args:
            because_of: What else it may be that is handled just now.
        """
        handled = sys.exc_info()[1]
        if not self._open or handled is None or id(handled) == self._handled_before:
            self._end(How.CLOSED, None)
        elif isinstance(handled, GeneratorExit):
            self._left = self.received(How.CLOSED)
            self._end(How.CLOSED, None)
        elif isinstance(handled, because_of):
            self._end(None, handled)
        else:
            struck = from_outside(handled)
            if struck is None and isinstance(handled, Exception):
                self._left_with = exchange.said_of(handled)
            self._end(How.CLOSED, struck)

    @harmless
    def closed_again(self) -> None:
        """Note that the app closes what was closed as it left a loop: now it may be seen why.

        While Python drops what a loop goes over, nobody can see the exception that ends the loop.
        """
        handled = sys.exc_info()[1]
        if isinstance(handled, GeneratorExit):  # it is still being dropped
            return
        came, self._left = self._left, None
        if came is None or handled is None or id(handled) == self._handled_before:
            return
        struck = from_outside(handled)
        if struck is None:
            came = came._replace(left_with=exchange.said_of(handled))
        exchange.end_left(self._call.call_id, came, clock.monotonic_ns(), struck)

    @harmless
    def unseen(self) -> None:
        """Note that of the answer nothing can be seen, by a fault of ours."""
        self._end(How.UNSEEN, None)

    def drop(self) -> None:
        """Note that nobody will read on; it is recorded by the next who comes by.

        The garbage collector calls this wherever it happens to run.
        """
        notice()
        if self._open and not sys.is_finalizing() and self._process is Here.process:
            self._dropped_ns = clock.monotonic_ns()
            Captured.dropped.append(lambda: self.ends(How.DROPPED))

    def received(self, how: How | None) -> exchange.Received:
        """Return what has come back so far.

        Args:
            how: By what it ended.
        """
        asked, head = self._call.asked, self.head
        if head is None:
            return exchange.Received(asked)
        kind = head.headers.get("content-type")
        body, notes = self._kept(kind or "")
        streamed = asked.streamed or _is_stream(kind or "")
        waited = (self._first_ns - self._call.began_ns) / 1_000_000
        return exchange.Received(
            asked,
            body,
            head.status,
            kind,
            None if self._is_decoded else head.headers.get("content-encoding"),
            # those of httpx know them as they came, and take twenty times as long to tell each
            getattr(head.headers, "raw", None) or tuple(head.headers.items()),
            streamed=streamed,
            time_to_first_token_ms=waited if streamed and self._first_ns else None,
            ended_by=how.value if how else None,
            left_with=self._left_with,
            notes=notes,
        )

    def told(self, ended_ns: int, error: BaseException | None) -> dict[str, Any]:
        """Return what the call's `attempts` say of it."""
        told: dict[str, Any] = {}
        if self.head is not None:
            told["status"] = self.head.status
            if self.head.failed and (body := self._plain()):
                told["body"] = bounded(_of_json(body))
        if error is not None:
            told["error"] = type(error).__name__
        told["duration_ms"] = round((ended_ns - self._began_ns) / 1_000_000, 3)
        return told

    def may_be_retried(self, error: BaseException | None) -> bool:
        """Tell whether its client may try again, by what clients of its kind retry."""
        if self.tries is not None:  # it has tried as often as it will
            return False
        if self.head is None:
            return isinstance(error, Exception)
        if not self.head.failed:
            return False
        status, headers = self.head
        said = headers.get("x-should-retry")
        if said in {"true", "false"}:
            return said == "true"
        return status in _RETRIED or status >= _FAULTS_OF_THE_SERVER

    def _plain(self) -> bytes:
        body, head = self._kept("")[0], self.head
        if self._is_decoded or head is None:
            return body[:_ERROR_MAX_BYTES]
        return unpacked(body, head.headers.get("content-encoding"), _ERROR_MAX_BYTES).body

    def _kept(self, kind: str) -> tuple[bytes, tuple[str, ...]]:
        body = b"".join(self.pieces)
        size = len(body) + self._left_out
        if not _is_readable(kind):
            return b"", (f"response: {size} bytes of {kind:.100}, not kept",)
        if not self._left_out:
            return body, ()
        return body, (f"response: {size} bytes, of which the first {len(body)} are kept",)

    def _end(self, how: How | None, error: BaseException | None) -> None:
        notice()
        # what is open ends with the process; and a child ends nothing of its parent's
        if sys.is_finalizing() or self._process is not Here.process:
            return
        try:
            self._open.pop()
        except IndexError:
            return
        ended_ns = self._dropped_ns or clock.monotonic_ns()
        self._call.ended(self, how, error, ended_ns)
        self.pieces = []


@lru_cache(maxsize=64)  # there are few
def _is_readable(kind: str) -> bool:
    return _READABLE.search(kind) is not None


@lru_cache(maxsize=64)
def _is_stream(kind: str) -> bool:
    return _STREAM.search(kind) is not None


def _of_json(body: bytes) -> object:
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@harmless
def _arrived(mine: "weakref.ref[Attempt]") -> exchange.Received | None:
    attempt = mine()
    return None if attempt is None else attempt.received(None)

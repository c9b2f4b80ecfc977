"""A captured call: one request, or several where its client tries again; how they become one.

An attempt that failed as clients retry it is recorded at once, as an end that anything else may
follow: nobody tells whether the client will try again or raise. The next request in the same
context shows it: if it is for the same call, that is open again.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple, Self
from urllib.parse import SplitResult

from llm_audit import exchange
from llm_audit.capture.attempt import Attempt, How
from llm_audit.capture.awaited import Awaited
from llm_audit.capture.by_hand import Follower, recorded_by_hand
from llm_audit.capture.clients import is_of
from llm_audit.context import current_context
from llm_audit.given.sent import model_in
from llm_audit.otel.captured import note_captured
from llm_audit.recorder.captured import ALL, Captured, end_dropped
from llm_audit.recorder.process import open_calls, recorder
from llm_audit.runtime import clock
from llm_audit.settings import get_settings
from llm_audit.wire.apis import Asked, confirmed
from llm_audit.wire.provider import provider_of

_RETRY_COUNT = "x-stainless-retry-count"  # openai, anthropic and their like: 0, 1, 2 ...
ATTEMPTS_MAX = 100
LONGEST_WAIT_NS = 150 * 10**9  # between two attempts: clients wait two minutes if they are told to


class Request(NamedTuple):
    """A request that is about to leave, as far as it is looked at.

    Attributes:
        captured_by: The library that sends it.
        asked: What its path says, not yet confirmed.
        host: The URL's.
        endpoint: The URL without its query.
        headers: By names in small letters.
        body: None if it is not in memory.
        tries: As of `Attempt`.
    """

    captured_by: str
    asked: Asked
    host: str
    endpoint: str
    headers: Mapping[str, str]
    body: bytes | None
    tries: list[dict[str, Any]] | None = None

    @classmethod
    def to(
        cls, url: SplitResult, captured_by: str, asked: Asked, headers: Mapping[str, str], body: Any
    ) -> Self:
        """Return the request to a URL, whatever its body is."""
        endpoint = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
        body = body.encode() if isinstance(body, str) else body
        kept = bytes(body) if isinstance(body, bytes | bytearray) else None
        return cls(captured_by, asked, url.hostname or "", endpoint, headers, kept)


# It is set as a request leaves, not as it fails: that may be where the garbage collector runs, and
# Python 3.11 crashes if a context variable is set there while another is being set.
last_begun: ContextVar["CapturedCall | None"] = ContextVar("llm_audit_last_call", default=None)


def begin(request: Request) -> Follower | None:
    """Record that a request leaves, unless it is no call to record; it is then on disk.

    Returns:
        What has to be told how the request ends; None if nobody wants to know.
    """
    if request.asked.result_of is not None:
        fetching = Awaited.get(request.asked) if get_settings().enabled else None
        return Attempt(fetching) if fetching else None
    asked = confirmed(request.asked, request.host, request.body)
    if asked is None or not get_settings().enabled:
        return None
    if ALL not in Captured.clients and not is_of(Captured.clients, request.headers):
        Captured.counts.passed_by += 1
        recorder()  # shows this process in MongoDB, where it may record nothing else
        return None
    if Captured.dropped:
        end_dropped()
    call = _going_on(request)
    if call is None:
        if hand := recorded_by_hand(lambda: model_in(asked, request.body)):
            Captured.counts.by_hand += 1
            note_captured(hand.model)
            current_context()  # by that a framework around it learns that the call is recorded
            return hand
        call = CapturedCall(request, asked)
        last_begun.set(call)
        Captured.counts.calls += 1
        note_captured(call.opened.model if call.opened is not None else None)
    return Attempt(call, request.tries)


class _Failed(NamedTuple):
    """A request that has failed, as far as the next attempt is known by it.

    Attributes:
        endpoint: As of `Request`.
        retries: How often its client has tried before, if that says so.
        body: The hash of the body; None if nobody knows that, or if the client counts.
        place: See `_place`.
        at_ns: When, on the monotonic clock.
    """

    endpoint: str
    retries: int | None
    body: int | None
    place: tuple[object, ...]
    at_ns: int

    @classmethod
    def now(cls, request: Request, at_ns: int) -> "_Failed":
        """Note what a request was that has failed."""
        retries = _retries_said(request)
        is_known = retries is None and request.body is not None
        body = hash(request.body) if is_known else None
        return cls(request.endpoint, retries, body, _place(), at_ns)

    def is_followed_by(self, request: Request) -> bool:
        """Tell whether a request is the next attempt."""
        now = _Failed.now(request, clock.monotonic_ns())
        if now.at_ns - self.at_ns > LONGEST_WAIT_NS:
            return False
        if now.retries is None or self.retries is None:
            return self.body is not None and now[:4] == self[:4]
        return now.retries > self.retries and (now.endpoint, now.place) == (
            self.endpoint,
            self.place,
        )


class CapturedCall:
    """One call of the app, from its first request to the end of the last.

    Args:
        request: The first one.
        asked: What it asks, confirmed by its body.
    """

    def __init__(self, request: Request, asked: Asked) -> None:
        self.asked = asked
        self.call_id = exchange.begin(
            exchange.Sent(
                *(request.captured_by, asked, request.endpoint, request.body),
                request.headers.get("content-type"),
                provider_of(request.host, request.headers),
            )
        )
        self.opened = call = open_calls().get(self.call_id)
        if call is None:
            Captured.counts.faults += 1
        self.began_ns = clock.monotonic_ns() if call is None else call.started_ns
        self._attempts: list[dict[str, Any]] = []
        self._request: Request | None = request  # as long as it may fail
        self.failed: list[_Failed] = []  # if it may go on: for the first request that does

    def goes_on(self, request: Request) -> bool:
        """Tell whether a request is the next attempt of this call, and if so let it go on."""
        try:
            failed = self.failed.pop()
        except IndexError:  # another thread or task goes on with it
            return False
        goes_on = len(self._attempts) < ATTEMPTS_MAX and failed.is_followed_by(request)
        if goes_on:
            self._request = request
            exchange.begin_attempt(self.call_id, self._attempts)
        return goes_on

    def ended(
        self, attempt: Attempt, how: How | None, error: BaseException | None, ended_ns: int
    ) -> None:
        """Record how an attempt ended, and the call with it.

        Args:
            attempt: The one.
            how: By what.
            error: What was raised instead of an answer, or within it.
            ended_ns: When, on the monotonic clock.
        """
        came = attempt.received(how)
        request, self._request = self._request, None
        self._attempts += (attempt.tries or ())[:-1]
        may_go_on = request is not None and attempt.may_be_retried(error)
        if may_go_on or self._attempts:
            self._attempts.append(attempt.told(ended_ns, error))
        if len(self._attempts) > 1:
            came = came._replace(attempts=self._attempts)
        if request is not None and may_go_on:
            self.failed.append(_Failed.now(request, ended_ns))
            exchange.end(self.call_id, came, ended_ns, error, attempt=len(self._attempts))
        else:
            left = how in {How.CLOSED, How.DROPPED} and error is None
            result = exchange.end(self.call_id, came, ended_ns, error, left=left)
            if result is not None:
                Awaited.note(self.asked, result, self.call_id, came.attempts)


def _going_on(request: Request) -> CapturedCall | None:
    """Return the call of which a request is the next attempt."""
    last = last_begun.get()
    return last if last is not None and last.failed and last.goes_on(request) else None


def _retries_said(request: Request) -> int | None:
    said = request.headers.get(_RETRY_COUNT, "")
    return int(said) if said.isdecimal() else None


def _place() -> tuple[object, ...]:
    """Name what a call is made in, and for whom: no two of these share a call."""
    here = current_context()
    ids = here.session_id, here.user_id, here.company_id, here.review_id
    return here.attempt_id, here.parent_call_id, here.trace_id, here.shared, *ids

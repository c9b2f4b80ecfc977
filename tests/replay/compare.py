"""Sends recorded calls with and without capture, and judges both what users get and the record."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from replay.drivers import Driver, driver_for, forget_clients
from replay.handed import Handed, handed, handed_async
from replay.recordings import Recording
from replay.running import Run, running
from replay.server import Received, ReplayServer
from replay.spoken import in_one_piece, streamed
from replay.table import NO_CALLS, REASONS

import llm_audit
from llm_audit.capture.instrument import instrument, uninstrument
from llm_audit.providers.whole import response_of
from llm_audit.testing.records import RecordedCall, recorded_nowhere
from llm_audit.wire.requests import request_of

ABSENT = object()


class Way(NamedTuple):
    """How a call is sent.

    Attributes:
        recording: The call.
        driver: Who sends it.
        is_async: Whether asynchronously.
    """

    recording: Recording
    driver: Driver
    is_async: bool


@dataclass(frozen=True)
class Judged:
    """What came of one recorded call, sent in one way.

    Attributes:
        way: How it was sent.
        differences: What the record says otherwise than the wire; none if nothing.
        changed: What capture changed for the app or the server.
        reason: Why that is right all the same, if it is.
    """

    way: Way
    differences: Sequence[str]
    changed: Sequence[str]
    reason: str | None

    @property
    def is_wrong(self) -> bool:
        """Whether anything differs without a reason."""
        return bool(self.changed) or (bool(self.differences) and self.reason is None)

    def told(self) -> str:
        """Return all of it in a line."""
        recording, driver, is_async = self.way
        how = f"{driver.client} {'async' if is_async else 'sync'}"
        said = "; ".join([*self.changed, *self.differences])
        return f"{recording.id} {recording.provider} {recording.endpoint} {how}: {said}"


@dataclass
class Sent:
    """What one call did.

    Attributes:
        handed: What the user's code got.
        url: The server's.
        received: What the server got.
    """

    handed: Handed
    url: str
    received: list[Received]


def compare(calls: Iterable[tuple[Recording, bool]], spool: Path) -> list[Judged]:
    """Send each call twice, and judge it.

    Args:
        calls: What was recorded, and whether to send it asynchronously.
        spool: An empty folder.
    """
    ways = [Way(recording, driver_for(recording), is_async) for recording, is_async in calls]
    ways = [way for way in ways if way.driver.has_async or not way.is_async]
    with recorded_nowhere(spool) as records:
        llm_audit.configure(media_limit_bytes=2**40, embedding_vectors=True)  # leave all in
        with ReplayServer() as server, running() as run:
            plain = [_send(server, run, way) for way in ways]
            instrument()
            try:
                captured = [_send(server, run, way, str(n)) for n, way in enumerate(ways)]
            finally:
                uninstrument()
                forget_clients()
        by_tag = tagged(records)
    fetched = _fetched(ways)
    return [
        _judged(way, plain[n], captured[n], by_tag.get(str(n), []), fetched)
        for n, way in enumerate(ways)
    ]


def _fetched(ways: Sequence[Way]) -> dict[str, Recording]:
    """Return what was fetched of answers that were still being made, by their id."""
    results = [way.recording for way in ways if way.recording.method == "GET"]
    done = [one for one in results if one.response and not _is_to_come(one)]
    return {one.response["id"]: one for one in done}


def tagged(records: Iterable[RecordedCall]) -> dict[str, list[RecordedCall]]:
    """Return records by their only tag."""
    by_tag: dict[str, list[RecordedCall]] = {}
    for record in records:
        by_tag.setdefault("".join(record.tags), []).append(record)
    return by_tag


def _send(server: ReplayServer, run: Run, way: Way, tag: str = "") -> Sent:
    server.play(way.recording.answer)

    def send() -> Any:
        return way.driver.send(way.recording, server.url, way.is_async)

    with llm_audit.audit_context(tags=[tag]):
        result = run(handed_async(send)) if way.is_async else handed(send)
    return Sent(result, server.url, server.received)


def _judged(
    way: Way,
    plain: Sent,
    captured: Sent,
    records: list[RecordedCall],
    fetched: dict[str, Recording],
) -> Judged:
    recording = way.recording
    differences: list[str] = []
    if not captured.received:
        differences.append("it was not sent")
    elif is_call(recording) and len(records) == 1:
        answer = recording
        if _is_to_come(recording):
            answer = fetched.get(recording.response["id"], recording)
        differences += _of_the_record(answer, captured, records[0])
    elif len(records) != is_call(recording):
        differences.append(f"{len(records)} records")
    return Judged(way, differences, _changed(plain, captured), REASONS.get(recording.id))


def is_call(recording: Recording) -> bool:
    """Return whether a model was asked: what only keeps books for later is none."""
    return not any(
        recording.method == method and recording.endpoint.endswith(end) for method, end in NO_CALLS
    )


def _changed(plain: Sent, captured: Sent) -> list[str]:
    """Return what capture changed for the app or for the server."""
    found = []
    if plain.handed != captured.handed:
        found.append(f"the app got {_first(plain.handed, captured.handed)}")
    for one, other in zip(plain.received, captured.received, strict=False):
        if one[:2] != other[:2] or one.headers.keys() != other.headers.keys():
            found.append(f"asked was {other[:3]}")
        if _without_boundary(one) != _without_boundary(other):
            found.append(f"sent was {other.body!r:.200}")
    if len(plain.received) != len(captured.received):
        found.append(f"{len(captured.received)} requests instead of {len(plain.received)}")
    return found


def _without_boundary(received: Received) -> bytes:
    """Return the body; of a form without what divides it, which is drawn by chance."""
    divider = received.headers.get("content-type", "").partition("boundary=")[2]
    return received.body.replace(divider.encode(), b"") if divider else received.body


def _of_the_record(recording: Recording, sent: Sent, record: RecordedCall) -> list[str]:
    """Return what the record says otherwise than the wire."""
    found = []
    received = sent.received[-1]
    body = _json(received.body)
    if body is not ABSENT and request_of(record) != body:
        found.append(f"request: {_first(body, request_of(record))}")
    if record.endpoint != sent.url + received.path.partition("?")[0]:
        found.append(f"endpoint: {record.endpoint}")
    failed = recording.call["status"] >= 400
    status = "ERROR" if failed or _fails_inside(recording) else "SUCCESS"
    if _is_to_come(recording):
        status = "INCOMPLETE"
    if record.status != status:
        found.append(f"status: {record.status} {record.error_type} {record.error_message}")
    if bool(record.streamed) != recording.is_stream:
        found.append(f"streamed: {record.streamed}")
    if failed and record.http_status != recording.call["status"]:
        found.append(f"http_status: {record.http_status}")
    if not recording.is_sound:
        found += _of_the_response(recording, record)
    return found


def _of_the_response(recording: Recording, record: RecordedCall) -> list[str]:
    response = response_of(record)
    if not recording.is_stream:
        if response == recording.response:
            return []
        return [f"response: {_first(recording.response, response)}"]
    try:
        expected, found = streamed(recording), in_one_piece(recording, response)
    except Exception as error:  # noqa: BLE001 - what cannot be read is a difference, too
        return [f"stream: {error!r} in {response!r:.200}"]
    return [] if expected == found else [f"stream: {_first(expected, found)}"]


def _fails_inside(recording: Recording) -> bool:
    """Return whether an answer with status 200 says that it failed."""
    if recording.is_stream:
        return any("error" in e or e.get("type") == "error" for e in recording.events)
    response = recording.response
    return isinstance(response, dict) and isinstance(response.get("error"), dict)


def _is_to_come(recording: Recording) -> bool:
    """Return whether an answer says that its result is still being made."""
    response = recording.response
    if recording.is_stream or not isinstance(response, dict):
        return False
    return response.get("status") in {"queued", "in_progress", "starting", "processing"}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return ABSENT


def _first(one: Any, other: Any, place: str = "") -> str:
    """Return where two values differ first, and how."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            if one.get(key, ABSENT) != other.get(key, ABSENT):
                return _first(one.get(key, ABSENT), other.get(key, ABSENT), f"{place}.{key}")
    both = isinstance(one, list | tuple) and isinstance(other, list | tuple)
    if both and len(one) == len(other):
        for index, (first, second) in enumerate(zip(one, other, strict=True)):
            if first != second:
                return _first(first, second, f"{place}.{index}")
    words = ["absent" if side is ABSENT else f"{side!r:.120}" for side in (one, other)]
    return f"{place or 'all'}: {words[0]} became {words[1]}"

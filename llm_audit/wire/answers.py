"""What came back, read: a body of JSON, or a stream put together; whole or broken off."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from llm_audit.wire.api import Assembled
from llm_audit.wire.apis import Asked
from llm_audit.wire.compressed import unpacked
from llm_audit.wire.event_stream import of_event_stream
from llm_audit.wire.frames import Frames, is_lines, is_sse, of_array, of_lines, of_sse, parsed

_SOUND_AND_SUCH = ("audio/", "image/", "video/", "application/octet-stream", "application/zip")
_LINES = frozenset(
    {
        *("application/x-ndjson", "application/ndjson", "application/stream+json"),
        *("application/jsonl", "application/x-jsonlines", "application/json-lines"),
    }
)


class Answer(NamedTuple):
    """What came back.

    Attributes:
        response: The body as JSON; of a stream that which would have come in one piece, of one that
            cannot be put together the list of its pieces. A text if it is no JSON; None if there is
            nothing, or sound and such, to keep.
        complete: Whether it came to its end, by the marks that its API sets there.
        finished: Whether it came to an end as far as its content tells. Then it is whole if the
            last byte came, even without such a mark: some leave it out.
        streamed: Whether it came in pieces.
        error: What a stream says that went wrong, as it came; it is in the response, too.
        notes: What is to be said of it.
    """

    response: Any
    complete: bool
    finished: bool = False
    streamed: bool = False
    error: Any = None
    notes: tuple[str, ...] = ()


def read_answer(
    asked: Asked,
    body: bytes,
    content_type: str | None = None,
    content_encoding: str | None = None,
) -> Answer:
    """Return what an answer says; no bytes make this raise.

    Args:
        asked: What `confirmed` returned.
        body: As it came, perhaps broken off.
        content_type: As the header has it.
        content_encoding: The same, if the body is still compressed.
    """
    body, note = unpacked(body, content_encoding)
    notes = (f"response: {note}",) if note else ()
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind.startswith(_SOUND_AND_SUCH):
        if kind.endswith("octet-stream") and body[:1] == b"{":  # an error instead of a file
            return _of_one(body, kind, notes)
        notes = (*notes, f"response: {kind} of {len(body):,} bytes, not stored")
        return Answer(None, complete=False, finished=True, notes=notes)
    read = _reader(asked, kind, body)
    if read is not None:
        frames = read(body)
        if frames.events or not body.lstrip().startswith(b"{"):  # else an error instead of a stream
            return _of_frames(asked, frames, notes)
    return _of_one(body, kind, notes)


def _reader(asked: Asked, kind: str, body: bytes) -> Callable[[bytes], Frames] | None:
    """Return what reads the pieces of a body; None if it is one piece."""
    if kind.endswith("eventstream"):
        return partial(of_event_stream, texts=asked.api.texts_in_base64)
    if kind == "text/event-stream" or is_sse(body):
        return of_sse
    if asked.streamed and body.lstrip()[:1] == b"[":
        return of_array
    return of_lines if kind in _LINES or is_lines(body) else None


def _of_one(body: bytes, kind: str, notes: tuple[str, ...]) -> Answer:
    if not body:
        return Answer(None, complete=False, notes=notes)
    try:
        return Answer(parsed(body), complete=True, finished=True, notes=notes)
    except ValueError:
        text = body.decode(errors="backslashreplace")
        is_json = "json" in kind or text.lstrip()[:1] in ("{", "[")
        return Answer(text, complete=False, finished=not is_json, notes=notes)


def _of_frames(asked: Asked, frames: Frames, notes: tuple[str, ...]) -> Answer:
    events = frames.events
    assemble = asked.api.assemble
    whole = assemble(events) if assemble else None
    if whole is None or not any(whole.response.values()):
        pieces = [event.data for event in events]
        error = whole.error if whole else None
        complete = bool(whole and whole.complete)
        whole = Assembled(pieces or None, complete, complete, error)
    if frames.is_cut:
        notes = (*notes, f"response: cut after {len(events):,} pieces")
    elif whole.complete and frames.rest:
        notes = (*notes, f"response: {frames.rest} pieces or bytes of the stream could not be read")
    if frames.odd_headers:
        notes = (*notes, f"response: {frames.odd_headers} messages have headers of unknown types")
    response = whole.response
    if whole.error is not None and isinstance(response, dict) and not response.get("error"):
        response = {**response, "error": whole.error}
    return Answer(
        response,
        complete=whole.complete,
        finished=whole.finished,
        streamed=True,
        error=whole.error,
        notes=notes,
    )

"""Calls of the files of a batch: what was asked in one, what became of it in the other."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from llm_audit.context import current_context
from llm_audit.errors import LLMAuditError
from llm_audit.given import arguments, batch_lines
from llm_audit.ids import call_id_from
from llm_audit.recorder.process import recorder
from llm_audit.recording import cut_short, trace_of
from llm_audit.settings import get_settings
from llm_audit.wire import batch_files
from llm_audit.wire.batch_files import Asked, Ended
from llm_audit.wire.frames import parsed

REQUESTS_MAX_BYTES = 2**30


class NoCallError(LLMAuditError):
    """Why a line of a batch is no call."""


class Batch(NamedTuple):
    """What is known of a batch beside its files.

    Attributes:
        batch_id: The provider's.
        submitted_by: The id of the call that submitted it.
        trace_id: Of that call.
        at: When it was submitted. It is asked for where an answer does not say when it was made.
        provider: Who was asked, if that is not who invented the form of the files.
        source: Names the file.
    """

    batch_id: str | None = None
    submitted_by: str | None = None
    trace_id: str | None = None
    at: datetime | None = None
    provider: str | None = None
    source: str | None = None


class RecordedBatch(NamedTuple):
    """What `record_batch` has done.

    Attributes:
        call_ids: Of the calls, in the order of the results.
        refused: How many lines tell of no call, by the reason.
    """

    call_ids: list[str]
    refused: dict[str, int]


class BatchCall(NamedTuple):
    """One call of a batch: the same lines make the same id.

    Attributes:
        call_id: A UUIDv7 of when it was answered.
        fields: Of its document.
    """

    call_id: str
    fields: dict[str, Any]

    def record(self) -> None:
        """Record it; what is known of it already stays as it is."""
        try:
            if get_settings().enabled:
                recorder().calls.bring_in(self.call_id, self.fields)
        except BaseException as error:  # noqa: BLE001
            cut_short("a call of a batch", error)


class Requests:
    """What was asked, by the custom id; each is held as it is in the file."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[str | None, bytes]] = {}
        self._room = REQUESTS_MAX_BYTES

    def add(self, line: object) -> bool:
        """Take the requests of a line; return whether there were any, and room for them."""
        found = False
        for one in batch_files.asked_in(line):
            body = json.dumps(one.body).encode()
            self._room -= len(body)
            if self._room < 0:
                return False
            self._asked[one.custom_id] = one.path, body
            found = True
        return found

    def get(self, custom_id: str) -> Asked | None:
        """Return what was asked under an id."""
        path, body = self._asked.get(custom_id, (None, b""))
        return Asked(custom_id, json.loads(body), path) if body else None


def record_batch(
    results: Iterable[str | bytes | Mapping[str, Any]],
    requests: Iterable[str | bytes | Mapping[str, Any]] = (),
    *,
    batch_id: str | None = None,
    submitted_by: str | None = None,
    at: datetime | None = None,
    provider: str | None = None,
) -> RecordedBatch:
    """Record what became of the requests of a batch, a call each.

    The same results make the same calls: what is recorded already stays as it is. `llm-audit
    import` does the same with files.

    Args:
        results: The lines of the file of results, or of errors: OpenAI's (Azure, Groq, Mistral),
            Anthropic's, Gemini's or Bedrock's; or what `json.loads` makes of them. What is no such
            line is left out.
        requests: The same of the file that was submitted; Vertex and Bedrock repeat it.
        batch_id: The provider's id of the batch, for the metadata.
        submitted_by: The id of the call that submitted it, which becomes the parent.
        at: When it was submitted. Anthropic's results do not say when they were made, nor do
            requests that were never answered: without it they are left out.
        provider: Who was asked, if that is not `openai`, `anthropic`, `gemini` or `bedrock`.

    Returns:
        The ids of the calls, and what was refused.
    """
    asked = Requests()
    for line in requests:
        asked.add(parsed_line(line))
    batch = Batch(batch_id, submitted_by, at=at, provider=provider)
    recorded = RecordedBatch([], {})
    for line in results:
        try:
            call = call_of(parsed_line(line), asked, batch)
        except NoCallError as why:
            recorded.refused[str(why)] = recorded.refused.get(str(why), 0) + 1
        else:
            call.record()
            recorded.call_ids.append(call.call_id)
    return recorded


def parsed_line(line: object) -> object:
    """Return what a line says as JSON; what is none says nothing."""
    if not isinstance(line, str | bytes):
        return line
    try:
        return parsed(line)
    except ValueError:
        return None


def call_of(line: object, requests: Requests, batch: Batch) -> BatchCall:
    """Return the call that a line tells of.

    Args:
        line: Of a file of results, as JSON.
        requests: What was asked.
        batch: Of which it is.

    Raises:
        NoCallError: It tells of none, or not when.
    """
    try:
        return _call_of(line, requests, batch)
    except NoCallError:
        raise
    except Exception as error:  # noqa: BLE001  (whatever a line holds costs that line)
        raise NoCallError(f"it cannot be read ({type(error).__name__})") from None


def _call_of(line: object, requests: Requests, batch: Batch) -> BatchCall:
    ended = batch_files.ended_in(line)
    if ended is None:
        is_request = any(True for _ in batch_files.asked_in(line))
        raise NoCallError(
            "it is a request, not what became of one"
            if is_request
            else "it is no result of a batch"
        )
    at = ended.at or (batch.at.timestamp() if batch.at else None)
    if at is None:
        raise NoCallError("it does not say when it was made: say when the batch was submitted")
    named = [ended.own_id] if ended.own_id else [batch.batch_id, ended.custom_id, at, _of(ended)]
    call_id = call_id_from(int(at * 1000), json.dumps([ended.provider, *named], default=str))
    request = requests.get(ended.custom_id) or _repeated(ended)
    started = _start(ended, request, batch, call_id)
    asked = (started.get("provider"), started.get("model"))
    outcome = batch_lines.outcome_fields(ended, asked, datetime.fromtimestamp(at, UTC))
    notes = [*started.get("encoding_notes", ()), *outcome.get("encoding_notes", ())]
    return BatchCall(call_id, {**started, **outcome, "encoding_notes": notes})


def _of(ended: Ended) -> str:
    """Return what tells one answer without an id from another."""
    said = json.dumps([ended.status, ended.answer, ended.error, ended.request])
    return hashlib.sha256(said.encode()).hexdigest()


def _repeated(ended: Ended) -> Asked | None:
    return None if ended.request is None else Asked(ended.custom_id, ended.request)


def _start(ended: Ended, request: Asked | None, batch: Batch, call_id: str) -> dict[str, Any]:
    context = current_context()
    metadata = {"batch_id": batch.batch_id, "custom_id": ended.custom_id or None}
    given: dict[str, Any] = {
        "provider": batch.provider or ended.provider,
        "metadata": {name: value for name, value in metadata.items() if value is not None},
    }
    if batch.submitted_by:
        given["parent_call_id"] = batch.submitted_by
    if batch.trace_id:
        given["trace_id"] = batch.trace_id
    if context.call_type is not None:
        given["call_type"] = context.call_type
    said = batch_lines.request_fields(ended, request, batch.provider)
    told = arguments.start_fields(given, {}, context)
    notes = [*told.get("encoding_notes", ()), *said.get("encoding_notes", ())]
    fields = {**said, **told, "encoding_notes": notes}
    if "trace_id" not in fields:
        named = batch.batch_id or call_id
        fields["trace_id"] = trace_of(fields.get("parent_call_id"), context, named)
    if batch.source:
        fields |= {"imported_at": datetime.now(UTC), "imported_from": batch.source}
    return fields

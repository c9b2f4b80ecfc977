"""An answer as it was seen on the wire, and what the end of its call says of it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from llm_audit import causes
from llm_audit.call import LLMCallStatusEnum
from llm_audit.errors import let_through, log_once
from llm_audit.given import outcomes
from llm_audit.given.sent import as_text, asked_of
from llm_audit.providers.error_bodies import ERROR_FIELDS, error_in
from llm_audit.providers.errors import (
    NAME_MAX_CHARACTERS,
    REQUEST_ID_HEADERS,
    is_refused,
    retry_after_in,
    shortened,
)
from llm_audit.providers.response import taken, taken_of_list
from llm_audit.providers.shapes import ANY, SHAPE_BY_API
from llm_audit.providers.whole import GIVEN, NO_OBJECT, OURS
from llm_audit.settings import get_settings, made_before
from llm_audit.wire.answers import Answer, read_answer
from llm_audit.wire.apis import Asked
from llm_audit.wire.to_come import is_to_come

# What is told of an answer beside its body.
TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("api", "content_type", "content_encoding", "ended_by"), (str,)),
    **dict.fromkeys(("request_id", "error_type"), (str,)),
    **dict.fromkeys(("streamed", "vectors"), (bool,)),
    **dict.fromkeys(("attempts", "notes"), (list,)),
    "status": (int,),
    "retry_after": (str, int, float),
    "time_to_first_token_ms": (int, float),
    **dict.fromkeys(("failed", "left_with"), (dict,)),
}
# AWS has only there what its errors are called; behind a colon there may be where that is defined.
_ERROR_TYPE = "x-amzn-errortype"
_NAMES = (*REQUEST_ID_HEADERS, "retry-after", "retry-after-ms", _ERROR_TYPE)
_LOOKED_AT = frozenset((*_NAMES, *(name.encode() for name in _NAMES)))


class Received(NamedTuple):
    """What came back, as far as it came.

    Attributes:
        asked: As of the request.
        body: As it came; empty if nothing did.
        status: Of HTTP; None if there was no answer.
        content_type: As the header has it.
        content_encoding: The same, if the body is still compressed.
        headers: Of the answer, as pairs; only those are looked at that name the request or its
            error, and say when to ask again.
        streamed: Whether it came in pieces.
        time_to_first_token_ms: Since the start.
        ended_by: Why it ended, if not with its last byte: "closed", say. If the answer is whole all
            the same, that counts.
        left_with: What is said of an error of the app's, if it left the answer because of that.
        attempts: Each request that the client made, if several: see `call.Attempt`.
        notes: What is to be said of it, e.g. that only so much was kept.
    """

    asked: Asked
    body: bytes = b""
    status: int | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    headers: Iterable[tuple[str | bytes, str | bytes]] = ()
    streamed: bool = False
    time_to_first_token_ms: float | None = None
    ended_by: str | None = None
    left_with: Mapping[str, Any] = MappingProxyType({})
    attempts: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()


def told(received: Received, failed: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is to be told of an answer beside its body, for `fields_of`.

    Args:
        received: What came.
        failed: What is stored of the exception that it ended with, its `status` included.
    """
    given = {
        "status": received.status,
        "content_type": received.content_type,
        "content_encoding": received.content_encoding,
        "time_to_first_token_ms": received.time_to_first_token_ms,
        "ended_by": received.ended_by,
    }
    said: dict[str, Any] = {
        name: value
        for name, value in given.items()
        if value is not None and isinstance(value, TYPES[name])  # some clients give anything
    }
    said["api"] = received.asked.api.api
    if received.streamed or received.asked.streamed:
        said["streamed"] = True
    if received.attempts:
        said["attempts"] = list(received.attempts)
    if received.notes:
        said["notes"] = list(received.notes)
    if failed:
        said["failed"] = failed
    if received.left_with:
        said["left_with"] = dict(received.left_with)
    if get_settings().embedding_vectors:
        said["vectors"] = True
    return said | _said_by(_looked_at(received.headers))


def _said_by(headers: Mapping[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if not headers:
        return said
    if request_id := next(filter(None, map(headers.get, REQUEST_ID_HEADERS)), None):
        said["request_id"] = request_id
    if (wait := retry_after_in(headers)) is not None:
        said["retry_after"] = wait
    if error_type := headers.get(_ERROR_TYPE, "").partition(":")[0].strip():
        said["error_type"] = error_type[:NAME_MAX_CHARACTERS]
    return said


def _looked_at(headers: Iterable[tuple[str | bytes, str | bytes]]) -> dict[str, str]:
    found = {}
    for given in headers:
        if given[0].lower() in _LOOKED_AT:
            name, value = (
                one.decode("latin-1") if isinstance(one, bytes) else str(one) for one in given
            )
            found[name.lower()] = value
    return found


def fields_of(
    told: Mapping[str, Any],
    body: bytes,
    asked: tuple[str | None, str | None],
    ended_at: datetime | None = None,
) -> dict[str, Any]:
    """Return everything that is stored of how a call ended; whatever it holds, nothing raises.

    Args:
        told: What `told` returned; it may have been through BSON.
        body: Of the answer.
        asked: The provider and the model that were asked, for the price.
        ended_at: As of `outcomes.fields_told`.
    """
    reading = made_before.set(True)
    try:
        answer = _answer(told, body)
        fields = outcomes.fields_told(_said(told, answer), asked, ended_at)
        return _noted(_ended(fields, told, answer), (*told.get("notes", ()), *answer.notes))
    except BaseException as fault:  # noqa: BLE001  (a body may hold anything; its call is recorded)
        let_through(fault)
        log_once(f"a captured answer could not be read: {type(fault).__name__}")
        return _unread(told, body, fault)
    finally:
        made_before.reset(reading)


def _answer(told: Mapping[str, Any], body: bytes) -> Answer:
    asked = asked_of(told)
    if not body:
        unread = told.get("streamed") or told.get("ended_by")  # or of a kind that is not kept
        return Answer(None, complete=not unread)
    if asked is None:  # of a later version
        return Answer(as_text(body), complete=True, notes=("response: of an unknown API",))
    return read_answer(asked, body, told.get("content_type"), told.get("content_encoding"))


def _said(told: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """Return what was answered as `outcomes.told` returns it."""
    response, said = answer.response, {}
    if isinstance(response, dict):
        vectors = bool(told.get("vectors"))
        said["response"] = taken(response, embedding_vectors=vectors)
        shape = SHAPE_BY_API.get(told.get("api", ""))
        if shape and not shape.known_by and not _is_refused(told):
            said["response"].setdefault("api", shape.api)
    elif isinstance(response, str) and not _is_refused(told):
        said["response"] = {"message": {"role": "assistant", "content": response}}
    elif isinstance(response, list):
        said["response"] = taken_of_list(response, embedding_vectors=bool(told.get("vectors")))
    elif response is not None and not isinstance(response, str):
        said["response"] = {"ours": {NO_OBJECT: response}}
    if (waited := told.get("time_to_first_token_ms")) is not None:
        said["time_to_first_token_ms"] = waited
    return said


def _ended(fields: dict[str, Any], told: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """Return the fields of an answer with those of how it came, and how that ended."""
    if told.get("streamed") or answer.streamed:
        fields["streamed"] = True
    if attempts := told.get("attempts"):
        fields["attempts"] = attempts
    if request_id := told.get("request_id"):
        fields["provider_request_id"] = request_id
    if answer.error is not None and fields.keys().isdisjoint(ERROR_FIELDS):
        fields |= error_in({"error": answer.error}, ANY, None, answered=False)
    if _is_refused(told):
        return fields | _refused(fields, told, answer)
    failed: dict[str, Any] | None = told.get("failed")
    if failed and not (answer.complete and answer.response is not None):
        return fields | failed
    if not fields.keys().isdisjoint(ERROR_FIELDS):
        status = outcomes.meant_by_response(fields)
        return fields | {"status": status, "ended_by": causes.RESPONSE}
    if not (answer.complete or (answer.finished and "ended_by" not in told)):
        cause = told.get("ended_by") or causes.BROKEN_OFF
        ended = {"status": LLMCallStatusEnum.INCOMPLETE, "ended_by": cause}
        return {**fields, **told.get("left_with", {}), **ended}
    if is_to_come(told.get("api"), answer.response):
        return fields | {"status": LLMCallStatusEnum.INCOMPLETE, "ended_by": causes.IN_BACKGROUND}
    return fields


def _is_refused(told: Mapping[str, Any]) -> bool:
    return is_refused(told.get("status"))


def _refused(fields: Mapping[str, Any], told: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """Return what is stored of an answer that says by its status that it is none."""
    response = answer.response
    found: dict[str, Any] = {"http_status": told["status"], "ended_by": causes.RESPONSE}
    details = {"retry_after": told.get("retry_after")}
    if isinstance(response, dict) and "error_message" not in fields:  # AWS, Cohere: a message only
        found = error_in({"error": response}, ANY, None, answered=False) | found
    if "error_type" in told and "error_type" not in fields:
        found.setdefault("error_type", told["error_type"])
    if isinstance(response, str) and response:
        found["error_message"] = details["body"] = shortened(response)
    if kept := {name: value for name, value in details.items() if value is not None}:
        found["error_details"] = kept
    found["status"] = outcomes.meant_by_response({**fields, **found})
    return found


def _unread(told: Mapping[str, Any], body: bytes, fault: BaseException) -> dict[str, Any]:
    """Return what is stored of an answer that cannot be read: itself."""
    text = as_text(body)
    given = {"body": text, "content_encoding": told.get("content_encoding")}
    kept = {name: value for name, value in given.items() if value is not None}
    fields: dict[str, Any] = {
        "status": LLMCallStatusEnum.SUCCESS,
        "response_extra": {OURS: {GIVEN: kept}},
        "encoding_notes": [f"not read ({type(fault).__name__}), kept in response_extra as it came"],
    }
    return _ended(fields, told, Answer(text, complete=not told.get("failed")))


def _noted(fields: dict[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    if notes:
        fields["encoding_notes"] = [*fields.get("encoding_notes", ()), *notes]
    return fields

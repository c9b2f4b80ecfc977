"""A request as it was seen on the wire, and what the start of its call says of it."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from llm_audit.errors import let_through, log_once
from llm_audit.providers.whole import GIVEN, OURS
from llm_audit.settings import made_before
from llm_audit.wire.api import Api
from llm_audit.wire.apis import ROWS, Asked
from llm_audit.wire.frames import holds_too_much
from llm_audit.wire.requests import read_request

ROW_OF: Mapping[str, Api] = {row.api: row for row in reversed(ROWS)}
_END_BYTES = 4_096
_KEY = b'"model"'
_MODEL = re.compile(rb'"model"\s*:\s*"([\w.:/@+-]+)"')
# What is told of a request beside its body.
TYPES: Mapping[str, type] = {
    **dict.fromkeys(("api", "model", "content_type"), str),
    **dict.fromkeys(("streamed", "is_first"), bool),
}


class Sent(NamedTuple):
    """A request as its client hands it over to be sent.

    Attributes:
        captured_by: The library that was watched: "httpx2", say.
        asked: What `wire.apis.confirmed` returned.
        endpoint: The URL without its query and user: "https://host/path".
        body: As it is sent; None if it cannot be read.
        content_type: As the header has it.
        provider: Whose server it is.
    """

    captured_by: str
    asked: Asked
    endpoint: str
    body: bytes | None = None
    content_type: str | None = None
    provider: str | None = None


def told(sent: Sent) -> dict[str, Any]:
    """Return what is to be told of a request beside its body, for `fields_of`."""
    asked = sent.asked
    said = {
        "api": asked.api.api,
        "model": asked.model,
        "streamed": asked.streamed or None,
        "is_first": asked.is_first and None,
        "content_type": sent.content_type,
    }
    return {name: value for name, value in said.items() if isinstance(value, TYPES[name])}


def model_in(asked: Asked, body: bytes | None) -> str | None:
    """Return the model that a request is for: that of its URL, else of its body.

    Args:
        asked: As of `Sent`.
        body: The same.
    """
    if asked.model is not None or body is None:
        return asked.model
    # to look through a long body takes as long as to read it, and clients put the model at an end
    ends = body if len(body) <= 2 * _END_BYTES else body[:_END_BYTES] + body[-_END_BYTES:]
    at = ends.find(_KEY)  # which finds it faster than an expression
    if at >= 0 and ends.find(_KEY, at + 1) < 0 and (ends is body or _is_outermost(ends, at)):
        found = _MODEL.match(ends, at)
        if found:
            return found[1].decode()
    model = fields_of({"api": asked.api.api}, body).get("model")
    return model if isinstance(model, str) else None


def _is_outermost(ends: bytes, at: int) -> bool:
    """Tell whether a key is the body's own, and not of a tool in it; in doubt it is not."""
    part = ends[:at] if at < _END_BYTES else ends[at:]
    objects = part.count(b"{") - part.count(b"}")
    return abs(objects) == 1 and part.count(b"[") == part.count(b"]")


def asked_of(told: Mapping[str, Any]) -> Asked | None:
    """Return what was asked, of a request or an answer that is told of; None if nobody knows it.

    Args:
        told: With the `api`; and `model` and `streamed`, where the URL has said them, and
            `is_first`, if it is of a request.
    """
    row = ROW_OF.get(told.get("api", ""))
    if row is None:  # of a later version
        return None
    return Asked(
        (row,),
        model=told.get("model"),
        streamed=told.get("streamed", False),
        is_first=told.get("is_first", True),
    )


def fields_of(told: Mapping[str, Any], body: bytes | None) -> dict[str, Any]:
    """Return the fields of a call's start that a request says; whatever it holds, nothing raises.

    Args:
        told: What `told` returned; it may have been through BSON.
        body: Of the request.
    """
    reading = made_before.set(True)  # nobody has made a mistake: it was sent so
    try:
        if (asked := asked_of(told)) is None:
            return _unread(told, body, "of an unknown API")
        if body and holds_too_much(body):
            return _unread(told, body, "more lists and objects than there is memory for")
        return dict(read_request(asked, body, told.get("content_type")))
    except BaseException as fault:  # noqa: BLE001  (a body may hold anything; its call is recorded)
        let_through(fault)
        log_once(f"a captured request could not be read: {type(fault).__name__}")
        return _unread(told, body, type(fault).__name__)
    finally:
        made_before.reset(reading)


def _unread(told: Mapping[str, Any], body: bytes | None, why: str) -> dict[str, Any]:
    """Return what is stored of a request that cannot be read: itself."""
    kept = {"body": as_text(body), "content_type": told.get("content_type")}
    given = {name: value for name, value in kept.items() if value is not None}
    fields: dict[str, Any] = {
        "request_params": {OURS: {GIVEN: given}},
        "encoding_notes": [f"not read ({why}), kept in request_params as it was sent"],
    }
    return fields | ({"model": told["model"]} if "model" in told else {})


def as_text(body: bytes | None) -> str | bytes | None:
    """Return a body as the text that it is, or as it is."""
    try:
        return None if body is None else body.decode()
    except UnicodeDecodeError:
        return body

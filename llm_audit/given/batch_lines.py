"""What the lines of a batch's files say of a call: its request, and how it ended."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from llm_audit import causes
from llm_audit.call import LLMCallStatusEnum, LLMCallTypeEnum
from llm_audit.given import outcomes, sent
from llm_audit.providers.response import taken
from llm_audit.providers.shapes import shape_of
from llm_audit.providers.whole import SOLD_AS
from llm_audit.settings import get_settings
from llm_audit.wire.apis import confirmed, matched
from llm_audit.wire.batch_files import ANTHROPIC, BEDROCK, GEMINI, OPENAI, Asked, Ended

_HOSTS = {
    OPENAI: "api.openai.com",
    ANTHROPIC: "api.anthropic.com",
    GEMINI: "generativelanguage.googleapis.com",
    BEDROCK: "bedrock-runtime.amazonaws.com",
}
_UNKNOWN_MODEL = "{model}"  # in a path
_BATCH = "batch"  # what prices depend on
# What became of a request that was never answered, by what is said of it.
_STATUSES = {
    **dict.fromkeys(("expired", "batch_expired"), LLMCallStatusEnum.TIMEOUT),
    **dict.fromkeys(("canceled", "cancelled"), LLMCallStatusEnum.CANCELLED),
    **dict.fromkeys(("batch_canceled", "batch_cancelled"), LLMCallStatusEnum.CANCELLED),
}


def request_fields(ended: Ended, request: Asked | None, provider: str | None) -> dict[str, Any]:
    """Return what was asked, read by the row of the table that its path leads to.

    Args:
        ended: What became of it.
        request: None if nobody knows it.
        provider: Who was asked, if that is not whose form the files have.
    """
    fields = _asked(ended, request, provider)
    fields.setdefault("call_type", _call_type(ended))
    if request is None:
        note = "request: it is in none of the files"
        fields["encoding_notes"] = [*fields.get("encoding_notes", ()), note]
    return fields


def _asked(ended: Ended, request: Asked | None, provider: str | None) -> dict[str, Any]:
    model = _model(ended, request)
    known = {"model": model} if model else {}
    if request is None:
        return known
    given = urlsplit(request.path or "").path
    path = f"/{given.lstrip('/')}" if given else _path(ended, request, model or _UNKNOWN_MODEL)
    host = _HOSTS[ended.provider] if provider is None else provider
    endpoint = f"https://{host}{path}"
    body = json.dumps(request.body).encode()
    found = matched("POST", path)
    if found is None:
        return {**known, "request_params": request.body, "endpoint": endpoint}
    row = confirmed(found, host, body) or found
    told = sent.told(sent.Sent("", row, "", body, "application/json"))
    fields = sent.fields_of(told, body)
    if fields.get("model") == _UNKNOWN_MODEL:
        del fields["model"]
    return {**fields, "endpoint": endpoint}


def _call_type(ended: Ended) -> LLMCallTypeEnum:
    row = sent.ROW_OF.get(shape_of(ended.answer or {}).api)
    return LLMCallTypeEnum.CHAT if row is None else row.call_type


def _model(ended: Ended, request: Asked | None) -> str | None:
    answer = ended.answer or {}
    asked = request.body if request else {}
    for model in (asked.get("model"), answer.get("model"), answer.get("modelVersion")):
        if isinstance(model, str) and model:
            return model.removeprefix("models/")
    return None


def _path(ended: Ended, request: Asked, model: str) -> str:
    """Return the path of a request whose line does not say it."""
    if ended.provider == GEMINI:
        done = "generateContent" if "contents" in request.body else "embedContent"
        return f"/v1beta/models/{model}:{done}"
    if ended.provider == BEDROCK:
        return f"/model/{model}/invoke"
    return "/v1/messages" if ended.provider == ANTHROPIC else "/v1/chat/completions"


def outcome_fields(
    ended: Ended, asked: tuple[str | None, str | None], at: datetime
) -> dict[str, Any]:
    """Return how it ended.

    Args:
        ended: What became of a request.
        asked: The provider and the model that were asked, for the price.
        at: When that was.
    """
    said: dict[str, Any] = {}
    body = ended.answer
    if body is None and ended.error and ended.error.keys() != {"type"}:
        body = {"error": ended.error}
    if body is not None:
        took = taken(body, embedding_vectors=get_settings().embedding_vectors)
        ours = took.get("ours", {})
        if not ended.is_refused:
            ours = {**ours, SOLD_AS: _BATCH}
        said["response"] = {**took, **({"ours": ours} if ours else {})}
    fields = outcomes.fields_told(said, asked, at)
    if ended.is_refused:
        fields |= _refused(ended, fields)
    return {**fields, "completed_at": at}


def _refused(ended: Ended, fields: Mapping[str, Any]) -> dict[str, Any]:
    error = ended.error or {}
    kind = str(fields.get("error_type") or error.get("type") or error.get("code") or "unknown")
    said: dict[str, Any] = {"error_type": kind, "ended_by": causes.RESPONSE}
    if ended.status:
        said["http_status"] = ended.status
    meant = outcomes.meant_by_response({**fields, **said})
    return {**said, "status": _STATUSES.get(kind, meant)}

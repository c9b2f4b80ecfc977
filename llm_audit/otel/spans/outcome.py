"""What a span says of how a call ended: what was answered, what it used, and what went wrong."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from llm_audit import causes
from llm_audit.call import LLMCallStatusEnum, LLMCallTypeEnum
from llm_audit.errors import let_through
from llm_audit.given.failures import CAUSE_BY_NAME, MAX_CHARACTERS
from llm_audit.otel.spans import names
from llm_audit.otel.spans.kinds import Kind, goes_on
from llm_audit.otel.spans.messages import output_messages
from llm_audit.otel.spans.span import ERROR, Span
from llm_audit.otel.spans.told import Told
from llm_audit.otel.spans.values import as_dict, as_number, as_text, parsed
from llm_audit.providers.errors import means_timeout, status_in
from llm_audit.providers.response import read_response

API = "opentelemetry"  # the shape of messages that are no API's
COST_SOURCE = "span"  # whoever made it has computed it
_CANCELLED = frozenset({"CancelledError", "cancelled"})
_ABANDONED = frozenset({"abandoned stream", "GeneratorExit"})
_SPELLED = {"input": "input_tokens", "output": "output_tokens", "total": "total_tokens"}


class Outcome(NamedTuple):
    """How a call ended.

    Attributes:
        given: Arguments of `LLMLogger.complete`, by name.
        fields: Fields of the call that stand instead of what is read from those.
    """

    given: dict[str, Any]
    fields: dict[str, Any]


def read_outcome(told: Told, kind: Kind) -> Outcome:
    """Return what a span that has ended says of how its call did."""
    span, given, fields = told.span, dict[str, Any](), dict[str, Any]()
    if kind.is_step:
        if (said := parsed(told.first(names.STEP_OUTPUT))) is not None:
            is_tool = kind.call_type == LLMCallTypeEnum.TOOL_EXECUTION
            role = "tool" if is_tool else "assistant"
            given["response_message"] = {"role": role, "content": said}
            fields["api"] = API
    else:
        _answer(told, given, fields)
    given["time_to_first_token_ms"] = _first_token_ms(told)
    if _is_streamed(told):
        fields["streamed"] = True
    fields |= _failure(told)
    if not (kind.is_step or fields.get("status") or _is_answered(given)):
        fields |= {"status": LLMCallStatusEnum.INCOMPLETE, "ended_by": causes.SPAN_ENDED}
    fields["span"] = _about(span)
    if span.dropped_attributes:
        fields["encoding_notes"] = [f"span: {span.dropped_attributes} attributes are missing"]
    return Outcome({name: value for name, value in given.items() if value is not None}, fields)


def is_to_come(told: Told) -> bool:
    """Tell whether another span says how the call ended: logfire's, once a stream is over."""
    if not told.span.scope.startswith("logfire") or told.span.status == ERROR:
        return False
    given: dict[str, Any] = {}
    _answer(told, given, {})
    return not _is_answered(given)


def response_id_of(told: Told) -> str | None:
    """Return the provider's id of the response, wherever the span has it."""
    if (said := told.text(names.RESPONSE_ID)) is not None or told.answer is None:
        return said
    found = read_response(told.answer).get("response_id")
    return found if isinstance(found, str) else None


def _is_streamed(told: Told) -> bool:
    """Tell whether the answer was a stream, as far as the span says."""
    said = (*map(told.attributes.get, names.STREAMED), told.body.get("stream"))
    return (
        goes_on(told.attributes)
        or True in said
        or any(one.name in names.FIRST_CHUNK_EVENTS for one in told.span.events)
    )


def _answer(told: Told, given: dict[str, Any], fields: dict[str, Any]) -> None:
    if told.answer is not None:
        given["response"] = told.answer
    elif messages := output_messages(told.attributes, told.span):
        given["response_message"] = messages[0]
        fields["api"] = API
        if len(messages) > 1:
            fields["other_choices"] = messages[1:]
    given["tokens"] = _usage(told)
    given["estimated_cost"] = cost = _cost(told)
    if cost is not None:
        fields["cost_source"] = COST_SOURCE
    given["finish_reason"] = told.text(names.FINISH)
    given["response_id"] = told.text(names.RESPONSE_ID)
    if told.span.status != ERROR:
        given["response_model"] = told.models[1]


def _usage(told: Told) -> dict[str, Any] | None:
    """Return the usage as it was reported, else what the span says of it."""
    reported = as_dict(told.first(names.USAGE))
    if not reported and (data := told.first(names.RESPONSE_DATA)) is not None:
        reported = as_dict(as_dict(data).get("usage"))
    if reported:
        return {_SPELLED.get(name, name): value for name, value in reported.items()}
    if told.answer is not None:  # which says it
        return None
    counts = {name: told.first(spelled) for name, spelled in names.COUNTS.items()}
    return {name: value for name, value in counts.items() if value is not None} or None


def _cost(told: Told) -> float | None:
    cost = as_number(told.first(names.COST))
    if cost is None:
        details = as_dict(told.first(names.COST_DETAILS))
        cost = as_number(details.get("total")) or None  # langfuse says 0 of what failed
    return cost


def _is_answered(given: Mapping[str, Any]) -> bool:
    signs = ("response", "response_message", "tokens", "finish_reason", "response_id")
    return any(given.get(name) is not None for name in signs)


def _first_token_ms(told: Told) -> float | None:
    span = told.span
    if (seconds := as_number(told.first(names.FIRST_CHUNK))) is not None:
        return seconds * 1000
    if (at := told.text(names.FIRST_CHUNK_AT)) is not None:
        try:
            moment = datetime.fromisoformat(at)
        except ValueError as error:
            let_through(error)
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, round(moment.timestamp() * 1000 - span.start_ns / 1e6, 3))
    chunks = (event.time_ns for event in span.events if event.name in names.FIRST_CHUNK_EVENTS)
    first = next(chunks, None)
    return None if first is None else max(0.0, (first - span.start_ns) / 1e6)


def _failure(told: Told) -> dict[str, Any]:
    """Return what a span that failed says of why; empty for one that did not."""
    span = told.span
    if span.status != ERROR:
        return {}
    raised: Mapping[str, Any] = next(
        (event.attributes for event in reversed(span.events) if event.name == "exception"), {}
    )
    kind = as_text(told.first(names.ERROR_TYPE) or raised.get("exception.type"))
    name = kind.rpartition(".")[2] if kind else None
    message = (
        span.status_message
        or told.text(names.ERROR_MESSAGE)
        or as_text(raised.get("exception.message"))
    )
    if name is None and message and (before := message.partition(":")[0]).isidentifier():
        name = before  # "BadRequestError: …"
    http_status = status_in(told.first(names.HTTP_STATUS))
    status, ended_by = LLMCallStatusEnum.ERROR, CAUSE_BY_NAME.get(name or "", causes.EXCEPTION)
    said = name or message
    if means_timeout(http_status, (said,) if said else ()):
        status = LLMCallStatusEnum.TIMEOUT
    elif name in _CANCELLED:
        status = LLMCallStatusEnum.CANCELLED
    elif message in _ABANDONED or name in _ABANDONED:
        status, ended_by = LLMCallStatusEnum.INCOMPLETE, causes.SPAN_ENDED
    trace = raised.get("exception.stacktrace")
    found = {
        "status": status,
        "ended_by": ended_by,
        "error_type": name,
        "error_message": message and message[:MAX_CHARACTERS],
        "error_traceback": trace[-MAX_CHARACTERS:] if isinstance(trace, str) else None,
        "http_status": http_status,
    }
    return {name: value for name, value in found.items() if value is not None}


def _about(span: Span) -> dict[str, Any]:
    """Return which span it was, and what no other field says of it."""
    about = {
        "name": span.name,
        "span_id": span.span_id,
        "scope": span.scope or None,
        "dropped_attributes": span.dropped_attributes or None,
        "attributes": names.unread(span.attributes) or None,
    }
    return {name: value for name, value in about.items() if value is not None}

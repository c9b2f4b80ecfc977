"""How a call ended, as fields: from a response, from usage, and from an error."""

import math
from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import datetime
from typing import Any

from llm_audit import causes
from llm_audit.call import LLMCallStatusEnum
from llm_audit.encoding.bounds import TooMuchError, are_readable
from llm_audit.encoding.safe_text import safe_repr, text
from llm_audit.errors import let_through, log_once
from llm_audit.given import arguments, failures
from llm_audit.prices import Sale, cost_of
from llm_audit.providers.error_bodies import ERROR_FIELDS
from llm_audit.providers.errors import means_timeout
from llm_audit.providers.fields import fields_of
from llm_audit.providers.received import plain, received
from llm_audit.providers.response import fields_in, taken
from llm_audit.providers.tool_calls import tools_asked_for
from llm_audit.providers.unread import unread
from llm_audit.providers.usage import read_usage, usual_counts
from llm_audit.providers.whole import GIVEN, OURS
from llm_audit.settings import get_settings, report_mistake

_NAMES_MAX = 10  # in a note
_READ = frozenset({"response", "tokens", "estimated_cost", "error", "status"})  # no fields as such


def told(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given of how a call ended, the response out of its client's object.

    Args:
        given: The arguments of `complete` or `fail` by name; an `error` only if there is one. What
            was answered all the same may be in that.
    """
    said = arguments.checked(given, {})
    response, tokens = said.pop("response", None), said.get("tokens")
    if "error" in given:
        error = said.setdefault("error", None)
        if response is None and "response_message" not in said:
            response, usage = failures.completion_in(error)
            tokens = usage if tokens is None else tokens
    if response is not None:
        vectors = get_settings().embedding_vectors
        said["response"] = taken(response, embedding_vectors=vectors)
    if tokens is not None:
        said["tokens"] = tokens if type(tokens) is dict else _usage(tokens) or tokens
    return said


def fields_told(
    said: Mapping[str, Any],
    asked: tuple[str | None, str | None],
    ended_at: datetime | None = None,
) -> dict[str, Any]:
    """Return everything that is stored of how a call ended.

    Args:
        said: What `told` returned; it may have been through BSON if there is no error.
        asked: The provider and the model that were asked, for the price.
        ended_at: When, if it is read later and perhaps by another process: then nothing is asked
            of where it is read, its own prices and the exception in hand. None is now.
    """
    if not are_readable(said):
        raise TooMuchError
    given = {name: value for name, value in said.items() if name not in _READ}
    failed = "error" in said
    fields = _fields_of_response(said, given, asked, ended_at)
    meant = meant_by_response(fields)
    if failed:
        meant, of_error = failures.error_fields(said["error"])
        fields |= of_error
    status = said.get("status")
    ended = meant if status is None else arguments.terminal_status(status, meant)
    if not failed and ended is not LLMCallStatusEnum.SUCCESS:
        by_response = causes.RESPONSE if meant is ended else None
        here = failures.cause_handled(ended) if ended_at is None else None
        fields["ended_by"] = by_response or here or causes.CALLER
    elif not failed and meant is not ended:  # who ends a call knows best
        fields = {name: value for name, value in fields.items() if name not in ERROR_FIELDS}
    fields["status"] = ended
    return fields


def unread_fields(given: Mapping[str, Any], fault: BaseException) -> dict[str, Any]:
    """Return what is stored of how a call ended if that cannot be read: what was given, as it is.

    Args:
        given: What `told` takes.
        fault: What was raised by reading it.
    """
    kept = {name: value for name, value in given.items() if value is not None}
    message, error = kept.pop("response_message", None), kept.pop("error", None)
    meant = LLMCallStatusEnum.ERROR if "error" in given else LLMCallStatusEnum.SUCCESS
    said = issubclass(type(kept.get("status")), str)
    fields: dict[str, Any] = {
        "status": arguments.terminal_status(kept.pop("status"), meant) if said else meant,
        "response_extra": {OURS: {GIVEN: kept}},
        "encoding_notes": [f"not read ({type(fault).__name__}), kept in response_extra as given"],
    }
    if message is not None:
        is_one = issubclass(type(message), dict)
        content = {"role": "assistant", "content": message}
        fields["response_message"] = message if is_one else content
    if "error" in given:
        fields |= {"error_message": safe_repr(error, str), "ended_by": causes.EXCEPTION}
        if issubclass(type(error), BaseException):
            fields["error_type"] = type(error).__name__
    return fields


def meant_by_response(fields: Mapping[str, Any]) -> LLMCallStatusEnum:
    """Return the status that a response means by itself."""
    if fields.keys().isdisjoint(ERROR_FIELDS):
        return LLMCallStatusEnum.SUCCESS
    kind = fields.get("error_type", "")
    if means_timeout(fields.get("http_status"), (kind,)):
        return LLMCallStatusEnum.TIMEOUT
    return LLMCallStatusEnum.CANCELLED if kind == "cancelled" else LLMCallStatusEnum.ERROR


def _fields_of_response(
    said: Mapping[str, Any],
    given: Mapping[str, Any],
    asked: tuple[str | None, str | None],
    ended_at: datetime | None,
) -> dict[str, Any]:
    fields = dict(given)
    problems: list[str] = []
    took, tokens = said.get("response"), said.get("tokens")
    message = fields.get("response_message")
    if message is not None and type(message) is not dict:
        fields["response_message"] = _message(message)
    if tokens and type(tokens) is dict:
        tokens = fields["usage"] = plain(tokens)
    if took is not None:
        fields = fields_in(took, fields, problems)
    fields |= _asked_for(fields)
    reported = fields.get("usage") if tokens is None else tokens
    usual = usual_counts(reported) if type(reported) is dict else None
    if usual is not None:
        fields |= usual
    elif reported is not None:
        _read_counts(reported, fields, problems, is_given=tokens is not None)
    for problem in problems:
        report_mistake(problem)
    cost = said.get("estimated_cost")
    if cost is not None and (cost := _cost(cost)) is not None:
        fields |= {"estimated_cost": cost, "cost_source": "caller"}
    elif reported is not None or took is not None:
        fields |= _computed_cost(fields, took, asked, ended_at, is_plain=usual is not None)
    return fields


def _read_counts(
    reported: object, fields: dict[str, Any], problems: list[str], *, is_given: bool
) -> None:
    """Add the counts that were reported to the fields, and what of the usage is in doubt."""
    counts = read_usage(reported, problems)
    fields |= counts
    if doubt := _doubt(counts, fields.get("usage")):
        fields["encoding_notes"] = [*fields.get("encoding_notes", ()), f"usage: {doubt}"]
        if is_given and not counts:
            # what came from outside is raised where it was given, and in no log
            shown = doubt if get_settings().strict else doubt.partition(":")[0]
            problems.append(f"tokens: {shown}; give the usage as the provider reported it.")
        else:
            log_once(
                "usage: not everything was understood, see the encoding_notes of the call; it is "
                "stored as it came."
            )


def _usage(tokens: object) -> dict[str, Any] | None:
    """Return a usage that was given as its provider reported it, if it can be read."""
    came = received(tokens)
    usage = plain(came.value) if came.mistake is None else None
    return usage if type(usage) is dict else None


def _doubt(counts: Mapping[str, int], usage: Mapping[str, Any] | None) -> str | None:
    """Say what of a reported usage was not understood."""
    if not usage or (counts and counts.keys() == usage.keys()):
        return None
    if names := unread(usage):
        return f"not everything was understood: {', '.join(names[:_NAMES_MAX])}"
    return None if counts else "no count of tokens was understood"


def _asked_for(fields: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the tools that a response asks for, in any of its choices."""
    message = fields.get("response_message")
    if message is None:
        return {}
    names, malformed = tools_asked_for(message, fields.get("other_choices") or ())
    if not malformed:
        return {"tools_called": names} if names else {}
    return {"tools_called": names, "malformed_tool_calls": malformed}


def _computed_cost(
    fields: Mapping[str, Any],
    took: Mapping[str, Any] | None,
    asked: tuple[str | None, str | None],
    ended_at: datetime | None,
    *,
    is_plain: bool,
) -> dict[str, Any]:
    """Return what a call cost, who says so, and the parts of it."""
    said = fields.get("response_extra") or {}
    if took and (hidden := took.get("hidden")):
        said = {**said, "_hidden_params": hidden}
    try:
        sale = Sale.of(fields, said, asked, ended_at, is_plain=is_plain)
        cost = cost_of(sale, without_own=ended_at is not None)
    except BaseException as error:  # noqa: BLE001  (a usage may hold anything; its call is recorded)
        let_through(error)
        log_once(f"the cost of a call could not be computed: {type(error).__name__}")
        return {}
    if cost is None:
        return {}
    return {"estimated_cost": cost.usd, "cost_source": cost.source, "cost_details": cost.parts}


def _message(given: object) -> object:
    """Return a response message that is no dict as something that is stored as a document."""
    kind = type(given)
    # a class is no message; a mock itself has everything, and dumps to a mock
    if isinstance(given, Mapping):
        return fields_of(given) or given
    if is_dataclass(kind) or hasattr(kind, "model_dump"):
        return given
    fields = fields_of(given)
    if fields:
        return fields
    report_mistake(
        "response_message has to be the message as the API gave it, a dict with role and content, "
        f"not {type(given).__name__}; it is stored as the content of one."
    )
    return {"role": "assistant", "content": given}


def _cost(value: object) -> float | None:
    try:
        # a text that is none is written out in the error, and a Code with its whole scope
        number = text(value) if issubclass(type(value), str) else value
        cost = math.nan if isinstance(value, bool) else float(number)  # type: ignore[arg-type]
    except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
        let_through(error)
        cost = math.nan
    if math.isfinite(cost) and cost >= 0:
        return cost
    report_mistake("estimated_cost has to be a number of USD, zero or more; it is left out.")
    return None

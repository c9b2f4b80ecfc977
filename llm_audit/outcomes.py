"""How a call ended, as fields: from a response and from usage."""

import math
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from llm_audit.errors import let_through
from llm_audit.providers.fields import fields_of
from llm_audit.providers.pricing import estimate_cost
from llm_audit.providers.tool_calls import tools_asked_for
from llm_audit.providers.usage import read_usage
from llm_audit.settings import report_mistake


def response_fields(
    response_message: object,
    tokens: object,
    estimated_cost: object,
    provider: str | None,
    models: tuple[str | None, ...],
) -> dict[str, Any]:
    """Return message, tools called, tokens and cost of a response.

    Args:
        response_message: As the API gave it: a dict, or the SDK's object.
        tokens: Anything that `read_usage` takes.
        estimated_cost: USD; None computes it from the model's price.
        provider: For the price.
        models: For the price: as requested, then as answered; the first that has a price counts.
    """
    fields: dict[str, Any] = {}
    if response_message is not None:
        response_message = _message(response_message)
        fields["response_message"] = response_message
        names, malformed = tools_asked_for(response_message)
        if names:
            fields["tools_called"] = names
        if malformed:
            fields["malformed_tool_calls"] = malformed
    if tokens is not None:
        problems: list[str] = []
        fields |= read_usage(tokens, problems)
        for problem in problems:
            report_mistake(problem)
    cost = None if estimated_cost is None else _cost(estimated_cost)
    if cost is not None:
        fields["estimated_cost"] = cost
        fields["cost_source"] = "caller"
    elif tokens is not None:
        for model in models:
            priced = estimate_cost(provider, model, fields)
            if priced is not None:
                fields["estimated_cost"], fields["cost_source"] = priced
                break
    return fields


def _message(given: object) -> object:
    """Return a response message as something that is stored as a document."""
    kind = type(given)
    if kind is dict:
        return given
    # a class is no message; a mock itself has everything, and dumps to a mock
    if isinstance(given, Mapping) or is_dataclass(kind) or hasattr(kind, "model_dump"):
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
        cost = float(value)  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001  (a foreign object may raise anything)
        let_through(error)
        cost = math.nan
    if math.isfinite(cost) and cost >= 0:
        return cost
    report_mistake("estimated_cost has to be a number of USD, zero or more; it is left out.")
    return None

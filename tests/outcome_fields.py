"""How a call ended, as the fields that are stored of it."""

from collections.abc import Mapping
from typing import Any

from llm_audit.given.outcomes import fields_told, told

Asked = tuple[str | None, str | None]


def outcome_fields(given: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    """Return everything that is stored of how a call ended.

    Args:
        given: What `complete` or `fail` was given, by name.
        asked: The provider and the model that were asked, for the price.
    """
    return fields_told(told(given), asked)


def response_fields(
    response: object,
    given: Mapping[str, Any],
    tokens: object,
    estimated_cost: object,
    asked: Asked,
) -> dict[str, Any]:
    """Return everything that is stored of a response, and not what that means.

    Args:
        response: An SDK's response object or a body; None if there is none.
        given: Those fields of it that are known otherwise, and stand instead.
        tokens: Anything that `read_usage` takes; None reads the response's.
        estimated_cost: USD; None takes what the response says that it cost, else computes it.
        asked: The provider and the model that were asked, for the price.
    """
    more = {"response": response, "tokens": tokens, "estimated_cost": estimated_cost}
    found = outcome_fields({**given, **more}, asked)
    return {name: value for name, value in found.items() if name not in {"status", "ended_by"}}

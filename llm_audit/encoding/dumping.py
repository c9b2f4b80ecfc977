"""An object of pydantic -> the dict that its API speaks, for requests and responses alike."""

import base64
from collections.abc import Mapping
from datetime import date, time
from enum import Enum
from typing import Any

from llm_audit.encoding.bounds import MAX_NODES, TooMuchError, is_within

# Clients of providers, by the package their classes are in: what is unset was never on the wire,
# and whatever JSON has no type for is a text there. Other models' defaults are what they mean.
_CLIENTS = frozenset(
    {
        *("openai", "anthropic", "mistralai", "cohere", "groq", "together", "cerebras", "ollama"),
        *("voyageai", "ai21", "writerai", "fireworks", "replicate"),
    }
)
# The same, but pydantic takes `ser_json_bytes="base64"` for the URL-safe alphabet; and what its
# client adds to a response.
_NOT_SENT = {
    "google": dict.fromkeys(
        ("sdk_http_response", "automatic_function_calling_history", "parsed"), True
    )
}


def dumped(model: Any, exclude: Mapping[str, Any] | None = None) -> Any:
    """Return the fields of a pydantic object as its API has them.

    That is under their aliases, without what is unset, with bytes in the standard alphabet of
    base64 where the class wants base64. A model that is not of a provider's client keeps its
    defaults, unless they are None, and its values that only Python has.

    Args:
        model: An object with pydantic's `model_dump`.
        exclude: What to leave out besides, as pydantic takes it.

    Returns:
        A dict, unless the object's own code gives something else.

    Raises:
        Exception: Whatever the object's own code raises; `TooMuchError` if there is no end to it.
    """
    if not is_within(model, MAX_NODES):
        raise TooMuchError
    package = type(model).__module__.partition(".")[0]
    left_out = {**_NOT_SENT.get(package, {}), **(exclude or {})} or None
    options: dict[str, Any] = {"by_alias": True, "warnings": False, "exclude": left_out}
    if package in _CLIENTS:
        try:
            return model.model_dump(mode="json", exclude_unset=True, **options)
        except UnicodeDecodeError:  # JSON cannot hold every object's bytes
            return model.model_dump(exclude_unset=True, **options)
    options["serialize_as_any"] = package not in _NOT_SENT  # subclasses have fields of their own
    found = model.model_dump(exclude_unset=True, **options)
    if package not in _NOT_SENT:
        found = _united(found, model.model_dump(exclude_none=True, **options))
    if _config_of(model).get("ser_json_bytes") == "base64":
        found = _in_json(found)
    return found


def _config_of(model: Any) -> Mapping[str, Any]:
    config = getattr(type(model), "model_config", None)
    return config if isinstance(config, dict) else {}


def _united(one: Any, other: Any) -> Any:
    """Return two dumps of one object as one that has what is in either."""
    if type(one) is dict and type(other) is dict:
        names = {**other, **one}
        return {
            name: _united(one[name], other[name]) if name in one and name in other else value
            for name, value in names.items()
        }
    if type(one) is list and type(other) is list and len(one) == len(other):
        return [_united(*pair) for pair in zip(one, other, strict=True)]
    return one


def _in_json(value: Any) -> Any:
    """Return what Google's classes hold as its API sends it."""
    if isinstance(value, dict):
        return {name: _in_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_in_json(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date | time):
        return value.isoformat().replace("+00:00", "Z")
    return value

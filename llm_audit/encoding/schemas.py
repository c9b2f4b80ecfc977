"""Classes, functions and tools in a request -> the JSON schema that the client makes of them.

`response_format=Answer`, `tools=[get_weather]`, `response_schema=list[Recipe]`: the client sends a
schema, so that is what is stored. OpenAI's and Anthropic's clients change what pydantic gives;
they are asked themselves, as far as the app has imported them.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from types import GenericAlias, UnionType
from typing import Any

from pydantic import BaseModel, TypeAdapter

_REQUEST = frozenset({"tools", "tool_choice", "request_params"})
_SCHEMA_SOURCES = (type, GenericAlias, UnionType, TypeAdapter)
# Where a tool that is an object has its parameters: LangChain's, the OpenAI Agents SDK's.
_PARAMETERS = ("tool_call_schema", "args_schema", "params_json_schema")


def schema_maker(value: object, path: Sequence[str]) -> Callable[[Any], dict[str, Any]] | None:
    """Return what makes the schema that is sent for a class, a function or a tool in a call.

    Args:
        value: Anything.
        path: Where it is in the call's fields.

    Returns:
        A function of the value, which raises whatever pydantic or the class itself raises where
        there is no schema; None for a value that is sent as it is.
    """
    if not path or path[0] not in _REQUEST:
        return None
    if inspect.isroutine(value):
        return partial(_sent_as, "tools") if "tools" in path else None
    if "tools" in path[-2:-1] and _is_tool(value):
        return _tool_object
    kind = type(value)
    if not issubclass(kind, _SCHEMA_SOURCES) and kind.__module__ != "typing":
        return None
    argument = next((name for name in path if name in _SENT_AS), "")
    return partial(_sent_as, "tools" if "tools" in path else argument)


def name_of(value: Any) -> str:
    """Return the name of a class, a function, an alias or a tool, for a note."""
    if isinstance(value, type) or inspect.isroutine(value):
        return value.__name__
    return str(getattr(value, "name", value))


def _is_tool(value: object) -> bool:
    """Tell whether it is a tool as a framework or a client makes one of a function."""
    kind = type(value)
    return not issubclass(kind, (dict, type)) and any(
        hasattr(value, name) for name in ("to_dict", *_PARAMETERS)
    )


def _tool_object(tool: Any) -> dict[str, Any]:
    if callable(getattr(tool, "to_dict", None)):  # Anthropic's
        return dict(tool.to_dict())
    parameters = next(getattr(tool, name) for name in _PARAMETERS if hasattr(tool, name))
    schema = parameters if isinstance(parameters, dict) else _schema(parameters)
    return _function(tool.name, tool.description, schema)


@lru_cache(maxsize=128)  # a schema takes pydantic 300 µs
def _sent_as(argument: str, value: Any) -> dict[str, Any]:
    return _SENT_AS.get(argument, _schema)(value)


def _schema(value: Any) -> dict[str, Any]:
    if isinstance(value, TypeAdapter):
        return value.json_schema()
    return TypeAdapter(value).json_schema()


def _strict(value: Any) -> dict[str, Any]:
    openai = sys.modules.get("openai")
    if openai is None or not issubclass(value, BaseModel):
        return _schema(value)
    return dict(openai.pydantic_function_tool(value)["function"]["parameters"])


def _response_format(value: Any) -> dict[str, Any]:
    """Return what OpenAI's chat completions are sent; LiteLLM, Mistral and Groq do the same."""
    schema = {"name": name_of(value), "schema": _strict(value), "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def _text_format(value: Any) -> dict[str, Any]:
    """Return what OpenAI's Responses are sent."""
    return {"type": "json_schema", "strict": True, "name": name_of(value), "schema": _strict(value)}


def _output_format(value: Any) -> dict[str, Any]:
    """Return what Anthropic is sent."""
    anthropic = sys.modules.get("anthropic")
    schema = _schema(value)
    return {
        "type": "json_schema",
        "schema": anthropic.transform_schema(schema) if anthropic else schema,
    }


def _tool(value: Any) -> dict[str, Any]:
    return _function(name_of(value), inspect.getdoc(value), _schema(value))


def _function(name: str, description: str | None, parameters: dict[str, Any]) -> dict[str, Any]:
    described = {"description": description} if description else {}
    return {
        "type": "function",
        "function": {"name": name, **described, "parameters": parameters},
    }


# What is sent for a class, by the argument that it is given as; its plain schema in any other.
_SENT_AS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "tools": _tool,
    "response_format": _response_format,
    "text_format": _text_format,
    "output_format": _output_format,
}

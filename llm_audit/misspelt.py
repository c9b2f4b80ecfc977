"""Arguments with a name that is not ours: told, because what they hold lands where nobody looks."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from llm_audit.settings import report_mistake
from llm_audit.spelling import did_you_mean, nearest

Function = Callable[..., Any]

# Parameters of providers' requests that are like arguments of ours and mean something else.
_OF_PROVIDERS = frozenset(
    (
        *("inputs", "maxTokens", "max_new_tokens", "maximum_tokens", "messageId", "message_id"),
        *("modelId", "model_id", "models", "parent_id", "parent_message_id", "preview_id"),
        *("providers", "session", "task", "tokens", "trace", "user"),
    )
)
# The same, of texts only: Cohere's first chat API has the user's words in it.
_TEXTS_OF_PROVIDERS = frozenset({"message"})
_LIKENESS = 0.8
_LOOKED_AT = 100  # names; no request has as many
_LONGEST = 32  # characters: longer names are like none of ours, and comparing takes its time


def report_unknown(function: Function, names: Iterable[str]) -> None:
    """Report arguments that a function does not take, and leaves out.

    Args:
        function: Of ours, for people.
        names: Of the arguments.

    Raises:
        UsageError: In strict mode.
    """
    for name in islice(names, _LOOKED_AT):
        near = nearest(name[:_LONGEST], inspect.signature(function).parameters)
        report_mistake(
            f"{function.__name__}() takes no argument {name:.50}, and leaves it out."
            f"{did_you_mean(near)}"
        )


def report_near_misses(function: Function, request_params: Mapping[str, Any]) -> None:
    """Report request parameters that are an argument of ours but for a few letters.

    Args:
        function: Of ours, which takes any other name for a request parameter.
        request_params: Values by name.

    Raises:
        UsageError: In strict mode.
    """
    for name, value in islice(request_params.items(), _LOOKED_AT):
        if name in _TEXTS_OF_PROVIDERS and isinstance(value, str):
            continue
        meant = _meant(function, name) if len(name) <= _LONGEST else None
        if meant is not None:
            report_mistake(
                f"{function.__name__}() got {name}, which is stored in request_params."
                f"{did_you_mean(meant)}",
                key=f"misspelt {meant}",  # one of ours
            )


@lru_cache(maxsize=1024)
def _meant(function: Function, name: str) -> str | None:
    known = inspect.signature(function).parameters
    if name in known or name in _OF_PROVIDERS:
        return None
    near = nearest(name, known, _LIKENESS)
    return None if near and name.startswith(f"{near}_") else near  # metadata_filter, say

"""What is asked of prices, and what they answer."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from llm_audit.providers.fields import LISTS, at, fields_of

_COUNTS = (
    *("prompt_tokens", "completion_tokens", "total_tokens"),
    *("cached_tokens", "cache_write_tokens", "reasoning_tokens"),
)
_SEARCH_BY_TOOL = {"web_search_call": "web_searches", "file_search_call": "storage_searches"}


class Cost(NamedTuple):
    """What a call cost: USD, who says so, and the parts, which add up to it."""

    usd: float
    source: str
    parts: dict[str, float]

    @classmethod
    def of(cls, parts: dict[str, float], source: str) -> "Cost | None":
        """Add parts up, without drift; None if that is no amount of money."""
        usd = math.fsum(parts.values())
        return cls(usd, source, parts) if math.isfinite(usd) and usd >= 0 else None


class Sale(NamedTuple):
    """What is known of a call that may have a price."""

    provider: str | None
    """Who was asked, as the user names it."""
    requested: str | None
    """The model, as the request names it."""
    answered: str | None
    """The model, as the response names it."""
    usage: Mapping[str, Any]
    """As it was reported."""
    counts: Mapping[str, int]
    """What `read_usage` makes of it."""
    said: Mapping[str, Any]
    """What else the response says: service tier, LiteLLM's cost …"""
    searches: Mapping[str, int]
    """Searches that stand in the answer and not in the usage, by the price list's unit."""
    at: datetime | None = None
    """When; None is now."""
    is_plain: bool = False
    """Whether the usage is known to say nothing but the counts, see `usual_counts`."""

    @classmethod
    def of(
        cls,
        fields: Mapping[str, Any],
        said: Mapping[str, Any],
        asked: tuple[str | None, str | None],
        when: datetime | None = None,
        *,
        is_plain: bool = False,
    ) -> "Sale":
        """Return what the fields of a call's outcome say.

        Args:
            fields: Those of the document.
            said: What the response says beyond them.
            asked: The provider and the model that were asked.
            when: None is now.
            is_plain: Whether the usage is known to say nothing but the counts.
        """
        provider, requested = asked
        if "_hidden_params" in said and provider is not None and provider.lower() == "litellm":
            provider = said["_hidden_params"].get("custom_llm_provider") or provider
        message = fields.get("response_message")
        if type(message) is dict and "response_metadata" in message:  # LangChain's
            said = {**said, "response_metadata": message["response_metadata"]}
        usage = fields.get("usage") or {n: fields[n] for n in _COUNTS if n in fields}
        answered = fields.get("response_model")
        searches = _searches(fields) if "tools_called" in fields else {}
        return cls(provider, requested, answered, usage, fields, said, searches, when, is_plain)


def _searches(fields: Mapping[str, Any]) -> dict[str, int]:
    """Count the searches that OpenAI's Responses name among their items, and in no usage."""
    found: dict[str, int] = {}
    if _SEARCH_BY_TOOL.keys().isdisjoint(fields.get("tools_called") or ()):
        return found
    items = fields_of(fields.get("response_message")).get("output")
    for item in items if isinstance(items, LISTS) else ():
        kind = at(item, "type")
        unit = _SEARCH_BY_TOOL.get(kind) if isinstance(kind, str) else None
        # opening a page that was found costs nothing
        if unit and at(item, "action.type") in (None, "search"):
            found[unit] = found.get(unit, 0) + 1
    return found

"""What was used, in the units of the price list.

The library's own extractors read a usage that comes as its seller sends it. What clients and
frameworks make of usages (LiteLLM, LangChain, pydantic-ai, snake_case) is read by the table here.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from llm_audit.errors import let_through
from llm_audit.prices.conditions import NAMES as CONDITIONS
from llm_audit.prices.conditions import STANDARD
from llm_audit.providers.fields import LISTS, fields_of, is_number, spelled
from llm_audit.providers.received import plain
from llm_audit.providers.usage import apart, read_usage

if TYPE_CHECKING:
    from genai_prices.types import Provider
    from genai_prices.units import UnitRegistry

Units = dict[str, int | float]

_UNIT_BY_COUNT = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "cached_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
}
_MODALITIES = ("audio", "image", "video", "text")
_WRITES = {
    "ephemeral_5m_input_tokens": "cache_write_5m_tokens",
    "ephemeral_1h_input_tokens": "cache_write_1h_tokens",
}
_SEARCHES = {"web_search_requests": "web_searches"}
_INPUT: dict[str, Any] = {
    **{f"{kind}_tokens": f"input_{kind}_tokens" for kind in _MODALITIES},
    "audio": "input_audio_tokens",
    "cache_creation_token_details": _WRITES,
    **_WRITES,
    **_SEARCHES,
}
_OUTPUT: dict[str, Any] = {
    **{f"{kind}_tokens": f"output_{kind}_tokens" for kind in _MODALITIES},
    "audio": "output_audio_tokens",
}
_CACHED = {f"{kind}_tokens": f"cache_{kind}_read_tokens" for kind in _MODALITIES}
# Gemini's lists have an item for each modality, which is read as `_INPUT` and the like name it.
_UNIT_BY_NAME: dict[str, Any] = {
    "prompt_tokens_details": _INPUT,
    "prompt_token_details": _INPUT,
    "promptTokensDetails": _INPUT,
    "input_tokens_details": _INPUT,
    "input_token_details": _INPUT,
    "completion_tokens_details": _OUTPUT,
    "completion_token_details": _OUTPUT,
    "output_tokens_details": _OUTPUT,
    "output_token_details": _OUTPUT,
    "candidates_tokens_details": _OUTPUT,
    "candidatesTokensDetails": _OUTPUT,
    "cache_tokens_details": _CACHED,
    "cacheTokensDetails": _CACHED,
    "cache_creation": _WRITES,
    "server_tool_use": _SEARCHES,
    "server_tool_use_details": _SEARCHES,
    "num_search_queries": "web_searches",
    "num_web_searches": "web_searches",
}
# Counts whose price the plain rates settle, and what costs nothing of its own.
_PLAIN = frozenset(
    {
        *("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "text_tokens"),
        *("cache_write_tokens", "reasoning_tokens", "thinking_tokens", "input_tokens"),
        *("output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
        *("ephemeral_5m_input_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens"),
        *("num_cached_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"),
        *("promptTokenCount", "candidatesTokenCount", "totalTokenCount", "thoughtsTokenCount"),
        *("cachedContentTokenCount", "prompt_token_count", "candidates_token_count"),
        *("total_token_count", "thoughts_token_count", "cached_content_token_count"),
        *("inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens"),
        *("cacheWriteInputTokens", "cacheReadInputTokenCount", "cacheWriteInputTokenCount"),
        *("cache_read", "reasoning", "tokenCount", "token_count", "modality"),
        *("prompt_time", "completion_time", "queue_time", "total_time"),  # Groq
    }
)
_DETAILS = frozenset(name for name, inner in _UNIT_BY_NAME.items() if type(inner) is dict)


def is_plain(usage: Mapping[str, Any]) -> bool:
    """Tell whether the plain counts are all that a usage says: the standard tier, text, no fees."""
    for name, value in usage.items():
        if name in _PLAIN or not value:
            continue
        if name in _DETAILS:
            for item in value if isinstance(value, LISTS) else (value,):
                if not _is_plain_detail(item):
                    return False
        elif name not in CONDITIONS or (spelled(value) or "?").lower() not in STANDARD:
            return False
    return True


def _is_plain_detail(item: object) -> bool:
    for name, value in fields_of(item).items():
        if name == "modality":
            if spelled(value) != "TEXT":
                return False
        elif value and name not in _PLAIN:
            return False
    return True


def requests_in(usage: Mapping[str, Any]) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Yield the usages of the requests behind a response, each with its model if that differs."""
    yield None, {name: value for name, value in usage.items() if name != "iterations"}
    for each in apart(usage):
        yield spelled(each.get("model")), each


def units_of(seller: "Provider", usage: Mapping[str, Any], counts: Mapping[str, int]) -> Units:
    """Return what was used, in the units of the price list.

    Args:
        seller: Whose usage it may be.
        usage: As it was reported.
        counts: What `read_usage` makes of it.
    """
    named: Units = {
        unit: counts[count] for count, unit in _UNIT_BY_COUNT.items() if count in counts
    }
    if "input_tokens" not in named and "output_tokens" not in named and "total_tokens" in counts:
        named["input_tokens"] = counts["total_tokens"]  # Voyage's embeddings
    known = registry().units
    for name, value in usage.items():
        if name in known and is_number(value):  # pydantic-ai has the library's names
            named.setdefault(name, value)
    _collect(usage, _UNIT_BY_NAME, named)
    extracted = [units for units in _extracted(seller, usage) if _is_at_one(units, counts, named)]
    return named | max(extracted, key=len, default={})


def _collect(given: Mapping[str, Any], unit_by_name: Mapping[str, Any], units: Units) -> None:
    for name, value in given.items():
        unit = unit_by_name.get(name)
        if unit is None or value is None:
            continue
        if type(unit) is str:
            if is_number(value):
                units[unit] = units.get(unit, 0) + value
        elif isinstance(value, LISTS):
            for item in map(fields_of, value):
                modality = (spelled(item.get("modality")) or "text").lower()
                kind = "image" if modality == "document" else modality
                count = item.get("tokenCount", item.get("token_count"))
                _collect({f"{kind}_tokens": count}, unit, units)
        else:
            _collect(fields_of(value), unit, units)


def _extracted(seller: "Provider", usage: Mapping[str, Any]) -> Iterator[Units]:
    usage = plain(usage)  # the library asks for what is not there, which a defaultdict then has
    for extractor in seller.extractors or ():
        root = [extractor.root] if isinstance(extractor.root, str) else list(extractor.root)
        body: Any = usage
        # the usage itself lies at the root, or at its beginning: "usage.billed_units"
        for step in reversed(root[:-1] if root[-1] in usage else root):
            body = {step: body}
        try:
            _, found = extractor.extract(body)
        except (AttributeError, TypeError, ValueError) as error:  # another API's usage
            let_through(error)
            continue
        yield {name: value for name, value in vars(found).items() if is_number(value)}


def _is_at_one(units: Units, counts: Mapping[str, int], named: Units) -> bool:
    """Tell whether an extractor, which may be of another API, has seen all that we read."""
    if "prompt_tokens" not in counts and "completion_tokens" not in counts:
        return True  # seconds, pages
    output = units.get("output_tokens", 0) - units.get("output_citation_tokens", 0)
    return (
        units.get("input_tokens") == counts.get("prompt_tokens")
        and output == counts.get("completion_tokens", 0)
        and all(
            units.get(name, 0) == named.get(name, 0)
            for name in ("cache_read_tokens", "cache_write_tokens")
        )
        and units.get("cache_write_1h_tokens", 0) >= named.get("cache_write_1h_tokens", 0)
    )


@cache
def registry() -> "UnitRegistry":
    """Return the units of the price list."""
    from genai_prices.data_units import unit_data
    from genai_prices.units import UnitRegistry

    return UnitRegistry(unit_data)


def counts_of(usage: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of one request among several."""
    return read_usage(usage, [])

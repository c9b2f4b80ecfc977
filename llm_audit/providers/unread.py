"""What a reported usage says beyond the counts that are read out of it."""

from collections.abc import Mapping
from typing import Any

from llm_audit.providers.fields import LISTS, fields_of, is_number
from llm_audit.providers.usage import SPELLINGS

# Numbers that are parts of a count that is read, or say it again, and what no count of tokens is.
_PARTS = frozenset(
    {
        *("audio_tokens", "text_tokens", "image_tokens", "video_tokens", "document_tokens"),
        *("accepted_prediction_tokens", "rejected_prediction_tokens", "prompt_cache_miss_tokens"),
        *("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"),
        *("ephemeral_5m_input", "ephemeral_1h_input", "audio"),  # LangChain
        *("cacheReadInputTokenCount", "cacheWriteInputTokenCount"),
        *("input_audio_tokens", "output_audio_tokens", "cache_audio_read_tokens"),
        *("prompt_text_tokens", "prompt_image_tokens", "cached_prompt_text_tokens"),  # xAI
        *("web_search_requests", "web_fetch_requests", "code_execution_requests"),
        *("num_sources_used", "tool_calls_requested", "tool_calls_executed"),
        *("cache_creation_tokens", "multimodal_tokens", "token_count", "tokenCount"),
        *("citation_tokens", "num_search_queries", "pages_processed"),
        *("search_units", "classifications", "images", "requests", "request_count"),
        *("prompt_audio_seconds", "seconds", "invocationLatency", "firstByteLatency"),
    }
)
_NO_COUNTS = ("time", "duration", "cost", "price", "ticks")  # of what it took
_DEEPEST = 8


def unread(usage: Mapping[str, Any]) -> list[str]:
    """Return the names of the numbers in a usage that nobody has read, dots between the levels.

    A zero says nothing.

    Args:
        usage: As reported.
    """
    found: list[str] = []
    _look(usage, "", 0, found)
    return list(dict.fromkeys(found))


def _look(value: Any, path: str, level: int, found: list[str]) -> None:
    if is_number(value):
        if value and not any(word in path.lower() for word in _NO_COUNTS):
            found.append(path)
    elif level >= _DEEPEST:
        return
    elif isinstance(value, LISTS):  # it may hold itself
        for item in value:
            _look(item, path, level + 1, found)
    else:
        for name, inner in fields_of(value).items():
            if name not in _PARTS and not (name in SPELLINGS and is_number(inner)):
                _look(inner, f"{path}.{name}" if path else str(name), level + 1, found)

"""Token counts out of whatever a provider reports, under one set of names.

The names mean what OpenTelemetry's GenAI conventions mean: `prompt_tokens` includes the tokens
read from and written to a cache, `completion_tokens` includes reasoning, and where a provider
reports both used and billed tokens, the billed ones count.
https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from collections.abc import Mapping
from numbers import Integral
from typing import Any, NamedTuple

from llm_audit.errors import let_through, log_once
from llm_audit.providers.fields import FIELDLESS, LISTS, fields_of

_INT64_MAX = 2**63 - 1


class _OnTop(NamedTuple):
    """A count that a provider keeps out of the `whole` it belongs to."""

    whole: str
    field: str | None


_Field = str | _OnTop | dict[str, Any]

_INPUT_DETAILS: dict[str, _Field] = {
    "cached_tokens": "cached_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_read": "cached_tokens",
    "cache_creation": "cache_write_tokens",
    # LangChain says 0 for what is written to Anthropic's cache where it has these
    "ephemeral_5m_input_tokens": _OnTop("cache_write_tokens", None),
    "ephemeral_1h_input_tokens": _OnTop("cache_write_tokens", None),
}
_OUTPUT_DETAILS = {
    "reasoning_tokens": "reasoning_tokens",
    "thinking_tokens": "reasoning_tokens",
    "reasoning": "reasoning_tokens",
}
_INPUT_AND_OUTPUT = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}

# Every spelling seen, and the field it fills. Where two spellings of one field meet, the first
# in the provider's own order stands.
_FIELD_BY_SPELLING: dict[str, _Field] = {
    # OpenAI chat completions and all who speak them
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "total_tokens": "total_tokens",
    "prompt_tokens_details": _INPUT_DETAILS,
    "prompt_token_details": _INPUT_DETAILS,
    "completion_tokens_details": _OUTPUT_DETAILS,
    "completion_token_details": _OUTPUT_DETAILS,
    "cached_tokens": "cached_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_read_tokens": "cached_tokens",  # pydantic-ai
    "reasoning_tokens": "reasoning_tokens",
    "num_cached_tokens": "cached_tokens",  # Mistral
    "prompt_cache_hit_tokens": "cached_tokens",  # DeepSeek
    "cached_prompt_text_tokens": "cached_tokens",  # xAI's SDK
    # OpenAI Responses, Anthropic, LangChain's usage_metadata
    **_INPUT_AND_OUTPUT,
    "input_tokens_details": _INPUT_DETAILS,
    "input_token_details": _INPUT_DETAILS,
    "output_tokens_details": _OUTPUT_DETAILS,
    "output_token_details": _OUTPUT_DETAILS,
    "cache_read_input_tokens": _OnTop("prompt_tokens", "cached_tokens"),
    "cache_creation_input_tokens": _OnTop("prompt_tokens", "cache_write_tokens"),
    # Gemini, as the API and as the SDK spell it
    "promptTokenCount": "prompt_tokens",
    "prompt_token_count": "prompt_tokens",
    "candidatesTokenCount": "completion_tokens",
    "candidates_token_count": "completion_tokens",
    "totalTokenCount": "total_tokens",
    "total_token_count": "total_tokens",
    "cachedContentTokenCount": "cached_tokens",
    "cached_content_token_count": "cached_tokens",
    "thoughtsTokenCount": _OnTop("completion_tokens", "reasoning_tokens"),
    "thoughts_token_count": _OnTop("completion_tokens", "reasoning_tokens"),
    "toolUsePromptTokenCount": _OnTop("prompt_tokens", None),
    "tool_use_prompt_token_count": _OnTop("prompt_tokens", None),
    # Gemini's interactions, and LM Studio
    "total_input_tokens": "prompt_tokens",
    "total_output_tokens": "completion_tokens",
    "total_cached_tokens": "cached_tokens",
    "total_thought_tokens": _OnTop("completion_tokens", "reasoning_tokens"),
    "total_tool_use_tokens": _OnTop("prompt_tokens", None),
    "reasoning_output_tokens": "reasoning_tokens",
    # Bedrock Converse
    "inputTokens": "prompt_tokens",
    "outputTokens": "completion_tokens",
    "totalTokens": "total_tokens",
    "cacheReadInputTokens": _OnTop("prompt_tokens", "cached_tokens"),
    "cacheWriteInputTokens": _OnTop("prompt_tokens", "cache_write_tokens"),
    # Bedrock InvokeModel: Llama, Titan
    "generation_token_count": "completion_tokens",
    "inputTextTokenCount": "prompt_tokens",
    "tokenCount": "completion_tokens",
    "inputTokenCount": "prompt_tokens",  # the metrics at the end of a stream
    "outputTokenCount": "completion_tokens",
    # Cohere
    "tokens": _INPUT_AND_OUTPUT,
    # Ollama
    "prompt_eval_count": "prompt_tokens",
    "eval_count": "completion_tokens",
    # llama.cpp
    "tokens_evaluated": "prompt_tokens",
    "tokens_predicted": "completion_tokens",
    # watsonx, Replicate, Aleph Alpha
    "input_token_count": "prompt_tokens",
    "generated_token_count": "completion_tokens",
    "output_token_count": "completion_tokens",
    "num_tokens_prompt_total": "prompt_tokens",
    "num_tokens_generated": "completion_tokens",
}
# What OpenAI says of the three counts, and the part that it may be asked for.
_USUAL_DETAILS: dict[str, tuple[str, Mapping[str, _Field]]] = {
    "prompt_tokens_details": ("cached_tokens", _INPUT_DETAILS),
    "completion_tokens_details": ("reasoning_tokens", _OUTPUT_DETAILS),
}

SPELLINGS = frozenset(
    spelling
    for names in (_FIELD_BY_SPELLING, _INPUT_DETAILS, _OUTPUT_DETAILS)
    for spelling, field in names.items()
    if not isinstance(field, dict)
)
"""The names under which a provider may report a count, also among details."""

COUNT_SPELLINGS = frozenset(
    spelling for spelling, field in _FIELD_BY_SPELLING.items() if isinstance(field, str)
)
"""The names under which a provider may report a plain count."""


def read_usage(tokens: object, problems: list[str] | None = None) -> dict[str, int]:
    """Read the token counts out of what a provider reported.

    Args:
        tokens: A dict in any provider's naming, a provider's usage object or its `__dict__`;
            None gives nothing.
        problems: Each value that is not a count is left out and adds one sentence here.

    Returns:
        What was found of `prompt_tokens` (cached ones included), `completion_tokens` (reasoning
        included), `total_tokens` (added up where the provider does not), `cached_tokens`,
        `cache_write_tokens` and `reasoning_tokens`.
    """
    counts = usual_counts(tokens) if type(tokens) is dict else None
    if counts is not None:
        return counts
    return _read(tokens, [] if problems is None else problems)


def usual_counts(usage: dict[str, Any]) -> dict[str, int] | None:
    """Return the counts of a usage as OpenAI reports it, if they are all that it says; else None.

    Args:
        usage: As reported; a name with nothing in it, or a 0, says nothing.
    """
    prompt = usage.get("prompt_tokens")
    completion = usage.get("completion_tokens")
    total = usage.get("total_tokens")
    if (
        type(prompt) is not int
        or type(completion) is not int
        or type(total) is not int
        or min(prompt, completion, total) < 0
        or max(prompt, completion, total) > _INT64_MAX
    ):
        return None
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    if len(usage) == len(counts):
        return counts
    for name, value in usage.items():
        if name in counts:
            continue
        if name not in _USUAL_DETAILS:
            if value or name in _FIELD_BY_SPELLING:
                return None
        elif value is not None and not _took_part(value, counts, *_USUAL_DETAILS[name]):
            return None
    reasoning = counts.get("reasoning_tokens", 0)
    if not reasoning or (reasoning <= completion and prompt + completion == total):
        return counts
    return None


def _took_part(
    details: object, counts: dict[str, int], part: str, spellings: Mapping[str, _Field]
) -> bool:
    """Add the part of a count that details tell; return whether they say nothing else."""
    if type(details) is not dict:
        return False
    for name, count in details.items():
        if name == part and type(count) is int and 0 <= count <= _INT64_MAX:
            counts[part] = count
        elif count or (name in spellings and count is not None):
            return False
    return True


def _read(tokens: object, problems: list[str]) -> dict[str, int]:
    usage = fields_of(tokens) or _numbers_by_attribute(tokens, problems)
    # Cohere's cached tokens are a part of what it used, not of what it billed.
    usage = fields_of(usage.get("billed_units")) or usage
    counts: dict[str, int] = {}
    on_top: dict[str, int] = {}
    _collect(usage, _FIELD_BY_SPELLING, counts, on_top, problems)
    counts = _completed(counts, on_top, includes_cache="prompt_tokens" in usage)
    for each in apart(usage):
        for name, count in _read(each, problems).items():
            counts[name] = counts.get(name, 0) + count
    for name in [name for name, count in counts.items() if count > _INT64_MAX]:
        del counts[name]
        problems.append(f"tokens add up to {name} beyond 2**63 - 1: it is left out")
    return counts


_OWN = (None, "message")  # the requests that a response's own counts add up


def apart(usage: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the usages of further requests behind a response, which its own counts leave out.

    Anthropic makes them where it compacts the context or asks an advisor.
    """
    iterations = usage.get("iterations")
    if not isinstance(iterations, LISTS):
        return []
    return [each for each in map(fields_of, iterations) if each.get("type") not in _OWN]


def _collect(
    reported: Mapping[str, Any],
    field_by_spelling: Mapping[str, _Field],
    counts: dict[str, int],
    on_top: dict[str, int],
    problems: list[str],
) -> None:
    for spelling, value in reported.items():
        field = field_by_spelling.get(spelling)
        if field is None or value is None:
            continue
        if type(field) is dict:
            _collect(fields_of(value), field, counts, on_top, problems)
        elif (count := _count(spelling, value, problems)) is None:
            continue
        elif type(field) is str:
            counts.setdefault(field, count)
        elif type(field) is _OnTop:
            on_top[field.whole] = on_top.get(field.whole, 0) + count
            if field.field is not None:
                counts.setdefault(field.field, count)


def _count(spelling: str, value: object, problems: list[str]) -> int | None:
    if type(value) is int and 0 <= value <= _INT64_MAX:
        return value
    # Cohere's SDK holds its counts as floats; numpy's integers are no `int`.
    if (isinstance(value, float) and value.is_integer()) or (
        isinstance(value, Integral) and not isinstance(value, bool)
    ):
        number = int(value)
        if 0 <= number <= _INT64_MAX:
            return number
    printable = isinstance(value, float) or (isinstance(value, int) and abs(value) <= _INT64_MAX)
    problems.append(
        f"tokens[{spelling!r}] is {value if printable else f'of type {type(value).__name__}'}: "
        "give a whole number from 0 to 2**63 - 1, or leave it out"
    )
    return None


def _completed(
    counts: dict[str, int], on_top: dict[str, int], *, includes_cache: bool
) -> dict[str, int]:
    """Add what belongs to the wholes but was counted outside of them, and the missing total."""
    # LiteLLM reports Anthropic's cache counts beside a prompt_tokens that has them already.
    if "prompt_tokens" in counts and not includes_cache:
        counts["prompt_tokens"] += on_top.get("prompt_tokens", 0)
    if written := on_top.get("cache_write_tokens", 0):
        counts["cache_write_tokens"] = max(counts.get("cache_write_tokens", 0), written)
    # Gemini leaves out a count that is 0.
    if "completion_tokens" in on_top:
        counts["completion_tokens"] = (
            counts.get("completion_tokens", 0) + on_top["completion_tokens"]
        )
    prompt = counts.get("prompt_tokens")
    completion = counts.get("completion_tokens")
    if prompt is not None and completion is not None:
        reasoning = counts.get("reasoning_tokens", 0)
        total = counts.setdefault("total_tokens", prompt + completion)
        if reasoning and total == prompt + completion + reasoning:  # xAI keeps them apart
            counts["completion_tokens"] = completion + reasoning
        elif reasoning > completion:  # Perplexity, even in the total
            counts["completion_tokens"] = completion + reasoning
            counts["total_tokens"] = prompt + completion + reasoning
    return counts


def _numbers_by_attribute(value: object, problems: list[str]) -> dict[str, int | float]:
    """Read an object that keeps its fields out of `__dict__`: slots, properties, protobuf."""
    numbers: dict[str, int | float] = {}
    if value is None or issubclass(type(value), Mapping):
        return numbers
    if issubclass(type(value), FIELDLESS):
        problems.append(
            f"tokens is of type {type(value).__name__}: give a dict such as "
            "{'prompt_tokens': 10, 'completion_tokens': 5}, or the provider's usage object"
        )
        return numbers
    for spelling in _FIELD_BY_SPELLING:
        try:
            number = getattr(value, spelling, None)
        except BaseException as error:  # noqa: BLE001 - a foreign property may raise anything
            let_through(error)
            log_once(f"cannot read {type(value).__name__}.{spelling}: {type(error).__name__}")
            continue
        if isinstance(number, int | float):
            numbers[spelling] = number
    return numbers

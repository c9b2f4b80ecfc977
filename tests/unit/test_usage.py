from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import anthropic.types
import openai.types
import openai.types.responses
import pytest
from properties import given, st

from llm_audit.providers.fields import fields_of
from llm_audit.providers.usage import COUNT_SPELLINGS, read_usage

FIELDS = {
    *("prompt_tokens", "completion_tokens", "total_tokens"),
    *("cached_tokens", "cache_write_tokens", "reasoning_tokens"),
}

OPENAI_CHAT = {
    "prompt_tokens": 1000,
    "completion_tokens": 300,
    "total_tokens": 1300,
    "prompt_tokens_details": {"cached_tokens": 800, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 100, "accepted_prediction_tokens": 0},
}
OPENAI_RESPONSES = {
    "input_tokens": 1000,
    "output_tokens": 300,
    "total_tokens": 1300,
    "input_tokens_details": {"cached_tokens": 800, "cache_write_tokens": 50},
    "output_tokens_details": {"reasoning_tokens": 100},
}
ANTHROPIC = {
    "input_tokens": 150,
    "output_tokens": 300,
    "cache_read_input_tokens": 800,
    "cache_creation_input_tokens": 50,
    "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 0},
    "output_tokens_details": {"thinking_tokens": 100},
    "service_tier": "standard",
}
ALL_SIX = {
    "prompt_tokens": 1000,
    "completion_tokens": 300,
    "total_tokens": 1300,
    "cached_tokens": 800,
    "cache_write_tokens": 50,
    "reasoning_tokens": 100,
}
WITHOUT_WRITES = {name: count for name, count in ALL_SIX.items() if name != "cache_write_tokens"}
THREE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


class Slotted:
    """Has no `__dict__`."""

    __slots__ = ("input_tokens", "output_tokens")

    def __init__(self) -> None:
        self.input_tokens = 10
        self.output_tokens = 5


class Protobuf:
    """Keeps its fields elsewhere, as the objects of Google's older SDKs do."""

    def __init__(self) -> None:
        self._pb = object()

    def __getattr__(self, name: str) -> int:
        counts = {"prompt_token_count": 10, "candidates_token_count": 5, "total_token_count": 15}
        if name in counts:
            return counts[name]
        raise AttributeError(name)


class Hostile:
    """Raises whatever is done to it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name} for you")


@dataclass
class CohereUnits:
    """Cohere's SDK has its counts as floats."""

    input_tokens: float
    output_tokens: float


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        pytest.param(OPENAI_CHAT, WITHOUT_WRITES, id="openai-chat"),
        pytest.param(OPENAI_RESPONSES, ALL_SIX, id="openai-responses"),
        pytest.param(ANTHROPIC, ALL_SIX, id="anthropic"),
        pytest.param(
            {
                "promptTokenCount": 900,
                "toolUsePromptTokenCount": 100,
                "candidatesTokenCount": 200,
                "thoughtsTokenCount": 100,
                "cachedContentTokenCount": 800,
                "totalTokenCount": 1300,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 900}],
            },
            WITHOUT_WRITES,
            id="gemini",
        ),
        pytest.param(
            SimpleNamespace(
                prompt_token_count=1000,
                candidates_token_count=200,
                thoughts_token_count=100,
                cached_content_token_count=800,
                total_token_count=1300,
                tool_use_prompt_token_count=None,
                prompt_tokens_details=[SimpleNamespace(modality="TEXT", token_count=1000)],
            ),
            WITHOUT_WRITES,
            id="gemini-sdk",
        ),
        pytest.param(
            {"promptTokenCount": 10, "thoughtsTokenCount": 5, "totalTokenCount": 15},
            {**THREE, "reasoning_tokens": 5},
            id="gemini-that-only-thought",
        ),
        pytest.param(
            {
                "inputTokens": 150,
                "outputTokens": 300,
                "totalTokens": 1300,
                "cacheReadInputTokens": 800,
                "cacheReadInputTokenCount": 800,
                "cacheWriteInputTokens": 50,
            },
            {name: count for name, count in ALL_SIX.items() if name != "reasoning_tokens"},
            id="bedrock",
        ),
        pytest.param(
            {
                "billed_units": {"input_tokens": 10, "output_tokens": 5},
                "tokens": {"input_tokens": 900, "output_tokens": 30},
                "cached_tokens": 800,
            },
            THREE,
            id="cohere-billed-not-used",
        ),
        pytest.param({"tokens": CohereUnits(10.0, 5.0)}, THREE, id="cohere-unbilled"),
        pytest.param({"billed_units": CohereUnits(10.0, 5.0)}, THREE, id="cohere-sdk"),
        pytest.param(
            {**THREE, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2},
            {**THREE, "cached_tokens": 8},
            id="deepseek",
        ),
        pytest.param(
            {**THREE, "num_cached_tokens": 8}, {**THREE, "cached_tokens": 8}, id="mistral"
        ),
        pytest.param({**THREE, "queue_time": 0.1, "total_time": 0.2}, THREE, id="groq"),
        pytest.param({"prompt_eval_count": 10, "eval_count": 5}, THREE, id="ollama"),
        pytest.param(
            {
                **THREE,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 4},
            },
            {**THREE, "cached_tokens": 4, "cache_write_tokens": 3},
            id="litellm-has-the-cache-in-already",
        ),
        pytest.param(
            {**THREE, "total_tokens": 22, "completion_tokens_details": {"reasoning_tokens": 7}},
            {
                "prompt_tokens": 10,
                "completion_tokens": 12,
                "total_tokens": 22,
                "reasoning_tokens": 7,
            },
            id="xai-keeps-reasoning-apart",
        ),
        pytest.param(
            {
                "input_tokens": 10,
                "output_tokens": 5,
                "total_tokens": 15,
                "input_token_details": {"cache_read": 4, "cache_creation": 3},
                "output_token_details": {"reasoning": 2},
            },
            {**THREE, "cached_tokens": 4, "cache_write_tokens": 3, "reasoning_tokens": 2},
            id="langchain",
        ),
        pytest.param(ALL_SIX, ALL_SIX, id="our-own-names"),
        pytest.param({"total_tokens": 250}, {"total_tokens": 250}, id="a-bare-total"),
        pytest.param(
            {"prompt_tokens": 8, "total_tokens": 8},
            {"prompt_tokens": 8, "total_tokens": 8},
            id="embeddings",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": None, "total_tokens": None},
            {"prompt_tokens": 10},
            id="none-values",
        ),
        pytest.param(MappingProxyType(THREE), THREE, id="any-mapping"),
        pytest.param(Slotted(), THREE, id="slots"),
        pytest.param(Protobuf(), THREE, id="protobuf"),
        pytest.param({"search_units": 1}, {}, id="nothing-known"),
        pytest.param(MagicMock(), {}, id="a-mock"),
        pytest.param(Hostile(), {}, id="an-object-that-raises"),
        pytest.param({}, {}, id="empty"),
        pytest.param(None, {}, id="none"),
    ],
)
def test_every_naming_fills_the_same_fields(tokens: object, expected: dict[str, int]) -> None:
    """A usage is read alike whatever its naming, and without complaint."""
    problems: list[str] = []

    assert read_usage(tokens, problems) == expected
    assert problems == []


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (openai.types.CompletionUsage.model_validate(OPENAI_CHAT), WITHOUT_WRITES),
        (
            openai.types.CompletionUsage.model_validate({**THREE, "prompt_cache_hit_tokens": 8}),
            {**THREE, "cached_tokens": 8},
        ),
        (openai.types.responses.ResponseUsage.model_validate(OPENAI_RESPONSES), ALL_SIX),
        (anthropic.types.Usage.model_validate(ANTHROPIC), ALL_SIX),
    ],
    ids=["openai-chat", "deepseek-through-openai", "openai-responses", "anthropic"],
)
def test_the_sdks_usage_objects_are_read(usage: Any, expected: dict[str, int]) -> None:
    """A usage object of an SDK gives what its JSON gives, fields unknown to its class included."""
    assert read_usage(usage) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (openai.types.CompletionUsage.model_validate(OPENAI_CHAT), WITHOUT_WRITES),
        (anthropic.types.Usage.model_validate(ANTHROPIC), ALL_SIX),
    ],
    ids=["openai", "anthropic"],
)
def test_the_dict_of_a_usage_object_is_read(usage: Any, expected: dict[str, int]) -> None:
    """`usage.__dict__`, whose details are still objects, gives what the object gives."""
    assert read_usage(usage.__dict__) == expected


def test_the_users_dict_is_not_handed_on() -> None:
    """What comes back may be changed without changing the user's dict."""
    tokens = dict(THREE)
    read_usage(tokens)["total_tokens"] = 0

    assert tokens == THREE


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-5, "is -5"),
        (1.5, "is 1.5"),
        (float("nan"), "is nan"),
        (float("inf"), "is inf"),
        (True, "is True"),
        ("12", "is of type str"),
        ([12], "is of type list"),
        (2**63, "is of type int"),
        pytest.param(10**5000, "is of type int", id="longer-than-str-allows"),
    ],
)
def test_what_is_no_count_is_left_out_and_named(value: object, shown: str) -> None:
    """A value that is no count costs only itself, and one sentence names it and the fix."""
    problems: list[str] = []

    assert read_usage({**THREE, "prompt_tokens": value}, problems) == {
        "completion_tokens": 5,
        "total_tokens": 15,
    }
    assert problems == [
        f"tokens['prompt_tokens'] {shown}: give a whole number from 0 to 2**63 - 1, or leave it out"
    ]


@pytest.mark.parametrize("tokens", ["12", 12, [1, 2], b"12"], ids=repr)
def test_what_is_no_usage_is_named(tokens: object) -> None:
    """Something that cannot hold counts gives none, and one sentence says what to give."""
    problems: list[str] = []

    assert read_usage(tokens, problems) == {}
    assert len(problems) == 1
    assert problems[0].startswith(f"tokens is of type {type(tokens).__name__}: give a dict")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(sorted(COUNT_SPELLINGS)) | st.text(), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(COUNT_SPELLINGS)) | st.text(), ANYTHING) | ANYTHING)
def test_any_input_gives_counts_only(tokens: object) -> None:
    """Whatever comes in, what comes out are the six fields with ints from 0 on, and no error."""
    counts = read_usage(tokens)

    assert counts.keys() <= FIELDS
    assert all(type(count) is int and count >= 0 for count in counts.values())


@given(st.fixed_dictionaries({name: st.integers(0, 2**40) for name in sorted(FIELDS)}))
def test_reading_twice_changes_nothing(tokens: dict[str, int]) -> None:
    """What was read is a usage itself, and reading it again gives it back."""
    once = read_usage(tokens)

    assert read_usage(once) == once


def test_fields_of_an_object_that_dumps_itself() -> None:
    """An object without public attributes is asked for its `model_dump()`."""

    class Dumping:
        def model_dump(self) -> dict[str, int]:
            return THREE

    assert fields_of(Dumping()) == THREE


def test_counts_that_add_up_to_too_much_are_left_out() -> None:
    """A total that 64 bits cannot hold is no count; its parts are kept."""
    problems: list[str] = []
    parts = {"prompt_tokens": 2**63 - 1, "completion_tokens": 1}

    assert read_usage(parts, problems) == parts
    assert ["total_tokens" in problem for problem in problems] == [True]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "input_tokens": 100,
                "output_tokens": 10,
                "iterations": [
                    {"type": "message", "input_tokens": 100, "output_tokens": 10},
                    {
                        "type": "compaction",
                        "input_tokens": 900,
                        "output_tokens": 5,
                        "cache_read_input_tokens": 50,
                    },
                ],
            },
            {
                "prompt_tokens": 1050,
                "completion_tokens": 15,
                "total_tokens": 1065,
                "cached_tokens": 50,
            },
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "reasoning_tokens": 70,
            },
            {
                "prompt_tokens": 10,
                "completion_tokens": 75,
                "total_tokens": 85,
                "reasoning_tokens": 70,
            },
        ),
        (
            {
                "input_tokens": 121,
                "output_tokens": 5,
                "input_token_details": {
                    "cache_creation": 0,
                    "ephemeral_5m_input_tokens": 20,
                    "ephemeral_1h_input_tokens": 30,
                },
            },
            {
                "prompt_tokens": 121,
                "completion_tokens": 5,
                "total_tokens": 126,
                "cache_write_tokens": 50,
            },
        ),
        (
            {"input_tokens": 121, "output_tokens": 5, "cache_read_tokens": 20},
            {
                "prompt_tokens": 121,
                "completion_tokens": 5,
                "total_tokens": 126,
                "cached_tokens": 20,
            },
        ),
    ],
    ids=["compaction", "reasoning-apart", "langchain", "pydantic-ai"],
)
def test_what_is_counted_apart_is_added(usage: dict[str, Any], expected: dict[str, int]) -> None:
    """Further requests behind a response, and reasoning outside of the output, are counted."""
    assert read_usage(usage) == expected

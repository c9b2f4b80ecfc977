"""What a call cost: the bill before the price list, with all that a response tells."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import StartDateConstraint, Usage
from hypothesis import example, given
from hypothesis import strategies as st

from llm_audit.prices import Cost, Sale, cost_of
from llm_audit.prices.calculation import LibraryPrice
from llm_audit.prices.price_list import list_cost
from llm_audit.prices.sellers import find_offer
from llm_audit.providers.usage import read_usage

U = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
A = {"input_tokens": 1000, "output_tokens": 500}
G = {"promptTokenCount": 1000, "candidatesTokenCount": 100, "totalTokenCount": 1100}


def cost(
    provider: str | None, model: str, usage: dict[str, Any], at: datetime | None = None, **said: Any
) -> Cost | None:
    fields = {"usage": usage, "response_model": model, **read_usage(usage)}
    return cost_of(Sale.of(fields, said, (provider, None), at))


def usd(provider: str | None, model: str, usage: dict[str, Any], **said: Any) -> float | None:
    found = cost(provider, model, usage, **said)
    return None if found is None else found.usd


BEDROCK = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
CLAUDE, MINI, FLASH = "claude-sonnet-4-5", "gpt-5-mini", "gemini-2.5-flash"


@pytest.mark.parametrize(
    ("provider", "model", "usage", "said", "per_million"),
    [
        ("openai", MINI, U, {"service_tier": "flex"}, 1000 * 0.125 + 500 * 1),
        ("openai", MINI, U, {"service_tier": "priority"}, 1000 * 0.45 + 500 * 3.6),
        ("openai", MINI, U, {"service_tier": "default"}, 1000 * 0.25 + 500 * 2),
        ("anthropic", CLAUDE, {**A, "service_tier": "batch"}, {}, 1000 * 1.5 + 500 * 7.5),
        ("anthropic", CLAUDE, {**A, "service_tier": "standard"}, {}, 1000 * 3 + 500 * 15),
        ("anthropic", CLAUDE, {**A, "inference_geo": "global"}, {}, 1000 * 3 + 500 * 15),
        ("gemini", FLASH, {**G, "trafficType": "ON_DEMAND"}, {}, 1000 * 0.3 + 100 * 2.5),
    ],
)
def test_the_conditions_of_a_call_have_their_price(
    provider: str, model: str, usage: dict[str, Any], said: dict[str, Any], per_million: float
) -> None:
    """Tier and batch are billed as the response says."""
    assert usd(provider, model, usage, **said) == pytest.approx(per_million / 1e6, rel=1e-12)


@pytest.mark.parametrize(
    ("provider", "model", "usage", "said"),
    [
        ("openai", "gpt-4o", U, {"service_tier": "scale"}),
        ("openai", "gpt-3.5-turbo", U, {"service_tier": "flex"}),
        ("azure", "gpt-5-mini", U, {"service_tier": "priority"}),
        ("anthropic", CLAUDE, {**A, "service_tier": "priority"}, {}),
        ("anthropic", "claude-opus-4-6", {**A, "inference_geo": "us"}, {}),
        ("anthropic", "claude-3-haiku-20240307", {**A, "speed": "fast"}, {}),
        ("bedrock", "amazon.nova-micro-v1:0", A, {"serviceTier": {"type": "flex"}}),
        ("bedrock", "amazon.nova-pro-v1:0", A, {"performanceConfig": {"latency": "optimized"}}),
        ("gemini", FLASH, {**G, "trafficType": "PROVISIONED_THROUGHPUT"}, {}),
        ("bedrock", BEDROCK, {**A, "server_tool_use": {"web_search_requests": 1}}, {}),
    ],
)
def test_what_is_not_standard_and_has_no_price_has_no_cost(
    provider: str, model: str, usage: dict[str, Any], said: dict[str, Any]
) -> None:
    """No cost is better than a wrong one."""
    assert usd(provider, model, usage, **said) is None


HOUR = {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 8000}
AUDIO = [{"modality": "AUDIO", "tokenCount": 900}, {"modality": "TEXT", "tokenCount": 100}]


@pytest.mark.parametrize(
    ("provider", "model", "usage", "parts"),
    [
        (
            "anthropic",
            CLAUDE,
            {**A, "cache_creation_input_tokens": 10000, "cache_creation": HOUR},
            {"input": 1000 * 3, "written": 2000 * 3.75 + 8000 * 6, "output": 500 * 15},
        ),
        (
            "anthropic",
            CLAUDE,
            {**A, "server_tool_use": {"web_search_requests": 3}},
            {"input": 1000 * 3, "output": 500 * 15, "searches": 30_000},
        ),
        (  # LangChain's names for the same
            "anthropic",
            CLAUDE,
            {
                "input_tokens": 11000,
                "output_tokens": 500,
                "input_token_details": {"cache_read": 0, "cache_creation": 0, **HOUR},
            },
            {"input": 1000 * 3, "written": 2000 * 3.75 + 8000 * 6, "output": 500 * 15},
        ),
        (  # at Bedrock
            "bedrock",
            BEDROCK,
            {
                "inputTokens": 1000,
                "outputTokens": 500,
                "cacheWriteInputTokens": 10000,
                "cacheDetails": [
                    {"ttl": "5m", "inputTokens": 2000},
                    {"ttl": "1h", "inputTokens": 8000},
                ],
            },
            {"input": 1000 * 3.3, "written": 2000 * 4.125 + 8000 * 6.6, "output": 500 * 16.5},
        ),
        (  # LiteLLM's names for the same
            "anthropic",
            CLAUDE,
            {
                "prompt_tokens": 11000,
                "completion_tokens": 500,
                "prompt_tokens_details": {
                    "cache_write_tokens": 10000,
                    "cache_creation_token_details": HOUR,
                },
            },
            {"input": 1000 * 3, "written": 2000 * 3.75 + 8000 * 6, "output": 500 * 15},
        ),
        (
            "gemini",
            FLASH,
            {**G, "promptTokensDetails": AUDIO},
            {"input": 100 * 0.3, "input_audio": 900 * 1, "output": 100 * 2.5},
        ),
        (  # the SDK's names for the same
            "gemini",
            FLASH,
            {
                "prompt_token_count": 1000,
                "candidates_token_count": 100,
                "total_token_count": 1100,
                "prompt_tokens_details": [
                    {"modality": "AUDIO", "token_count": 900},
                    {"modality": "TEXT", "token_count": 100},
                ],
            },
            {"input": 100 * 0.3, "input_audio": 900 * 1, "output": 100 * 2.5},
        ),
        (
            "openai",
            "gpt-audio",
            {
                **U,
                "prompt_tokens_details": {"audio_tokens": 600},
                "completion_tokens_details": {"audio_tokens": 400},
            },
            {
                "input": 400 * 2.5,
                "input_audio": 600 * 32,
                "output": 100 * 10,
                "output_audio": 400 * 64,
            },
        ),
        (
            "perplexity",
            "sonar-deep-research",
            {**U, "reasoning_tokens": 7000, "citation_tokens": 90, "num_search_queries": 7},
            {
                "input": 1000 * 2,
                "output": 500 * 8,
                "reasoning": 7000 * 3,
                "citations": 90 * 2,
                "searches": 35_000,
            },
        ),
        (
            "anthropic",
            "claude-opus-4-6",
            {
                **A,
                "iterations": [
                    {"type": "message", **A},
                    {"type": "compaction", "input_tokens": 9000, "output_tokens": 100},
                    {
                        "type": "advisor_message",
                        "model": CLAUDE,
                        "input_tokens": 100,
                        "output_tokens": 10,
                    },
                ],
            },
            {"input": 10_000 * 5 + 100 * 3, "output": 600 * 25 + 10 * 15},
        ),
    ],
)
def test_what_was_used_is_in_the_parts(
    provider: str, model: str, usage: dict[str, Any], parts: dict[str, float]
) -> None:
    """The parts of a cost, in millionths of a USD, are what was used at its own price."""
    found = cost(provider, model, usage)

    assert found is not None
    assert {name: part * 1e6 for name, part in found.parts.items()} == pytest.approx(parts)
    assert found.usd == math.fsum(found.parts.values())


def test_searches_that_stand_in_the_answer_are_in_it() -> None:
    """OpenAI's Responses count no searches in their usage: those among the items are billed."""
    items = [
        {"type": "web_search_call", "action": {"type": "search"}},
        {"type": "web_search_call", "action": {"type": "open_page"}},
        {"type": "web_search_call"},
        {"type": "file_search_call"},
        {"type": "message"},
        {"type": ["no", "text"]},
        {"type": "web_search_call", "action": {"type": {"no": "text"}}},
    ]
    fields: dict[str, Any] = {
        "usage": A,
        "tools_called": ["web_search_call"],
        "response_model": "gpt-5-mini",
    }
    fields |= {"response_message": {"output": items}, **read_usage(A)}
    found = cost_of(Sale.of(fields, {}, ("openai", "gpt-5-mini")))

    assert found is not None
    assert (found.parts["searches"], found.parts["file_searches"]) == pytest.approx((0.02, 0.0025))


def test_what_langchain_keeps_of_a_response_counts() -> None:
    """Its messages hold the tier, and OpenRouter's bill, among their metadata."""
    message: dict[str, Any] = {"content": "hi", "response_metadata": {"service_tier": "flex"}}
    fields = {"usage": A, "response_message": message, **read_usage(A)}
    flex = cost_of(Sale.of(fields, {}, ("openai", MINI)))
    message["response_metadata"] = {"token_usage": {"cost": 0.25}}
    billed = cost_of(Sale.of(fields, {}, ("openrouter", "acme/model")))

    assert flex is not None
    assert billed is not None
    assert (flex.usd, billed.usd) == (pytest.approx((1000 * 0.125 + 500 * 1) / 1e6), 0.25)


BILLS: dict[str, tuple[float, dict[str, Any], dict[str, Any]]] = {
    "billed: usage.cost": (0.0123, {**U, "cost": 0.0123, "is_byok": False}, {}),
    "billed: usage.cost + usage.cost_details.upstream_inference_cost": (
        0.0080,
        {
            **U,
            "cost": 0.0005,
            "is_byok": True,
            "cost_details": {"upstream_inference_cost": 0.0075},
        },
        {},
    ),
    "billed: usage.cost.total_cost": (
        0.006,
        {**U, "cost": {"input_tokens_cost": 0.001, "request_cost": 0.005, "total_cost": 0.006}},
        {},
    ),
    "billed: usage.cost_in_usd_ticks": (0.0037756, {**U, "cost_in_usd_ticks": 37_756_000}, {}),
    "billed: usage.estimated_cost": (2.5e-5, {**U, "estimated_cost": 2.5e-5}, {}),
    "billed: _hidden_params.response_cost": (
        0.25,
        U,
        {"_hidden_params": {"response_cost": 0.25}},
    ),
    "billed: provider_metadata.gateway.cost": (
        0.5,
        U,
        {"provider_metadata": {"gateway": {"cost": "0.5"}}},
    ),
}


@pytest.mark.parametrize("source", BILLS)
def test_a_bill_goes_before_the_price_list(source: str) -> None:
    """What the response says that it cost is the cost, also of a model that nobody lists."""
    usd, usage, said = BILLS[source]
    for model in ("gpt-4o", "acme/new-model"):
        found = cost("openai", model, usage, **said)

        assert found is not None
        assert found.source == source
        assert found.usd == pytest.approx(usd, rel=1e-12)
        assert found.usd == math.fsum(found.parts.values())


@pytest.mark.parametrize("bill", [None, True, -1, math.nan, math.inf, "much", {}, [], 10**400])
def test_a_bill_that_is_no_amount_is_none(bill: object) -> None:
    """Then the price list counts."""
    found = cost("openai", "gpt-4o", {**U, "cost": bill})

    assert found is not None
    assert found.source.startswith("genai-prices")


def test_what_a_call_cost_then_is_known_later() -> None:
    """A price list with dated prices gives the price of the day that is asked for."""
    dated = []
    for provider in get_snapshot().providers:
        for model in provider.models:
            prices = model.prices if isinstance(model.prices, list) else []
            limits = [price.constraint for price in prices if price.constraint]
            if limits and all(isinstance(limit, StartDateConstraint) for limit in limits):
                dated.append((provider.id, model.id))
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    changed = 0
    for provider_id, model_id in dated:
        before, now = (cost(provider_id, model_id, U, at) for at in (long_ago, None))
        changed += before is not None and now is not None and before.usd != now.usd

    assert changed > 0


_NAMES = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"),
    *("prompt_tokens_details", "promptTokensDetails", "completion_tokens_details", "modality"),
    *("cached_tokens", "audio_tokens", "cache_creation", "ephemeral_1h_input_tokens", "tokenCount"),
    *("server_tool_use", "web_search_requests", "iterations", "type", "model", "service_tier"),
    *("serviceTier", "speed", "cost", "total_cost", "cost_details", "is_byok", "billed_units"),
)
_LEAVES = st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats() | st.text(max_size=3)
_WORDS = st.sampled_from(["TEXT", "AUDIO", "flex", "batch", "compaction", "gpt-4o", 100, 1000])
_ANYTHING = st.recursive(
    _LEAVES | _WORDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=6)
    ),
    max_leaves=20,
)
_MODELS = (
    *(("openai", "gpt-4o"), ("openai", "gpt-audio"), ("anthropic", CLAUDE), ("gemini", FLASH)),
    *(("perplexity", "sonar-deep-research"), ("groq", "whisper-large-v3"), ("xai", "grok-4-0709")),
)


@example(("openai", "gpt-4o"), {"iterations": [{"type": []}]}, {})
@given(
    st.sampled_from(_MODELS),
    st.dictionaries(st.sampled_from(_NAMES), _ANYTHING, max_size=8),
    st.dictionaries(st.sampled_from(_NAMES), _ANYTHING, max_size=3),
)
def test_no_usage_raises(
    asked: tuple[str, str], usage: dict[str, Any], said: dict[str, Any]
) -> None:
    """Whatever a usage holds gives an amount of money or none."""
    fields = {"usage": usage, **read_usage(usage, [])}
    found = cost_of(Sale.of(fields, said, asked))

    assert found is None or 0 <= found.usd < math.inf


_n = st.integers(0, 300_000)


@given(
    st.sampled_from(
        [
            ("openai", "gpt-4o"),
            ("anthropic", CLAUDE),
            ("google", FLASH),
            ("openrouter", "openai/gpt-4o"),
        ]
    ),
    st.tuples(_n, _n, _n, _n, _n),
)
def test_generated_usages_cost_what_the_library_says(
    asked: tuple[str, str], numbers: tuple[int, int, int, int, int]
) -> None:
    """Fast or not, what a plain usage costs is what the library calculates."""
    plain, cached, written, output, reasoning = numbers
    prompt = plain + cached + written
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": output + reasoning,
        "total_tokens": prompt + output + reasoning,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    sale = Sale(*asked, None, usage, read_usage(usage), {}, {})
    offer = find_offer(get_snapshot().providers, *asked, None)
    assert offer is not None
    seller, model = offer
    expected = model.calc_price(
        Usage(
            input_tokens=prompt,
            output_tokens=output + reasoning,
            cache_read_tokens=cached,
            cache_write_tokens=written,
            output_reasoning_tokens=reasoning,
        ),
        seller,
    )
    found = list_cost(sale)
    slow = LibraryPrice(get_snapshot().providers, seller, model).parts(sale)

    assert found is not None
    assert slow is not None
    assert found.usd == pytest.approx(float(expected.total_price), rel=1e-12, abs=1e-18)
    assert math.fsum(slow.values()) == pytest.approx(found.usd, rel=1e-12, abs=1e-18)

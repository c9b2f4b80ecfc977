"""Whose price a call is billed by: the model that answered, at the one who was asked."""

from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot

from llm_audit.prices.sellers import find_offer

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:"
VERTEX = "projects/p/locations/us-east5/publishers/"


def listed(provider: Any, requested: str | None, answered: str | None = None) -> str | None:
    offer = find_offer(get_snapshot().providers, provider, requested, answered)
    return offer and f"{offer[0].id}/{offer[1].id}"


# By seller: who is asked, the name in the request, and whose entry it is.
OFFERS: dict[str | None, list[tuple[str, str | None]]] = {
    "openai": [("openai/gpt-4o", "openai/gpt-4o"), ("gpt-4o-2024-08-06", "openai/gpt-4o")],
    "azure": [("azure/gpt-4o", "azure/gpt-4o"), ("azure/eu/gpt-4o", "azure/gpt-4o")],
    "azure_ai": [("azure_ai/gpt-4o", "azure/gpt-4o")],
    "anthropic": [("claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5")],
    "bedrock": [
        (f"us.{SONNET}", f"aws/regional.{SONNET}"),
        (f"eu.{SONNET}", f"aws/regional.{SONNET}"),
        (f"global.{SONNET}", f"aws/global.{SONNET}"),
        (SONNET, f"aws/regional.{SONNET}"),
        (f"{ARN}inference-profile/us.{SONNET}", f"aws/regional.{SONNET}"),
        (f"{ARN}inference-profile/global.{SONNET}", f"aws/global.{SONNET}"),
        (f"{ARN.replace('123456789012', '')}foundation-model/{SONNET}", f"aws/regional.{SONNET}"),
        (f"{ARN}application-inference-profile/abc123", None),
    ],
    "litellm": [
        (f"bedrock/us.{SONNET}", f"aws/regional.{SONNET}"),
        (f"bedrock/converse/global.{SONNET}", f"aws/global.{SONNET}"),
        (f"bedrock/us-east-1/{SONNET}", f"aws/regional.{SONNET}"),
        (f"bedrock/{ARN}inference-profile/us.{SONNET}", f"aws/regional.{SONNET}"),
        ("openrouter/deepseek/deepseek-r1", "openrouter/deepseek/deepseek-r1"),
        ("openrouter/openai/gpt-4o", "openrouter/openai/gpt-4o"),
        ("gemini/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("vertex_ai/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("azure/gpt-4o", "azure/gpt-4o"),
        ("xai/grok-4-0709", "x-ai/grok-4-0709"),
        ("groq/llama-3.3-70b-versatile", "groq/llama-3.3-70b-versatile"),
        ("deepseek/deepseek-chat", "deepseek/deepseek-chat"),
        ("gpt-4o", "openai/gpt-4o"),
        ("ollama/llama3", None),
        ("hosted_vllm/gpt-4o", None),
        ("openai_like/gpt-4o", None),
        ("sagemaker/gpt-4o", None),
        ("some-proxy/gemini-2.5-flash", None),
    ],
    "vertex": [
        (f"{VERTEX}google/models/gemini-2.5-flash", "google/gemini-2.5-flash"),
        (f"{VERTEX}anthropic/models/claude-sonnet-4-5@20250929", "google/claude-sonnet-4-5"),
        ("publishers/google/models/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("claude-sonnet-4-5@20250929", "google/claude-sonnet-4-5"),
        ("projects/p/locations/l/endpoints/1234567890", None),
    ],
    "gemini": [("models/gemini-2.5-flash", "google/gemini-2.5-flash")],
    "openrouter": [
        ("deepseek/deepseek-r1", "openrouter/deepseek/deepseek-r1"),
        ("gpt-4", "openrouter/openai/gpt-4"),
    ],
    "fireworks_ai": [
        ("accounts/fireworks/models/deepseek-v3p2", "fireworks/deepseek-v3p2"),
    ],
    None: [
        (f"us.{SONNET}", f"aws/regional.{SONNET}"),
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("meta-llama/llama-3", None),
        ("ollama/llama3", None),
    ],
    "vllm": [("gpt-4o", None)],
    "openai_compatible": [("gpt-4o", None)],
}


def test_each_seller_lists_what_is_asked_of_it() -> None:
    """Prefixes, inference profiles, ARNs and paths lead to the seller's own entry, or to none."""
    wrong = [
        (provider, name, found, expected)
        for provider, offers in OFFERS.items()
        for name, expected in offers
        if (found := listed(provider, name)) != expected
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("provider", "requested", "answered", "expected"),
    [
        ("openrouter", "openai/gpt-4o-mini", "anthropic/claude-sonnet-4.5", "claude-sonnet-4.5"),
        ("azure", "gpt-4", "gpt-4-turbo-2024-04-09", "gpt-4-turbo"),
        ("azure", "my-own-name", "gpt-4o-2024-08-06", "gpt-4o"),
        ("azure", "gpt-4o-2024-05-13", "gpt-4-turbo-2024-04-09", "gpt-4-turbo"),
        ("openai", "gpt-4o", "gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai", "gpt-4o-mini", "gpt-4o", "gpt-4o"),
        ("openai", "gpt-4o", "gpt-4o-2099-01-01", "gpt-4o"),
        ("openai", "gpt-4o", "something-else", None),
        ("openai", "something-else", "gpt-4o", "gpt-4o"),
        ("bedrock", f"global.{SONNET}", "claude-sonnet-4-5-20250929", f"global.{SONNET}"),
        ("bedrock", f"us.{SONNET}", "claude-sonnet-4-5-20250929", f"regional.{SONNET}"),
        ("bedrock", f"{ARN}application-inference-profile/x", f"us.{SONNET}", f"regional.{SONNET}"),
        ("litellm", "openrouter/deepseek/deepseek-r1", "deepseek/deepseek-r1", "deepseek-r1"),
        ("litellm", "my-alias", "gpt-4o-2024-08-06", None),
        (None, None, "gpt-4o", "gpt-4o"),
    ],
)
def test_the_model_that_answered_is_billed(
    provider: str | None, requested: str | None, answered: str, expected: str | None
) -> None:
    """The answered model counts, unless the request names the same one more exactly."""
    found = listed(provider, requested, answered)

    assert found == expected or (found is not None and found.rpartition("/")[2] == expected)


def test_a_fine_tuned_model_is_no_base_model() -> None:
    """A fine-tuned model has its own price, also where the answer names its base."""
    name = "ft:gpt-4o-mini-2024-07-18:acme::abc"

    assert listed("openai", name, "gpt-4o-mini-2024-07-18") == listed("openai", name)
    assert listed("openai", name) != listed("openai", "gpt-4o-mini-2024-07-18")

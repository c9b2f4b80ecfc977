"""Whose price: which entry of the price list a call is billed by.

The seller is who was asked, never who made the model. The model is the one that answered, unless
the requested name says more: a region, a pinned version, a free variant, a fine-tuned model.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

# Names of sellers that the price list does not know, or takes for others'. None sells by token at a
# price that is listed: it runs on the user's own machines, or is billed by the hour.
_SELLER_BY_ALIAS: dict[str, str | None] = {
    **dict.fromkeys(("azure_ai", "azure_text", "azure-openai", "azure_openai"), "azure"),
    **dict.fromkeys(("azure_anthropic", "azure-ai-foundry", "azure.ai.openai"), "azure"),
    **dict.fromkeys(("azure.ai.inference", "azureopenai", "azure_ai_foundry"), "azure"),
    **dict.fromkeys(("bedrock_converse", "bedrock_mantle", "aws.bedrock"), "aws"),
    **dict.fromkeys(("fireworks_ai", "fireworks-ai"), "fireworks"),
    **dict.fromkeys(("z.ai", "z-ai", "z_ai"), "zai"),
    **dict.fromkeys(("grok", "x_ai", "x.ai"), "x-ai"),
    **dict.fromkeys(("codestral", "text-completion-codestral"), "mistral"),
    **dict.fromkeys(("pplx", "perplexity_ai"), "perplexity"),
    **dict.fromkeys(("kimi",), "moonshotai"),
    **dict.fromkeys(("openai_like", "openai-compatible", "openai_compatible", "custom_openai")),
    **dict.fromkeys(("hosted_vllm", "vllm", "ollama", "ollama_chat", "llamafile", "lm_studio")),
    **dict.fromkeys(("sagemaker", "sagemaker_chat", "sagemaker_nova", "triton", "docker")),
    **dict.fromkeys(("xinference", "oobabooga", "petals", "lemonade", "litellm_proxy", "custom")),
}
_BY_MODEL = {None, "", "litellm", "langchain"}  # who only passes calls on: the model says to whom
_PATHS = {"models", "publishers", "projects", "accounts", "tunedmodels"}  # no sellers

# What a longer name of the same model may have besides: where it runs, who made it, which edition.
_REGION = {
    *("us", "eu", "apac", "au", "jp", "ca", "gov", "global", "regional", "sa", "me", "af", "il"),
    *("east", "west", "north", "south", "central", "northeast", "southeast", "datazone"),
}
_VENDORS = {
    *("anthropic", "amazon", "meta", "mistral", "mistralai", "cohere", "deepseek", "openai"),
    *("google", "qwen", "writer", "ai21", "zai", "moonshotai", "minimax", "nvidia", "xai"),
}
_EDITIONS = {"latest", "preview", "exp", "experimental", "beta", "free", "maas", "fp8", "fp4"}
_QUALIFIERS = _REGION | _VENDORS | _EDITIONS
_NUMBER = re.compile(r"v?\d+$")
_BEDROCK_NAME = re.compile(
    rf"(?:[a-z-]+\.)?(?:{'|'.join(sorted(_VENDORS))})\.[a-z]|arn:[a-z-]+:bedrock:"
)
_BEDROCK_ROUTE = re.compile(
    r"^(?:(?:converse|converse_like|invoke)/)?(?:[a-z]{2}(?:-[a-z]+)+-\d/)?"
)
_AZURE_ZONE = re.compile(r"^(?:eu|us|global|global-standard|data-zone)/")


def find_offer(
    sellers: "Sequence[Provider]", provider: str | None, requested: str | None, answered: str | None
) -> "tuple[Provider, ModelInfo] | None":
    """Return who sold a call and the model that it is billed as; None where that is not certain.

    Args:
        sellers: Of the price list.
        provider: Who was asked, as the user names it: "openrouter", "bedrock", … in any case.
        requested: The model as the request names it: also a deployment, an inference profile, an
            ARN, a path at Vertex, or with the seller before it as LiteLLM has it.
        answered: The model as the response names it.
    """
    seller = _seller(sellers, provider, requested or answered or "")
    if seller is None:
        return None
    # The price list's own look-up keeps every name that it was ever asked for.
    for name in _in_order(seller.id, requested, answered):
        for spelling in _spellings(seller, provider or "", name):
            if found := seller.find_model(spelling, all_providers=list(sellers)):
                return seller, found
    return None


def _seller(sellers: "Sequence[Provider]", provider: str | None, model: str) -> "Provider | None":
    name = provider.lower().strip() if provider is not None else None
    if name not in _BY_MODEL:
        return _named(sellers, name or "")
    prefix, slash, rest = model.lower().partition("/")
    if slash and prefix == "huggingface":
        prefix = f"huggingface_{rest.partition('/')[0]}"
    if _BEDROCK_NAME.match(model.lower()):
        return _named(sellers, "aws")
    if slash and prefix not in _PATHS:
        return _named(sellers, prefix)
    for seller in sellers:
        if seller.model_match is not None and seller.model_match.is_match(model):
            return seller
    return None


def _named(sellers: "Sequence[Provider]", name: str) -> "Provider | None":
    from genai_prices.data_snapshot import find_provider_by_id

    alias = _SELLER_BY_ALIAS.get(name, name)
    return None if alias is None else find_provider_by_id(list(sellers), alias)


def _in_order(seller: str, requested: str | None, answered: str | None) -> Iterator[str]:
    """Yield the names that may say what was sold, the most exact first."""
    if not answered or not requested:
        if name := answered or requested:
            yield name
        return
    asked, came = _words(requested), _words(answered)
    # a deployment of Azure is named as its owner likes
    if seller != "azure" and (requested.startswith("ft:") or _adds_only_details(asked, came)):
        yield requested
    yield answered
    if asked == came or _adds_only_details(came, asked):
        yield requested


def _words(model: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", model.lower().rpartition("/")[2]))


def _adds_only_details(longer: frozenset[str], shorter: frozenset[str]) -> bool:
    more = longer - shorter
    return (
        bool(more)
        and shorter <= longer
        and all(word in _QUALIFIERS or _NUMBER.match(word) for word in more)
    )


def _spellings(seller: "Provider", provider: str, model: str) -> Iterator[str]:
    """Yield the model as its seller may list it, then as it is named."""
    if any(listed.id == model for listed in seller.models):
        yield model
    name = _without_seller(seller, provider, model)
    path, _, tail = name.rpartition("/")
    if seller.id == "aws":
        name = _BEDROCK_ROUTE.sub("", name)
        yield name.rpartition("/")[2] if name.startswith("arn:") else name
    elif seller.id == "azure":
        yield _AZURE_ZONE.sub("", name)
    elif path.lower().rpartition("/")[2] == "models":  # a path at Vertex, or Gemini's own
        yield tail.replace("@", "-")
    else:
        yield name.replace("@", "-") if seller.id == "google" else name
    if name != model:
        yield name
    yield model
    if not path:
        vendors = {
            vendor
            for listed in seller.models
            for vendor, slash, _ in [listed.id.partition("/")]
            if slash and listed.is_match(f"{vendor}/{name}")
        }
        if len(vendors) == 1:
            yield f"{vendors.pop()}/{name}"


def _without_seller(seller: "Provider", provider: str, model: str) -> str:
    """Return the name without the seller that LiteLLM and others put before it."""
    prefix, slash, name = model.partition("/")
    if slash and prefix.lower() == "huggingface":
        return name.partition("/")[2]
    own = {seller.id, provider.lower().strip()}
    if slash and (prefix.lower() in own or _is_called(seller, prefix.lower())):
        return name
    return model


def _is_called(seller: "Provider", name: str) -> bool:
    if name in _SELLER_BY_ALIAS:
        return _SELLER_BY_ALIAS[name] == seller.id
    # at OpenRouter, "openai/gpt-4o" is the model's whole name, and so it is at Groq
    return seller.provider_match is not None and seller.provider_match.is_match(name)

"""What a response says that it cost: the bill of who sold it, or of the gateway between."""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from llm_audit.errors import let_through
from llm_audit.prices.cost import Cost, Sale
from llm_audit.providers.fields import at


class _Bill(NamedTuple):
    """Where a bill stands, by paths in the usage, or in the rest of the response."""

    path: str
    per_usd: int = 1
    parts: Mapping[str, str] = {}
    on_top: Callable[[Mapping[str, Any]], str | None] = lambda _: None


def _own_key(usage: Mapping[str, Any]) -> str | None:
    """Return what OpenRouter did not bill: with a key of the user's own, the provider does."""
    return "cost_details.upstream_inference_cost" if usage.get("is_byok") else None


_OF_USAGE = (
    _Bill(  # Perplexity
        "cost.total_cost",
        parts={
            "input": "cost.input_tokens_cost",
            "output": "cost.output_tokens_cost",
            "reasoning": "cost.reasoning_tokens_cost",
            "citations": "cost.citation_tokens_cost",
            "searches": "cost.search_queries_cost",
            "requests": "cost.request_cost",
        },
    ),
    _Bill(  # OpenRouter, Kilo, Requesty, LiteLLM's streams
        "cost",
        parts={
            "input": "cost_details.upstream_inference_prompt_cost",
            "output": "cost_details.upstream_inference_completions_cost",
        },
        on_top=_own_key,
    ),
    _Bill("cost_in_usd_ticks", per_usd=10**10),  # xAI
    _Bill("estimated_cost"),  # DeepInfra
    _Bill("pydantic_ai_gateway.cost_estimate"),
)
_OF_RESPONSE = (
    _Bill("_hidden_params.response_cost"),  # LiteLLM
    _Bill("_hidden_params.additional_headers.llm_provider-x-litellm-response-cost"),
    _Bill("provider_metadata.gateway.cost"),  # Vercel AI Gateway
    _Bill("providerMetadata.gateway.cost"),
    _Bill("response_metadata.token_usage.cost"),  # OpenRouter, through LangChain
    _Bill("costDollars.total"),  # Exa
)
_NAMES_IN_USAGE = frozenset(bill.path.partition(".")[0] for bill in _OF_USAGE)
_NAMES_IN_RESPONSE = frozenset(bill.path.partition(".")[0] for bill in _OF_RESPONSE)


def billed_cost(sale: Sale) -> Cost | None:
    """Return what the response says that the call cost; its source names the field."""
    for fields, names, bills, whose in (
        (sale.usage, _NAMES_IN_USAGE, _OF_USAGE, "usage."),
        (sale.said, _NAMES_IN_RESPONSE, _OF_RESPONSE, ""),
    ):
        if names.isdisjoint(fields):
            continue
        for bill in bills:
            if bill.path.partition(".")[0] not in fields:
                continue
            usd = _usd(at(fields, bill.path), bill.per_usd)
            if usd is None:
                continue
            parts = _parts(fields, bill)
            source = f"billed: {whose}{bill.path}"
            if path := bill.on_top(fields):
                usd += _usd(at(fields, path), 1) or 0.0
                source += f" + {whose}{path}"
            rest = usd - math.fsum(parts.values())
            if not parts or abs(rest) > 1e-9 * usd:
                parts["other" if parts else "billed"] = rest
            return Cost.of(parts, source)
    return None


def _parts(fields: Mapping[str, Any], bill: _Bill) -> dict[str, float]:
    amounts = {name: _usd(at(fields, path), bill.per_usd) for name, path in bill.parts.items()}
    return {name: usd for name, usd in amounts.items() if usd}


def _usd(value: object, per_usd: int) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        usd = float(Decimal(str(value)) / per_usd)
    except (InvalidOperation, OverflowError) as error:
        let_through(error)
        return None
    return usd if math.isfinite(usd) and usd >= 0 else None

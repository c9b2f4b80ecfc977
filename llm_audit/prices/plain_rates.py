"""So much USD per token: what settles the price of a call that used nothing but text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice


@dataclass(frozen=True, slots=True)
class PlainRates:
    """So much USD per token and per request, up to some size of the prompt."""

    input: float | None
    output: float | None
    cache_read: float
    cache_write: float
    request: float
    largest_prompt: float
    since: datetime | None
    """From when on; None for ever."""

    def parts(self, counts: Mapping[str, int]) -> dict[str, float] | None:
        """Return the parts of a cost; None where the counts do not settle it."""
        sums = token_counts(counts, output_costs=bool(self.output))
        if sums is None:
            return None
        prompt, completion, cached, written = sums
        if (prompt and self.input is None) or (completion and self.output is None):
            return None
        parts = {
            "input": (prompt - cached - written) * (self.input or 0.0),
            "output": completion * (self.output or 0.0),
        }
        if cached:
            parts["cached"] = cached * self.cache_read
        if written:
            parts["written"] = written * self.cache_write
        if self.request:
            parts["requests"] = self.request
        return parts


def plain_rates(model: "ModelInfo") -> PlainRates | None:
    """Return the rates of a model; None where they settle nothing, or depend on the time."""
    from genai_prices.types import ModelPrice, StartDateConstraint, TieredPrices

    now = datetime.now(UTC)
    since = None
    if not isinstance(model.prices, ModelPrice):
        for constraint in (dated.constraint for dated in model.prices):
            if constraint is None:
                continue
            if not isinstance(constraint, StartDateConstraint) or not constraint.active(now):
                return None  # another price applies at another time
            begun = datetime(*constraint.start_date.timetuple()[:3], tzinfo=UTC)
            since = begun if since is None else max(since, begun)
    prices = listed_prices(model.get_prices(now))
    if not prices and model.id.endswith(":free"):
        return PlainRates(0.0, 0.0, 0.0, 0.0, 0.0, math.inf, since)
    if not _is_by_text_token(prices):
        return None
    largest_prompt = math.inf
    per_million = {}
    for name, price in prices.items():
        tiered = isinstance(price, TieredPrices)
        per_million[name] = price.base if tiered else price
        if tiered and price.tiers:
            largest_prompt = min(largest_prompt, price.tiers[0].start)
    per_token = {name: float(price / 1_000_000) for name, price in per_million.items()}
    input_rate = per_token.get("input_mtok")
    return PlainRates(
        input=input_rate,
        output=per_token.get("output_mtok"),
        cache_read=per_token.get("cache_read_mtok", input_rate or 0.0),
        cache_write=per_token.get("cache_write_mtok", input_rate or 0.0),
        request=per_token.get("requests_kcount", 0.0) * 1000,
        largest_prompt=largest_prompt,
        since=since,
    )


def listed_prices(sheet: "ModelPrice") -> dict[str, Any]:
    """Return the prices of a sheet, by name."""
    return {name: price for name, price in vars(sheet).items() if price is not None}


def token_counts(
    usage: Mapping[str, int], *, output_costs: bool
) -> tuple[int, int, int, int] | None:
    """Return prompt, completion, cached and written tokens, if they are known and add up."""
    prompt = usage.get("prompt_tokens")
    completion = usage.get("completion_tokens")
    total = usage.get("total_tokens")
    if prompt is None and completion is None and not output_costs:
        prompt = total  # Voyage's embeddings
    if prompt is None:
        return None
    if completion is None:  # embeddings have none; Gemini leaves out a 0
        if output_costs and total != prompt:
            return None
        completion = 0
    cached = usage.get("cached_tokens", 0)
    written = usage.get("cache_write_tokens", 0)
    if cached + written > prompt or (total is not None and total > prompt + completion):
        return None
    return prompt, completion, cached, written


def _is_by_text_token(prices: Mapping[str, object]) -> bool:
    """Tell whether plain rates settle the price of a call that used nothing but text."""
    return bool(prices) and all(
        name in {"output_mtok", "requests_kcount", "web_searches_kcount", "storage_searches_kcount"}
        or (name.endswith("_mtok") and not name.startswith("output_"))
        for name in prices
    )

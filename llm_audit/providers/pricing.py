"""What a call cost: list prices from the genai-prices library, applied to token counts.

An estimate of the tokens at their standard price. Not in it: fees per search, service-tier
discounts, and what audio or image input and one-hour cache writes cost beyond the standard rate.

The library's own calculation takes about 75 µs. So plain rates per token are kept and applied
here; only prompts above a price tier, and prices that depend on the time, pay for it.

Thread-safe: the only shared state is an `lru_cache`; at worst two threads look up the same price.
"""

import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_audit.errors import log_once

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider

# Price names beside the rates of input tokens (the counts say nothing of the tools' own fees).
_KNOWN_PRICES = frozenset(
    {
        *("output_mtok", "output_reasoning_mtok", "requests_kcount"),
        *("web_searches_kcount", "storage_searches_kcount"),
    }
)


def estimate_cost(
    provider: str | None, model: str | None, usage: Mapping[str, int]
) -> tuple[float, str] | None:
    """Estimate what a call that ends now cost.

    A model is looked up in its provider's price list only, because elsewhere it has another price.
    It may be spelled as the provider's API does (dated, an inference profile's ARN, a Vertex
    resource path), or with the provider as prefix (`azure/gpt-4o`). Where models are listed as
    `vendor/model` (OpenRouter), `gpt-4` is understood if exactly one vendor has a `gpt-4`.
    Without a provider (or with LiteLLM's), the model's prefix (`openai/gpt-4o`), else its name
    decides whose list it is.

    The first call in a process loads the price list, which takes about half a second.

    Args:
        provider: As the user names it: "openrouter", "bedrock", "gemini", … in any case.
        model: As the provider's API names it.
        usage: Token counts under the names of `read_usage`.

    Returns:
        USD and the price's source, such as `(0.0006, "genai-prices 0.2.3: openai/gpt-4")`.
        None where the price is not certain: an unknown provider or model; input and output not
        told apart; counts that do not add up (a total larger than its parts hides tokens); a
        model billed by the hour, page or character, or whose output has several prices.
    """
    if not isinstance(model, str) or not (provider is None or isinstance(provider, str)):
        return None
    try:
        price = _price_of(provider, model)
    except ImportError:  # a signal handler that records while its own thread imports the prices
        log_once("The price of a call is unknown: the price list is not loaded.")
        return None
    if price.snapshot is not _snapshot_getter()():  # genai_prices.UpdatePrices fetched newer ones
        _price_of.cache_clear()
        price = _price_of(provider, model)
    if price.billing is None or (usd := price.billing.usd(usage)) is None:
        return None
    return usd, price.source


@dataclass(frozen=True, slots=True)
class _LibraryPrice:
    """A price that the library calculates for each call."""

    provider: "Provider"
    model: "ModelInfo"

    def usd(self, usage: Mapping[str, int]) -> float | None:
        now = datetime.now(UTC)
        prices = _prices(self.model.get_prices(now))
        counts = _token_counts(usage, output_costs="output_mtok" in prices)
        if counts is None or not _is_sold_by_token(prices):
            return None
        prompt, completion, cached, written = counts
        if (prompt and "input_mtok" not in prices) or (completion and "output_mtok" not in prices):
            return None
        if "output_reasoning_mtok" in prices and "reasoning_tokens" not in usage:
            return None
        reported = {
            "input_tokens": prompt,
            "output_tokens": completion,
            "cache_read_tokens": cached,
            "cache_write_tokens": written,
            "output_reasoning_tokens": usage.get("reasoning_tokens", 0),
        }
        with suppress(ValueError):  # more reasoning than output
            calculation = self.model.calc_price(
                reported, self.provider, genai_request_timestamp=now
            )
            return float(calculation.total_price)
        return None


@dataclass(frozen=True, slots=True)
class _PlainRates:
    """So much USD per token and per request, up to some size of the prompt."""

    input: float | None
    output: float | None
    cache_read: float
    cache_write: float
    request: float
    largest_prompt: float
    beyond: _LibraryPrice

    def usd(self, usage: Mapping[str, int]) -> float | None:
        counts = _token_counts(usage, output_costs=bool(self.output))
        if counts is None:
            return None
        prompt, completion, cached, written = counts
        if (prompt and self.input is None) or (completion and self.output is None):
            return None
        if prompt > self.largest_prompt:
            return self.beyond.usd(usage)
        return (
            (prompt - cached - written) * (self.input or 0.0)
            + cached * self.cache_read
            + written * self.cache_write
            + completion * (self.output or 0.0)
            + self.request
        )


class _Price(NamedTuple):
    """What a model costs; without `billing`, nobody knows."""

    snapshot: "DataSnapshot"
    source: str = ""
    billing: _PlainRates | _LibraryPrice | None = None


def _token_counts(
    usage: Mapping[str, int], *, output_costs: bool
) -> tuple[int, int, int, int] | None:
    """Return prompt, completion, cached and written tokens, if they are known and add up."""
    prompt = usage.get("prompt_tokens")
    completion = usage.get("completion_tokens")
    total = usage.get("total_tokens")
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


_loading = threading.RLock()  # a signal handler may record in the middle of it


@cache
def _snapshot_getter() -> "Callable[[], DataSnapshot]":
    with _loading:
        from genai_prices.data_snapshot import get_snapshot

        get_snapshot()  # loads the price list
        return get_snapshot


def preload() -> None:
    """Load the price list, 0.4 s of work that the first call with tokens would wait for."""
    _snapshot_getter()


# A child forked in the middle of an import waits for ever for a thread that it does not have.
os.register_at_fork(
    before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_loading.release
)


@lru_cache(maxsize=1024)
def _price_of(provider: str | None, model: str) -> _Price:
    snapshot = _snapshot_getter()()  # first: only here anything is imported that is not yet
    from genai_prices import __version__

    found = _find_model(snapshot, provider, model)
    if found is None:
        return _Price(snapshot)
    seller, info = found
    edition = f"of {snapshot.timestamp:%Y-%m-%d}" if snapshot.from_auto_update else __version__
    source = f"genai-prices {edition}: {seller.id}/{info.id}"
    library_price = _LibraryPrice(seller, info)
    return _Price(snapshot, source, _plain_rates(library_price) or library_price)


def _plain_rates(library_price: _LibraryPrice) -> _PlainRates | None:
    from genai_prices.types import ModelPrice, StartDateConstraint, TieredPrices

    model = library_price.model
    now = datetime.now(UTC)
    if not isinstance(model.prices, ModelPrice):
        for constraint in (dated.constraint for dated in model.prices):
            begun = isinstance(constraint, StartDateConstraint) and constraint.active(now)
            if constraint is not None and not begun:
                return None  # another price applies at another time
    prices = _prices(model.get_prices(now))
    if not prices and model.id.endswith(":free"):
        return _PlainRates(0.0, 0.0, 0.0, 0.0, 0.0, math.inf, library_price)
    if not _is_sold_by_token(prices) or "output_reasoning_mtok" in prices:
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
    return _PlainRates(
        input=input_rate,
        output=per_token.get("output_mtok"),
        cache_read=per_token.get("cache_read_mtok", input_rate or 0.0),
        cache_write=per_token.get("cache_write_mtok", input_rate or 0.0),
        request=per_token.get("requests_kcount", 0.0) * 1000,
        largest_prompt=largest_prompt,
        beyond=library_price,
    )


def _prices(sheet: "ModelPrice") -> dict[str, Any]:
    return {name: price for name, price in vars(sheet).items() if price is not None}


def _is_sold_by_token(prices: Mapping[str, object]) -> bool:
    """Tell whether the counts of a call settle its price.

    They do not where a price is per hour, page or character, where audio or image output has a
    price of its own, or where there is none: an empty sheet may mean free, withdrawn or unlisted.
    """
    return bool(prices) and all(
        name in _KNOWN_PRICES or (name.endswith("_mtok") and not name.startswith("output_"))
        for name in prices
    )


def _find_model(
    snapshot: "DataSnapshot", provider: str | None, model: str
) -> "tuple[Provider, ModelInfo] | None":
    # The snapshot's own look-up keeps every name it was ever asked for.
    from genai_prices.data_snapshot import find_provider_by_id

    sellers = snapshot.providers
    if provider is None or provider.lower() == "litellm":
        seller = _seller_by_model(sellers, model)
    else:
        seller = find_provider_by_id(sellers, provider)
    if seller is not None:
        for spelling in _spellings(seller, provider or seller.id, model):
            if found := seller.find_model(spelling, all_providers=sellers):
                return seller, found
    return None


def _seller_by_model(sellers: "Sequence[Provider]", model: str) -> "Provider | None":
    prefix = model.partition("/")[0].lower()
    for seller in sellers:
        if seller.id == prefix:
            return seller
    for seller in sellers:
        if seller.model_match is not None and seller.model_match.is_match(model):
            return seller
    return None


def _spellings(seller: "Provider", provider: str, model: str) -> Iterator[str]:
    """Yield the model as it is named, then as its seller may list it."""
    yield model
    path, slash, name = model.rpartition("/")
    if not slash:
        vendors = {
            vendor
            for listed in seller.models
            for vendor, slash, _ in [listed.id.partition("/")]
            if slash and listed.is_match(f"{vendor}/{model}")
        }
        if len(vendors) == 1:
            yield f"{vendors.pop()}/{model}"
    elif path.lower().rpartition("/")[2] in {"models", seller.id, provider.lower()}:
        yield name

"""Prices of the user's own, which beat the public list: see the setting `prices`."""

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from llm_audit.errors import let_through, log_once
from llm_audit.prices.cost import Cost, Sale
from llm_audit.prices.plain_rates import token_counts
from llm_audit.settings.own_prices import OwnPrice, OwnPrices, PriceFunction

_MILLION = 1_000_000


def own_cost(prices: OwnPrices | PriceFunction, sale: Sale) -> tuple[bool, Cost | None]:
    """Return whether a call has a price of the user's own, and what it cost by that."""
    if not isinstance(prices, OwnPrices):
        return _by_function(prices, sale)
    for price in prices.listed:
        if _is_for(price, sale):
            parts = _parts(price, sale.counts)
            source = f"own: {price.provider}/{price.model}"
            return True, None if parts is None else Cost.of(parts, source)
    return False, None


def _is_for(price: OwnPrice, sale: Sale) -> bool:
    if not fnmatchcase((sale.provider or "").lower(), price.provider.lower()):
        return False
    names = (sale.requested, sale.answered)
    return any(name and fnmatchcase(name.lower(), price.model.lower()) for name in names)


def _parts(price: OwnPrice, counts: Mapping[str, int]) -> dict[str, float] | None:
    """Return the parts of a cost; None where tokens were used that have no rate."""
    parts = {"requests": price.request} if price.request else {}
    if price.input is None and price.output is None:
        return parts or {"requests": 0.0}
    sums = token_counts(counts, output_costs=bool(price.output))
    if sums is None:
        return None
    prompt, completion, cached, written = sums
    if (prompt and price.input is None) or (completion and price.output is None):
        return None
    rate = price.input or 0.0
    used = {
        "input": (prompt - cached - written, rate),
        "output": (completion, price.output or 0.0),
        "cached": (cached, rate if price.cached is None else price.cached),
        "written": (written, rate if price.written is None else price.written),
    }
    return parts | {
        name: number * per_million / _MILLION
        for name, (number, per_million) in used.items()
        if number or name in {"input", "output"}
    }


def _by_function(function: PriceFunction, sale: Sale) -> tuple[bool, Cost | None]:
    name = getattr(function, "__name__", type(function).__name__)
    call = {
        **sale.counts,
        "provider": sale.provider,
        "model": sale.requested,
        "response_model": sale.answered,
        "usage": dict(sale.usage),
        "response_extra": {n: value for n, value in sale.said.items() if not n.startswith("_")},
    }
    try:
        answer = function(call)
        if answer is None:
            return False, None
        given = answer if isinstance(answer, Mapping) else {"total": answer}
        parts = {str(part): _usd(usd) for part, usd in given.items()}
    except BaseException as error:  # noqa: BLE001 - the user's function may raise anything
        let_through(error)
        log_once(
            f"the function {name} of the setting prices failed with {type(error).__name__}: "
            "such calls have no cost. It has to return USD, a dict of parts, or None."
        )
        return True, None
    return True, Cost.of(parts, f"own: {name}")


def _usd(value: Any) -> float:
    usd = float(value)
    if not math.isfinite(usd):
        raise ValueError(value)
    return usd

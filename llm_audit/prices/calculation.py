"""The library's own calculation, for what plain rates do not settle."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_audit.errors import let_through
from llm_audit.prices.conditions import conditions_of
from llm_audit.prices.cost import Sale
from llm_audit.prices.plain_rates import listed_prices, token_counts
from llm_audit.prices.sellers import find_offer
from llm_audit.prices.units import Units, counts_of, registry, requests_in, units_of
from llm_audit.providers.fields import native

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider, Usage
    from genai_prices.units import UnitDef

_PART_BY_UNIT = {
    "web_searches": "searches",
    "storage_searches": "file_searches",
    "output_reasoning_tokens": "reasoning",
    "output_citation_tokens": "citations",
}
_OUTPUT_MODALITIES = frozenset(f"output_{kind}_tokens" for kind in ("audio", "image", "video"))
_OUTPUT_KINDS = frozenset({"output_reasoning_tokens", "output_citation_tokens"})
_BESIDE_OTHERS = ("tokens", "requests", "tool_calls")


class _Used(NamedTuple):
    """What one request used, and how it was sold."""

    units: Units
    counts: Mapping[str, int]
    conditions: Mapping[str, str]
    at: datetime


@dataclass(frozen=True, slots=True)
class LibraryPrice:
    """A price that the library calculates for each call."""

    sellers: "Sequence[Provider]"
    seller: "Provider"
    model: "ModelInfo"

    def parts(self, sale: Sale) -> dict[str, float] | None:
        """Return the parts of a cost; None where what is known of a call does not settle it."""
        usage = native(sale.usage)
        if not isinstance(usage, dict):
            usage = {}
        conditions = conditions_of(usage, sale.said)
        at = sale.at or datetime.now(UTC)
        parts: dict[str, float] = {}
        for number, (name, usage_of_request) in enumerate(requests_in(usage)):
            alone = "iterations" not in usage
            counts = sale.counts if alone else counts_of(usage_of_request)
            units = units_of(self.seller, usage_of_request, counts)
            if number == 0:
                units |= sale.searches
            model = self.model if name is None else self._other(name)
            used = _Used(units, counts, conditions, at)
            more = None if model is None else _calculated(self.seller, model, used)
            if more is None:
                return None
            for part, usd in more.items():
                parts[part] = parts.get(part, 0.0) + usd
        return parts

    def _other(self, name: str) -> "ModelInfo | None":
        offer = find_offer(self.sellers, self.seller.id, name, None)
        return None if offer is None else offer[1]


def _calculated(seller: "Provider", model: "ModelInfo", used: _Used) -> dict[str, float] | None:
    """Let the library calculate what one request cost; None where that is not certain."""
    from genai_prices.types import Usage

    if not _has_prices_for(used, seller, model):
        return None
    prices = listed_prices(model.get_prices(used.at, used.conditions or None))
    if not prices:
        # an empty sheet may mean free, withdrawn or unlisted
        return {"input": 0.0, "output": 0.0} if model.id.endswith(":free") else None
    try:
        if not _is_settled(prices, used.units, used.counts):
            return None
        usage = Usage(**used.units)
        bill = model.calc_price(
            usage,
            seller,
            genai_request_timestamp=used.at,
            price_context=used.conditions or None,
        )
        parts = _parts_of(prices, usage, used.units.get("input_tokens", 0))
    except (ArithmeticError, KeyError, ValueError) as error:
        let_through(error)  # else more of a part than of the whole, or a price of a new kind
        return None
    total = float(bill.total_price)
    rest = total - math.fsum(parts.values())
    if abs(rest) > 1e-9 * total:
        parts["other"] = rest  # Groq's shortest time, say
    return parts


def _has_prices_for(used: _Used, seller: "Provider", model: "ModelInfo") -> bool:
    """Tell whether the seller lists a price of the model for each condition it was sold at."""
    if not used.conditions:
        return True
    if not any(model is listed for listed in seller.models):
        return False  # its maker's, which the library would take at the standard price
    listed = [
        variant.when
        for variant in model.price_variants or ()
        if variant.constraint is None or variant.constraint.active(used.at)
    ]
    return all({name: word} in listed for name, word in used.conditions.items())


def _is_settled(prices: Mapping[str, Any], units: Units, counts: Mapping[str, int]) -> bool:
    """Tell whether what is known of a call settles its price."""
    priced = [registry().unit_for_price_key(name) for name in prices]
    if units.get("web_searches") and "web_searches_kcount" not in prices:
        return False
    by_token = {unit.usage_key for unit in priced if unit.dimensions["family"] == "tokens"}
    if by_token and not _tokens_settle(by_token, units, counts):
        return False
    otherwise = {u.usage_key for u in priced if u.dimensions["family"] not in _BESIDE_OTHERS}
    return not otherwise or not units.keys().isdisjoint(otherwise)


def _tokens_settle(priced: set[str], units: Units, counts: Mapping[str, int]) -> bool:
    sums = token_counts(counts, output_costs="output_tokens" in priced)
    if sums is None:
        return False
    prompt, completion, _, _ = sums
    if (prompt and "input_tokens" not in priced) or (completion and "output_tokens" not in priced):
        return False
    if not priced & _OUTPUT_KINDS <= units.keys():
        return False
    dearer_output = not priced.isdisjoint(_OUTPUT_MODALITIES)
    return not (dearer_output and completion and units.keys().isdisjoint(_OUTPUT_MODALITIES))


def _parts_of(prices: Mapping[str, Any], usage: "Usage", prompt: float) -> dict[str, float]:
    from genai_prices.decompose import compute_leaf_values
    from genai_prices.types import calc_unit_price

    priced = [(registry().unit_for_price_key(name), price) for name, price in prices.items()]
    keys = {unit.usage_key: unit for unit, _ in priced if unit.usage_key != "requests"}
    counts = {"requests": 1} | compute_leaf_values(set(keys), usage, keys)
    parts: dict[str, float] = {}
    for unit, price in priced:
        usd = calc_unit_price(price, counts[unit.usage_key], prompt, unit.per)
        if usd:
            name = _part(unit)
            parts[name] = parts.get(name, 0.0) + float(usd)
    return parts or {"input": 0.0}


def _part(unit: "UnitDef") -> str:
    """Name the part of a cost that a unit belongs to, such as "cached" or "output_audio"."""
    dimensions = unit.dimensions
    if unit.usage_key in _PART_BY_UNIT or dimensions["family"] != "tokens":
        return _PART_BY_UNIT.get(unit.usage_key, unit.usage_key)
    kinds = {"cache_read": "cached", "cache_write": "written"}
    name = kinds.get(dimensions.get("token_type", ""), dimensions["direction"])
    modality = dimensions.get("modality", "text")
    return name if modality == "text" else f"{name}_{modality}"

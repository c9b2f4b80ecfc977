"""What real calls cost by us is what the library makes of the same responses."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outcome_fields import response_fields

from llm_audit.prices import Sale, price_list
from llm_audit.prices.conditions import conditions_of
from llm_audit.prices.price_list import list_cost
from llm_audit.prices.units import is_plain

TRAFFIC = Path(__file__).parents[3] / "shared" / "traffic"
FILES = ("openllmetry", "pydantic-ai", "logfire")

# Where the library's own extractors see less than there is, by the seller and what it is.
SEEN_BY_US_ALONE = {
    "cohere": "Chat version 1 has its counts under meta, which the library reads for embeddings",
    "mistral": "num_cached_tokens",
    "aws": "Responses, which the library does not know there",
    "anthropic": "requests behind a response: advisors",
    "openai": "searches that stand among the items of a response",
}


@pytest.fixture(scope="module")
def calls() -> list[tuple[dict[str, Any], dict[str, Any], Sale]]:
    """Give the recorded calls that reported a usage: the record, what we store, and its sale."""
    if not TRAFFIC.is_dir():
        pytest.skip(f"the recorded traffic is not at {TRAFFIC}")
    return list(_calls())


def _calls() -> Iterator[tuple[dict[str, Any], dict[str, Any], Sale]]:
    for name in FILES:
        for line in (TRAFFIC / f"{name}.jsonl").read_text("utf-8").split("\n"):
            record = json.loads(line) if line else {}
            body = record.get("response")
            if record.get("status") != 200 or not isinstance(body, dict):
                continue
            request = record["request"] or {}
            asked = (record["provider"], request.get("model") or record["model"])
            fields = response_fields(body, {}, None, None, asked)
            if fields.get("usage"):
                sale = Sale.of(fields, fields.get("response_extra") or {}, asked)
                yield record, fields, sale


def test_most_calls_have_a_cost(calls: list[Any]) -> None:
    """Nine in ten have one; its parts add up to it."""
    costs = [fields for _, fields, _ in calls if "estimated_cost" in fields]

    assert len(costs) > 0.9 * len(calls)
    assert all(
        fields["estimated_cost"] == math.fsum(fields["cost_details"].values()) for fields in costs
    )


def test_the_fast_path_is_the_librarys_calculation(calls: list[Any]) -> None:
    """For every call that is priced by plain rates, the library calculates the same."""
    wrong, plain = [], 0
    for record, _, sale in calls:
        price = price_list._price_of(*sale[:3])
        cost = list_cost(sale)
        if price.library is None or price.rates is None or cost is None:
            continue
        if not is_plain(sale.usage) or conditions_of(sale.said):
            continue
        plain += 1
        parts = price.library.parts(sale)
        if parts is None or math.fsum(parts.values()) != pytest.approx(cost.usd, rel=1e-12):
            wrong.append((record["id"], sale.usage, cost, parts))

    assert wrong == []
    assert plain > 600


def test_the_library_reads_the_same_out_of_the_responses(calls: list[Any]) -> None:
    """The library's own extraction from the body gives the same cost, where it can read it."""
    outcome: Counter[str] = Counter()
    wrong = []
    for record, _, sale in calls:
        library = price_list._price_of(*sale[:3]).library
        cost = list_cost(sale)
        if library is None or cost is None:
            continue
        references = set(reference_usds(library, record["response"], sale))
        if not references:
            outcome["no reference"] += 1
        elif any(usd == pytest.approx(cost.usd, rel=1e-9) for usd in references):
            outcome["equal"] += 1
        elif library.seller.id in SEEN_BY_US_ALONE:
            outcome["seen by us alone"] += 1
        else:
            wrong.append((record["id"], sale.usage, cost, references))

    assert wrong == []
    assert outcome["equal"] > 700
    assert outcome["seen by us alone"] < 40


def reference_usds(library: Any, body: dict[str, Any], sale: Sale) -> Iterator[float]:
    """Yield what the library makes of a body by each of its extractors that can read it."""
    context = conditions_of(sale.usage, sale.said) or None
    for extractor in library.seller.extractors or ():
        try:
            _, usage = extractor.extract(body)
            bill = library.model.calc_price(usage, library.seller, price_context=context)
        except (ValueError, TypeError, AttributeError):
            continue  # another API's
        yield float(bill.total_price)

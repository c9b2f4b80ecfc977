import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import genai_prices
import pytest
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from patience import share

from llm_audit.prices import Cost, Sale, price_list
from llm_audit.prices.calculation import LibraryPrice
from llm_audit.prices.plain_rates import plain_rates
from llm_audit.prices.price_list import list_cost
from llm_audit.providers.usage import read_usage

VERSION = genai_prices.__version__
SNAPSHOT = get_snapshot()
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
CACHED = {**USAGE, "cached_tokens": 600, "cache_write_tokens": 300, "reasoning_tokens": 200}
EMBEDDED = {"prompt_tokens": 1000, "total_tokens": 1000}
LIBRARY_NAMES = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "cached_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
}
EVERY_MODEL = [(provider, model) for provider in SNAPSHOT.providers for model in provider.models]


@pytest.fixture(autouse=True)
def prices() -> Iterator[None]:
    """Leave the library's own prices in force after each test."""
    yield
    set_custom_snapshot(None)


def sale_of(provider: Any, model: Any, usage: dict[str, Any], answered: Any = None) -> Sale:
    return Sale(provider, model, answered, usage, read_usage(usage), {}, {})


def estimate_cost(provider: Any, model: Any, usage: dict[str, Any]) -> Cost | None:
    return list_cost(sale_of(provider, model, usage))


def library_usd(provider: Provider, model: ModelInfo, usage: dict[str, int]) -> float:
    """Return what the library itself says that a call costs now."""
    counts = {LIBRARY_NAMES[name]: n for name, n in usage.items() if name in LIBRARY_NAMES}
    return float(model.calc_price(counts, provider).total_price)


def price_names(model: ModelInfo) -> set[str]:
    sheet = model.get_prices(datetime.now(UTC))
    return {name for name, price in vars(sheet).items() if price is not None}


def tier_starts(model: ModelInfo) -> set[int]:
    sheet = model.get_prices(datetime.now(UTC))
    return {
        tier.start
        for price in vars(sheet).values()
        if isinstance(price, TieredPrices)
        for tier in price.tiers
    }


def billed_usd(provider: Provider, model: ModelInfo, usage: dict[str, int]) -> float | None:
    """Estimate a model's cost without looking it up by name."""
    sale = sale_of(provider.id, model.id, usage)
    rates = plain_rates(model)
    if rates is not None and usage["prompt_tokens"] <= rates.largest_prompt:
        parts = rates.parts(sale.counts)
    else:
        parts = LibraryPrice(SNAPSHOT.providers, provider, model).parts(sale)
    return None if parts is None else sum(parts.values())


def is_settled_by_counts(model: ModelInfo) -> bool:
    """Tell whether the counts that we have settle a model's price."""
    names = price_names(model)
    if not names:
        return model.id.endswith(":free")
    of_output = {name for name in names if name.startswith("output_")}
    by_something_else = {n for n in names if not n.endswith(("_mtok", "requests_kcount"))}
    fees = {"web_searches_kcount", "storage_searches_kcount"}
    return by_something_else <= fees and of_output <= {"output_mtok", "output_reasoning_mtok"}


def usages_for(model: ModelInfo) -> list[dict[str, int]]:
    """Return usages that a model may report, with prompts at and above each of its tiers."""
    names = price_names(model)
    usages = [CACHED]
    if "output_reasoning_mtok" not in names:
        usages.append(USAGE)
    if names and "output_mtok" not in names:
        usages = [EMBEDDED]
    sizes = {name: count for name, count in usages[0].items() if name != "total_tokens"}
    starts = sorted(tier_starts(model))
    return usages + [{**sizes, "prompt_tokens": n} for start in starts for n in (start, start + 1)]


def use_prices(*models: ModelInfo) -> None:
    """Put prices in force as an update would bring them: one seller, "shop", with these models."""
    shop = Provider(id="shop", name="Shop", api_pattern="", models=list(models))
    set_custom_snapshot(DataSnapshot(providers=[shop], from_auto_update=True))


def model_at(price: ModelPrice | list[ConditionalPrice], name: str = "m") -> ModelInfo:
    return ModelInfo(id=name, match=ClauseEquals(name), prices=price)


def usd_per_input_token(usd: int) -> ModelPrice:
    return ModelPrice(input_mtok=Decimal(usd * 1_000_000), output_mtok=Decimal(0))


@pytest.mark.many
def test_every_listed_model_costs_what_the_library_says() -> None:
    """For every model whose price the counts settle, our figure is the library's at each tier."""
    wrong = [
        (provider.id, model.id, usage)
        for provider, model in share(EVERY_MODEL, 4)
        if is_settled_by_counts(model)
        for usage in usages_for(model)
        if billed_usd(provider, model, usage)
        != pytest.approx(library_usd(provider, model, usage), rel=1e-12, abs=0)
    ]

    assert wrong == []


def test_a_model_whose_price_the_counts_do_not_settle_has_no_cost() -> None:
    """By the hour, page or character, with split output prices, or unlisted: no figure at all."""
    unsettled = [(p, m) for p, m in EVERY_MODEL if not is_settled_by_counts(m)]
    priced = [
        (provider.id, model.id)
        for provider, model in unsettled
        if billed_usd(provider, model, CACHED) is not None
    ]

    assert priced == []
    assert 0 < len(unsettled) < len(EVERY_MODEL) / 10


def test_most_models_pay_no_calculation() -> None:
    """Rates are kept for all models but those whose price depends on the time."""
    kept = [plain_rates(model) for _, model in EVERY_MODEL]

    assert sum(rates is not None for rates in kept) > len(EVERY_MODEL) * 0.9


@pytest.mark.many
def test_every_listed_model_is_found_by_its_name() -> None:
    """A model asked for by its listed id at its seller has that seller's price, and says so."""
    wrong = []
    for provider, model in share(EVERY_MODEL, 4, 1):
        if provider.find_model(model.id) is not model or not is_settled_by_counts(model):
            continue
        usage = usages_for(model)[0]
        source = f"genai-prices {VERSION}: {provider.id}/{model.id}"
        usd = pytest.approx(billed_usd(provider, model, usage), rel=1e-12)
        found = estimate_cost(provider.id, model.id, usage)
        if found is None or found.usd != usd or found.source != source:
            wrong.append((provider.id, model.id))

    assert wrong == []


@pytest.mark.parametrize(
    ("provider", "model", "listed"),
    [
        ("openai", "gpt-4", "openai/gpt-4"),
        ("OpenAI", "GPT-4", "openai/gpt-4"),
        ("openai", "gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("openai", "openai/gpt-4", "openai/gpt-4"),
        ("openrouter", "openai/gpt-4o", "openrouter/openai/gpt-4o"),
        ("openrouter", "gpt-4", "openrouter/openai/gpt-4"),
        ("openrouter", "gpt-3.5-turbo", "openrouter/openai/gpt-3.5-turbo"),
        ("anthropic", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5"),
        ("azure", "gpt-4o", "azure/gpt-4o"),
        ("azure", "azure/gpt-4o", "azure/gpt-4o"),
        ("gemini", "gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("gemini", "models/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("vertex", "publishers/google/models/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("bedrock", "amazon.nova-lite-v1:0", "aws/amazon.nova-lite-v1:0"),
        ("litellm", "openai/gpt-4o", "openai/gpt-4o"),
        (None, "gpt-4", "openai/gpt-4"),
        (None, "openai/gpt-4", "openai/gpt-4"),
    ],
)
def test_the_spellings_of_a_model(provider: str | None, model: str, listed: str) -> None:
    """A model is found as its users spell it, in the price list of the one who sells it."""
    cost = estimate_cost(provider, model, USAGE)

    assert cost is not None
    assert cost[1] == f"genai-prices {VERSION}: {listed}"


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-999"),
        ("openai", "gpt-4-banana"),
        ("openrouter", "gpt-4-banana"),
        ("my-own-server", "gpt-4"),
        ("ollama", "llama3"),
        ("openai", "anthropic/claude-sonnet-4-5"),
        ("azure", "my-deployment"),
        (None, "banana"),
        (None, "meta-llama/llama-3"),
        ("", ""),
        ("openai", None),
        (None, None),
        ("openai", ["gpt-4"]),
        (7, "gpt-4"),
    ],
    ids=repr,
)
def test_what_is_not_known_has_no_cost(provider: Any, model: Any) -> None:
    """A model that its provider does not list has no cost, rather than another one's."""
    assert estimate_cost(provider, model, USAGE) is None


def test_a_name_that_two_vendors_share_has_no_cost() -> None:
    """A model named without its vendor has a price only where one vendor has such a model."""
    use_prices(
        model_at(usd_per_input_token(1), "acme/large"),
        model_at(usd_per_input_token(2), "bolt/large"),
        model_at(usd_per_input_token(3), "bolt/small"),
    )

    assert estimate_cost("shop", "large", EMBEDDED) is None
    assert usd_at_shop("small") == 3000


@pytest.mark.parametrize(
    "usage",
    [
        {"total_tokens": 1500},
        {"prompt_tokens": 1000},
        {"completion_tokens": 500, "total_tokens": 1500},
        {"prompt_tokens": 1000, "total_tokens": 1500},
        {**USAGE, "total_tokens": 1600},
        {**USAGE, "cached_tokens": 1001},
        {**USAGE, "cached_tokens": 600, "cache_write_tokens": 401},
        {},
    ],
    ids=[
        *("total-only", "input-only", "no-input", "no-output", "hidden-tokens"),
        *("cached-above-input", "written-above-input", "nothing"),
    ],
)
@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-4"), ("deepseek", "deepseek-chat")],
    ids=["plain-rates", "by-the-library"],
)
def test_counts_that_do_not_add_up_have_no_cost(
    provider: str, model: str, usage: dict[str, int]
) -> None:
    """Where input and output are not both known, or tokens are missing from them, is no cost."""
    assert estimate_cost(provider, model, USAGE) is not None
    assert estimate_cost(provider, model, usage) is None


def test_an_output_that_the_total_rules_out_is_nothing() -> None:
    """A missing output counts as 0 where the input is the total, or the model has no output."""
    nothing_said = {**EMBEDDED, "completion_tokens": 0}

    assert estimate_cost("openai", "gpt-4", EMBEDDED) == estimate_cost(
        "openai", "gpt-4", nothing_said
    )
    assert estimate_cost("cohere", "embed-v4.0", {"prompt_tokens": 1000}) == estimate_cost(
        "cohere", "embed-v4.0", nothing_said
    )


def test_newer_prices_replace_the_kept_ones() -> None:
    """When the library has fetched newer prices, they apply at once, and the source is dated."""
    use_prices(model_at(usd_per_input_token(1)))
    first = estimate_cost("shop", "m", EMBEDDED)
    use_prices(model_at(usd_per_input_token(2)))
    second = estimate_cost("shop", "m", EMBEDDED)

    source = f"genai-prices of {get_snapshot().timestamp:%Y-%m-%d}: shop/m"
    assert first is not None
    assert second is not None
    assert (first[:2], second[:2]) == ((1000, source), (2000, source))


def test_a_price_by_the_time_of_day_applies_in_its_hours() -> None:
    """Of a peak and an off-peak price, the one of this hour applies."""
    now = datetime.now(UTC)
    hours = [(now + timedelta(hours=h)).time().replace(tzinfo=UTC) for h in (-2, 2, 4)]
    use_prices(
        model_at(
            [
                ConditionalPrice(prices=usd_per_input_token(1)),
                ConditionalPrice(
                    TimeOfDateConstraint(hours[0], hours[1]), prices=usd_per_input_token(2)
                ),
                ConditionalPrice(
                    TimeOfDateConstraint(hours[1], hours[2]), prices=usd_per_input_token(3)
                ),
            ]
        )
    )

    assert usd_at_shop("m") == 2000


def test_a_price_that_begins_later_is_not_kept() -> None:
    """A model whose price will change costs today's price, and is asked for anew each time."""
    today = datetime.now(UTC).date()
    model = model_at(
        [
            ConditionalPrice(prices=usd_per_input_token(1)),
            ConditionalPrice(StartDateConstraint(date(2020, 1, 1)), prices=usd_per_input_token(2)),
            ConditionalPrice(
                StartDateConstraint(today + timedelta(days=2)), prices=usd_per_input_token(3)
            ),
        ]
    )
    use_prices(model)

    assert usd_at_shop("m") == 2000
    assert plain_rates(model) is None


def usd_at_shop(model: str) -> float:
    cost = estimate_cost("shop", model, EMBEDDED)
    assert cost is not None
    return cost[0]


def test_the_prices_are_loaded_at_the_first_estimate_only() -> None:
    """Importing the module does not import the library, whose price list takes long to load."""
    code = "import sys, llm_audit.prices; print('genai_prices' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout == "False\n"


def test_threads_agree() -> None:
    """Many threads that ask at once for models not asked for before get the same figures."""
    models = [("openai", "gpt-4"), ("openrouter", "gpt-4"), ("deepseek", "deepseek-chat")] * 20
    price_list._price_of.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        costs = list(pool.map(lambda named: estimate_cost(named[0], named[1], USAGE), models))

    assert costs == costs[:3] * 20
    assert None not in costs


def test_memory_is_bounded() -> None:
    """Names without end, as a broken caller may send them, do not fill the memory."""
    snapshot = get_snapshot()
    kept_by_library = len(snapshot._lookup_cache), len(snapshot._provider_misses)
    for number in range(1500):
        estimate_cost("anthropic", f"made-up-{number}", USAGE)

    assert price_list._price_of.cache_info().currsize <= 1024
    assert (len(snapshot._lookup_cache), len(snapshot._provider_misses)) == kept_by_library


def test_reasoning_at_a_price_of_its_own_has_to_be_counted() -> None:
    """Where reasoning is cheaper than other output, a call has a cost only if it was counted."""
    use_prices(
        model_at(
            ModelPrice(
                input_mtok=Decimal(0),
                output_mtok=Decimal(8_000_000),
                output_reasoning_mtok=Decimal(3_000_000),
            )
        )
    )
    counted = estimate_cost("shop", "m", {**USAGE, "reasoning_tokens": 200})

    assert counted is not None
    assert counted[0] == 300 * 8 + 200 * 3
    assert estimate_cost("shop", "m", USAGE) is None

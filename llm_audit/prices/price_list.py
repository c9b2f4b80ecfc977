"""The public price list: the genai-prices library, applied to what a call used.

The library's own reading and calculation take some 200 µs. So plain rates per token are kept, and
applied here to calls that used nothing but text tokens at the standard tier; all others, prompts
above a price tier, and prices that depend on the time, pay for it.

Thread-safe: the only shared state is an `lru_cache`; at worst two threads look up the same price.
"""

import os
from collections.abc import Callable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from llm_audit.errors import let_through, log_once
from llm_audit.prices.calculation import LibraryPrice
from llm_audit.prices.conditions import conditions_of
from llm_audit.prices.cost import Cost, Sale
from llm_audit.prices.plain_rates import PlainRates, plain_rates
from llm_audit.prices.sellers import find_offer
from llm_audit.prices.units import is_plain
from llm_audit.runtime.forks import OwnLock

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot


def list_cost(sale: Sale) -> Cost | None:
    """Return what a call cost by the price list.

    The first call in a process loads the price list, which takes about half a second.

    Returns:
        Its source is such as "genai-prices 0.2.3: openai/gpt-4". None where the price is not
        certain: an unknown seller, model or service tier; input and output not told apart; counts
        that do not add up (a total larger than its parts hides tokens); a model billed by the
        hour, page or character of which none are reported.
    """
    if not sale.usage:
        return None
    try:
        price = _price_of(sale.provider, sale.requested, sale.answered)
    except TypeError as error:  # a name that is none, a list say
        let_through(error)
        return None
    except ImportError as error:
        let_through(error)  # else a signal handler that records while its own thread imports them
        log_once("The price of a call is unknown: the price list is not loaded.")
        return None
    if price.snapshot is not _snapshot_getter()():  # genai_prices.UpdatePrices fetched newer ones
        _price_of.cache_clear()
        price = _price_of(sale.provider, sale.requested, sale.answered)
    if price.library is None:
        return None
    rates = price.rates
    if (
        rates is not None
        and sale.counts.get("prompt_tokens", 0) <= rates.largest_prompt
        and not sale.searches
        and (rates.since is None or sale.at is None or sale.at >= rates.since)
        and (sale.is_plain or is_plain(sale.usage))
        and not (sale.said and conditions_of(sale.said))
    ):
        parts = rates.parts(sale.counts)
    else:
        parts = price.library.parts(sale)
    return None if parts is None else Cost.of(parts, price.source)


class _Price(NamedTuple):
    """What a model costs; without `library`, nobody knows."""

    snapshot: "DataSnapshot"
    source: str = ""
    library: LibraryPrice | None = None
    rates: PlainRates | None = None


_loading = OwnLock()  # re-entrant: a signal handler may record in the middle of it


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
os.register_at_fork(before=_loading.acquire, after_in_parent=_loading.release)


@lru_cache(maxsize=1024)
def _price_of(provider: str | None, requested: str | None, answered: str | None) -> _Price:
    snapshot = _snapshot_getter()()  # first: only here anything is imported that is not yet
    from genai_prices import __version__

    if not all(name is None or isinstance(name, str) for name in (provider, requested, answered)):
        return _Price(snapshot)
    offer = find_offer(snapshot.providers, provider, requested, answered)
    if offer is None:
        return _Price(snapshot)
    seller, model = offer
    edition = f"of {snapshot.timestamp:%Y-%m-%d}" if snapshot.from_auto_update else __version__
    source = f"genai-prices {edition}: {seller.id}/{model.id}"
    library = LibraryPrice(snapshot.providers, seller, model)
    return _Price(snapshot, source, library, plain_rates(model))

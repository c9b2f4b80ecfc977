"""What a call cost, in USD, and who says so.

The first of these that knows it: the response's own bill (`billed`), the user's own prices
(`own`), the public price list (`price_list`), which finds the seller and the model (`sellers`), the
units that were used (`units`) and the conditions they were sold at (`conditions`).
"""

from llm_audit.prices.billed import billed_cost
from llm_audit.prices.cost import Cost, Sale
from llm_audit.prices.own import own_cost
from llm_audit.prices.price_list import list_cost, preload
from llm_audit.settings import get_settings

__all__ = ["Cost", "Sale", "cost_of", "preload"]


def cost_of(sale: Sale, *, without_bill: bool = False, without_own: bool = False) -> Cost | None:
    """Return what a call cost that ended as the sale says; None where nobody knows.

    Args:
        sale: What is known of it.
        without_bill: Whether a bill in the response counts for nothing.
        without_own: Whether the user's own prices here are not those of who made the call.
    """
    if not without_bill and (bill := billed_cost(sale)):
        return bill
    prices = None if without_own else get_settings().prices
    if prices is not None:
        is_own, cost = own_cost(prices, sale)
        if is_own:
            return cost
    return list_cost(sale)

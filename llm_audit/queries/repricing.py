"""What a stored call costs by today's prices, and how that is written over the old cost."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

from llm_audit import gate
from llm_audit.call import LLMCallStatusEnum, in_utc
from llm_audit.encoding.notes import Notes
from llm_audit.errors import let_through, log_once
from llm_audit.prices import Cost, Sale, cost_of
from llm_audit.prices.conditions import NAMES as CONDITIONS
from llm_audit.queries.filters import CallFilters, condition

Call: TypeAlias = Mapping[str, Any]  # a document

CALLER, BILLED = "caller", "billed"
_SAME = 1e-9  # of the amount: what adding up in another order may make
PREVIOUS = "previous"  # in cost_details: what a call was said to cost before, the oldest first

_OF_COST = ("estimated_cost", "cost_source", "cost_details")
_COUNTS = (
    *("prompt_tokens", "completion_tokens", "total_tokens"),
    *("cached_tokens", "cache_write_tokens", "reasoning_tokens"),
)
_BILLS = ("provider_metadata", "providerMetadata", "costDollars", "response_metadata")
SHOWN: dict[str, Any] = dict.fromkeys(
    (
        *("provider", "model", "response_model", "usage", "tools_called", "outcome_key"),
        *("response_message.output.type", "response_message.output.action.type"),
        "response_message.response_metadata",
        *(f"response_extra.{name}" for name in (*sorted(CONDITIONS), *_BILLS)),
        *("created_at", "completed_at", *_OF_COST, *_COUNTS),
    ),
    True,
)
"""The fields that are read of a call, as a projection."""


def calls_to_price(filters: CallFilters, also: frozenset[str]) -> dict[str, Any]:
    """Return the condition for the calls that have ended and whose cost may be computed again.

    Args:
        filters: Which calls.
        also: Of `CALLER` and `BILLED` those whose costs are not left alone.
    """
    spared: list[dict[str, Any]] = []
    if CALLER not in also:
        spared.append({"cost_source": {"$ne": CALLER}})
    if BILLED not in also:
        spared.append({"cost_source": {"$not": {"$regex": f"^{BILLED}: "}}})
    return {"$and": [condition(filters), {"status": {"$ne": LLMCallStatusEnum.PENDING}}, *spared]}


def cost_now(call: Call) -> Cost | None:
    """Compute a call's cost again, by the prices of the time at which it ended.

    Args:
        call: With the fields of `SHOWN`.
    """
    fields = dict(call)
    gate.fit(fields, Notes())  # what others have stored may hold anything
    at = fields.get("completed_at") or fields.get("created_at")
    asked = (fields.get("provider"), fields.get("model"))
    # a bill that was read already would only be read again
    billed = str(fields.get("cost_source")).startswith(f"{BILLED}: ")
    try:
        sale = Sale.of(fields, fields.get("response_extra", {}), asked, at and in_utc(at))
        return cost_of(sale, without_bill=billed)
    except Exception as error:  # noqa: BLE001  (a usage may hold anything)
        let_through(error)
        log_once(f"the cost of a call could not be computed: {type(error).__name__}")
        return None


def cost_before(call: Call) -> float | None:
    """Return what a call was said to cost."""
    usd = call.get("estimated_cost")
    return float(usd) if isinstance(usd, int | float) else None


def is_another(cost: Cost, before: float | None) -> bool:
    """Tell whether a cost is another amount than before, or there was none."""
    return before is None or abs(cost.usd - before) > _SAME * max(cost.usd, before)


def still_as_read(call: Call) -> dict[str, Any]:
    """Return the condition that a call has neither ended anew nor got another cost since."""
    names = ("_id", "outcome_key", "estimated_cost", "cost_source")
    return {name: call.get(name) for name in names}


def new_cost(call: Call, cost: Cost, now: datetime) -> dict[str, Any]:
    """Return the update that writes a cost over the old one, which stays beside it."""
    details = call.get("cost_details")
    parts = dict(details) if isinstance(details, dict) else {}
    earlier = parts.pop(PREVIOUS, None)
    history = earlier if isinstance(earlier, list) else []
    before = cost_before(call)
    if before is not None:
        old = {"estimated_cost": before, "cost_source": call.get("cost_source")}
        history = [*history, {**old, "cost_details": parts, "until": now}]
    details = {**cost.parts, PREVIOUS: history} if history else cost.parts
    fields = {"estimated_cost": cost.usd, "cost_source": cost.source, "cost_details": details}
    return {"$set": fields}

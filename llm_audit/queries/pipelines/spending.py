"""What calls used and cost."""

from typing import Unpack

from llm_audit.queries import grouping
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import GroupBy
from llm_audit.queries.pipelines.stages import Pipeline, costs, matching


def cost_summary(group_by: GroupBy = "model", **filters: Unpack[CallFilters]) -> Pipeline:
    """What did the calls of each model, user, day ... use and cost?

    Failed and running calls count too: what they cost is in, where it is known.

    Args:
        group_by: A field; `tag` counts a call once for each of its tags; `day` and `hour` are UTC.
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{group, calls, prompt_tokens, completion_tokens, total_tokens,
        cached_tokens, estimated_cost, calls_without_cost}`, dearest first, `day` and `hour`
        oldest first (see `CostSummary`). Index: that of a filter's field, else _id for dates, else
        none.
    """
    tokens = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")
    return [
        *matching(filters),
        *grouping.unwound(group_by),
        {
            "$group": {
                "_id": grouping.key(group_by),
                "calls": {"$sum": 1},
                **{name: {"$sum": f"${name}"} for name in tokens},
                **costs(),
            }
        },
        *grouping.named_and_sorted(group_by, {"estimated_cost": -1}),
    ]

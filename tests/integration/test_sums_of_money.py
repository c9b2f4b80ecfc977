"""Money is added up without drift: doubles, which MongoDB's `$sum` adds with what they lose."""

import math
from typing import Any

from pymongo.database import Database

from llm_audit import pipelines

ROWS = 1_000  # a million calls are as many times as many
# costs as they are: most are no multiple of a power of two, and few dwarf many
UNIT = {"$add": [1e-7, {"$multiply": [{"$mod": ["$n", 97]}, 1.37e-5]}]}
COST = {"$cond": [{"$eq": [{"$mod": ["$n", 9973]}, 0]}, 1234.56, UNIT]}


def python_cost(n: int) -> float:
    return 1234.56 if n % 9973 == 0 else 1e-7 + n % 97 * 1.37e-5


def test_a_million_costs_add_up(database: Database[dict[str, Any]]) -> None:
    """What a million calls cost is the exact sum, rounded once, in every summary by group."""
    made_up: list[dict[str, Any]] = [
        {"$documents": [{"row": {"$range": [0, ROWS]}}]},
        {"$unwind": "$row"},
        {"$set": {"column": {"$range": [0, ROWS]}}},
        {"$unwind": "$column"},
        {"$set": {"n": {"$add": [{"$multiply": ["$row", ROWS]}, "$column"]}}},
        {"$set": {"estimated_cost": COST, "model": {"$toString": {"$mod": ["$n", 3]}}}},
    ]
    summary = pipelines.cost_summary("model")
    assert "$match" in summary[0]  # for an index, which made-up calls do not have

    rows = database.aggregate([*made_up, *summary[1:]]).to_list()

    exact = [
        math.fsum(python_cost(n) for n in range(ROWS * ROWS) if n % 3 == int(row["group"]))
        for row in rows
    ]
    assert sum(row["calls"] for row in rows) == ROWS * ROWS
    assert [row["estimated_cost"] for row in rows] == exact

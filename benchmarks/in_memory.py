"""Which imitation of MongoDB answers our pipelines as MongoDB does; see docs/dependencies.md.

    uv run --with-editable '.[embedded]' --with mongomock --with mongomock-ng \
        python -m benchmarks.in_memory mongomock mongomock_ng

Each answer is the same, refused (an error), or different, which is the worst.
"""

import argparse
import math
import warnings
from collections import Counter
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, get_args

import pymongo

from llm_audit import embedded, pipelines
from llm_audit.queries.grouping import GroupBy

PIPELINES = {
    "calls_by_trace": pipelines.calls_by_trace("3"),
    "calls_by_task": pipelines.calls_by_task("task"),
    "tool_usage": pipelines.tool_usage(),
    "tool_usage of one": pipelines.tool_usage(tool="read"),
    "failure_summary": pipelines.failure_summary(),
    "failure_summary of none": pipelines.failure_summary(model="none"),
    **{f"cost_summary by {name}": pipelines.cost_summary(name) for name in get_args(GroupBy)},
    **{f"latency_summary by {name}": pipelines.latency_summary(name) for name in get_args(GroupBy)},
}
CALLS = [
    {
        "_id": f"{number:04d}",
        "created_at": datetime(2026, 5, 1, tzinfo=UTC) + timedelta(hours=number // 10),
        "status": ("SUCCESS", "SUCCESS", "ERROR", "PENDING")[number % 4],
        "model": ("gpt-4", "claude")[number % 2],
        "trace_id": str(number % 7),
        "tags": [[], ["rag"], ["rag", "hidden"]][number % 3],
        "tools_called": [[], ["read"], ["read", "search", "read"]][number % 3],
        "task": {"name": ("tasks.ask", "tasks.sum")[number % 2]},
        "latency_ms": float(number + number % 13),
        # of different exactly represented sums, so that no order of rows is left to rounding
        **({"estimated_cost": number / 1024} if number % 5 else {}),
        **({"error_message": "no", "error_type": "APIError"} if number % 4 == 2 else {}),  # noqa: PLR2004
    }
    for number in range(200)
]


def answers(client: Any) -> dict[str, Any]:
    """Ask everything of a server that holds the calls; an error is an answer, too."""
    calls = client["benchmark"]["calls"]
    calls.insert_many([dict(call) for call in CALLS])
    found = {}
    for name, pipeline in PIPELINES.items():
        try:
            found[name] = list(calls.aggregate(pipeline))
        except Exception as error:  # noqa: BLE001  (what it cannot do, it says in many ways)
            found[name] = error
    return found


def same(one: Any, other: Any) -> bool:
    """Compare answers, but for the last digits of a sum."""
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="+", help="modules with a MongoClient")
    engines = parser.parse_args().engines
    warnings.simplefilter("ignore")
    with embedded.Mongod() as server, pymongo.MongoClient(server.url, tz_aware=True) as client:
        expected = answers(client)
    for engine in engines:
        found = answers(import_module(engine).MongoClient(tz_aware=True))
        verdicts = Counter[str]()
        for name, answer in found.items():
            refused = isinstance(answer, Exception)
            verdict = "same" if same(expected[name], answer) else "different"
            verdicts["refused" if refused else verdict] += 1
            if verdict != "same":
                print(f"{engine}: {name}: {answer!r:.150}")
        print(f"{engine}: {len(found)} pipelines: {dict(verdicts)}")


if __name__ == "__main__":
    main()

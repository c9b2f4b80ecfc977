"""Which index serves a query, and what MongoDB reads for it."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field
from pymongo.collection import Collection


class Explanation(BaseModel):
    """How MongoDB ran a pipeline."""

    indexes: list[str] = Field(description="those that it found the calls by, each once")
    reads_all: bool = Field(description="whether it read the whole collection")
    keys_examined: int = Field(description="of these indexes")
    documents_examined: int
    returned: int = Field(description="rows of the answer")
    milliseconds: int


def explain(collection: Collection[dict[str, Any]], pipeline: list[dict[str, Any]]) -> Explanation:
    """Run a pipeline and tell how MongoDB found what it needs.

    Args:
        collection: Of calls.
        pipeline: Its stages.

    Returns:
        What it read, summed up over the shards where there are some.

    Raises:
        pymongo.errors.PyMongoError: MongoDB cannot be reached, or does not let us.
    """
    command = {"aggregate": collection.name, "pipeline": pipeline, "cursor": {}}
    answer = collection.database.command("explain", command, verbosity="executionStats")
    shards = list(answer["shards"].values()) if "shards" in answer else [answer]
    finds = [shard["stages"][0]["$cursor"] if "stages" in shard else shard for shard in shards]
    scans = [scan for find in finds for scan in _scans(find["queryPlanner"]["winningPlan"])]
    statistics = [find["executionStats"] for find in finds]
    return Explanation(
        indexes=list(dict.fromkeys(name for name in scans if name)),
        reads_all=None in scans,
        keys_examined=sum(each["totalKeysExamined"] for each in statistics),
        documents_examined=sum(each["totalDocsExamined"] for each in statistics),
        returned=sum(_returned(shard) for shard in shards),
        milliseconds=max(_milliseconds(shard) for shard in shards),
    )


def _scans(plan: dict[str, Any]) -> Iterator[str | None]:
    """Yield what a plan reads: the name of an index, or None for the whole collection."""
    stage = plan.get("stage", "")
    if stage == "COLLSCAN":
        yield None
    elif stage in {"IDHACK", "EXPRESS_IXSCAN"} or "indexName" in plan:
        yield plan.get("indexName", "_id_")
    for name in ("queryPlan", "inputStage", "outerStage", "innerStage"):
        if isinstance(plan.get(name), dict):
            yield from _scans(plan[name])
    for inner in plan.get("inputStages", ()):
        yield from _scans(inner)


def _returned(shard: dict[str, Any]) -> int:
    last = shard["stages"][-1] if "stages" in shard else shard["executionStats"]
    return int(last["nReturned"])


def _milliseconds(shard: dict[str, Any]) -> int:
    if "stages" not in shard:
        return int(shard["executionStats"]["executionTimeMillis"])
    cursor = shard["stages"][0].get("$cursor", {}).get("executionStats", {})
    # a stage's estimate has those before it in it, but for what another engine ran
    estimates = [int(stage.get("executionTimeMillisEstimate", 0)) for stage in shard["stages"]]
    return max(int(cursor.get("executionTimeMillis", 0)), *estimates)

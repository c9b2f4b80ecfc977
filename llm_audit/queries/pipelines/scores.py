"""What people and evaluators say of calls."""

from typing import Any, Unpack

from llm_audit.errors import UsageError
from llm_audit.queries import grouping
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import GroupBy
from llm_audit.queries.pipelines.stages import Pipeline, count_if, if_, is_number, matching

LABELS_MAX = 20  # of one group


def score_summary(
    name: str,
    group_by: GroupBy = "model",
    *,
    source: str | None = None,
    timezone: str = grouping.UTC,
    **filters: Unpack[CallFilters],
) -> Pipeline:
    """What do the scores of one name say of each model, task, day ...?

    Args:
        name: As given to `LLMLogger.score`.
        group_by: A field; `tag` counts a call once for each of its tags; or `hour`, `day`, `week`
            (from Monday) or `month`: of the call, not of the score.
        source: Only the scores of this one; None for those of all.
        timezone: Whose hours and days, an IANA name or an offset.
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{group, scores, yes, no, numbers, mean, least, most, labels: [{label,
        count}]}`, most scores first, time groups oldest first (see `ScoreSummary`). Index:
        scores.name.

    Raises:
        UsageError: An argument is wrong.
    """
    if not name:
        raise UsageError("name has to be the name of a score; it is empty.")
    by = {} if source is None else {"source": source}
    have_one: dict[str, Any] = {"scores": {"$elemMatch": {"name": name, **by}}}
    if "score" not in filters:
        have_one["scores.name"] = name  # for the index
    wanted = {f"scores.{field}": said for field, said in {"name": name, **by}.items()}
    value = "$scores.value"
    number = if_(is_number(value), value, None)
    sums = {field: {"$sum": f"${field}"} for field in ("scores", "yes", "no", "numbers", "total")}
    extremes = {"least": {"$min": "$least"}, "most": {"$max": "$most"}}
    label = {"label": "$_id.label", "count": "$scores"}
    return [
        *matching(filters, have_one),
        *grouping.unwound(group_by),
        {"$unwind": "$scores"},
        {"$match": wanted},
        {
            "$group": {
                "_id": {
                    "group": grouping.key(group_by, timezone),
                    "label": grouping.text_or_null(value),
                },
                "scores": {"$sum": 1},
                "yes": count_if({"$eq": [value, True]}),
                "no": count_if({"$eq": [value, False]}),
                "numbers": count_if(is_number(value)),
                "total": {"$sum": number},
                "least": {"$min": number},
                "most": {"$max": number},
            }
        },
        {"$sort": {"scores": -1, "_id.label": 1}},
        {
            "$group": {
                "_id": "$_id.group",
                **sums,
                **extremes,
                "labels": {"$push": if_({"$gt": ["$_id.label", None]}, label, "$$REMOVE")},
            }
        },
        {
            "$set": {
                "mean": if_({"$gt": ["$numbers", 0]}, {"$divide": ["$total", "$numbers"]}, None),
                "labels": {"$slice": ["$labels", LABELS_MAX]},
            }
        },
        {"$unset": "total"},
        *grouping.named_and_sorted(group_by, timezone, {"scores": -1}),
    ]

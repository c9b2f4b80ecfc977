"""What is said of a call later: as update pipelines, which give the same in any order.

    scores        of each name and source the one of the highest key; of all, the newest
    metadata      of each key what the highest annotation gave, else what the start has
    tags          those of the start; once there are others, all of them sorted, the last hundred

An `_id` is all that is known of the call: its start may be there already, or come later.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.int64 import Int64

from llm_audit.call import SCORES, TAGS
from llm_audit.encoding.moved import reference_in
from llm_audit.ids import created_at

TOO_MANY = f"scores: the newest {SCORES.items} are kept"
TOO_MANY_TAGS = f"tags: {TAGS.items} of them are kept"
LARGE_ANNOTATION = "annotation"  # the key that has an annotation which moved to GridFS whole
# So long after a call was made its start may still come, out of the journal of a process that had
# no MongoDB. Of an older call there is no document because it has been removed.
START_COMES_WITHIN = timedelta(days=7)

Expression = dict[str, Any]


def may_be_on_its_way(call_id: str, retention_days: float | None) -> bool:
    """Tell whether a call that is not in MongoDB may still come, or else has been removed.

    Args:
        call_id: The call.
        retention_days: How long calls are kept; None for ever.
    """
    created = created_at(call_id)
    if created is None:
        return False
    kept = START_COMES_WITHIN
    if retention_days is not None:
        kept = min(kept, timedelta(days=retention_days))
    return -START_COMES_WITHIN < datetime.now(UTC) - created < kept


def start_beside(fields: Mapping[str, Any], on_insert: Mapping[str, Any]) -> list[Expression]:
    """Return the update that adds a start to what may already have been said of its call.

    Args:
        fields: The start's.
        on_insert: What is set if there is no document yet.
    """
    beside: Expression = {}
    if "tags" in fields:
        tags = _literal(fields["tags"])
        is_all = {"$setIsSubset": [_list("$tags"), tags]}
        beside["tags"] = _if(is_all, tags, _united("$tags", tags))
    if "metadata" in fields:
        beside["metadata"] = {"$mergeObjects": [_literal(fields["metadata"]), _object("$metadata")]}
    stages = [_merged(on_insert, _literal(fields), beside)]
    return stages if "tags" not in fields else [*stages, _bounded_tags()]


def said_later(
    fields: Mapping[str, Any], key: int, on_insert: Mapping[str, Any]
) -> list[Expression]:
    """Return the update that adds what is said of a call later.

    Args:
        fields: `scores`, `tags` and `metadata`, as far as they are said.
        key: Its order.
        on_insert: What is set if there is no document yet.
    """
    added: Expression = {}
    if "scores" in fields:
        added["scores"] = "$scores"
        for score in fields["scores"]:
            added["scores"] = _with_score(added["scores"], score, key)
    if "tags" in fields:
        tags = _literal(fields["tags"])
        is_known = {"$setIsSubset": [tags, _list("$tags")]}
        added["tags"] = _if(is_known, "$tags", _united("$tags", tags))
    if "metadata" in fields:
        added |= _annotated(fields, key)
    stages = [_merged(on_insert, added)]
    if "scores" in fields:
        stages.append(_bounded("scores", SCORES.items, TOO_MANY))
    return stages if "tags" not in fields else [*stages, _bounded_tags()]


def _merged(on_insert: Mapping[str, Any], *fields: Expression) -> Expression:
    """Return the stage that adds fields to a document, which is new if it has no status."""
    is_new = {"$eq": [{"$type": "$status"}, "missing"]}
    defaults = _if(is_new, _literal(on_insert), {})
    return {"$replaceWith": {"$mergeObjects": [defaults, "$$ROOT", *fields]}}


def _with_score(scores: Any, score: Mapping[str, Any], key: int) -> Expression:
    """Return the expression for scores with one more, unless a later one says the same."""
    is_same = {
        "$and": [
            {"$eq": [f"$$this.{name}", _literal(score[name])]}
            if name in score
            else {"$eq": [{"$type": f"$$this.{name}"}, "missing"]}
            for name in ("name", "source")
        ]
    }
    kept = {
        "$filter": {
            "input": "$$said",
            "as": "this",
            "cond": {"$or": [{"$not": is_same}, {"$gt": ["$$this.key", Int64(key)]}]},
        }
    }
    # nothing of the same name and source is kept, unless it is later
    is_superseded = {"$anyElementTrue": {"$map": {"input": "$$kept", "as": "this", "in": is_same}}}
    said = {"$concatArrays": ["$$kept", [_literal(score)]]}
    oldest_first = {"$sortArray": {"input": said, "sortBy": {"key": 1}}}
    chosen = {"$let": {"vars": {"kept": kept}, "in": _if(is_superseded, "$$said", oldest_first)}}
    return {"$let": {"vars": {"said": _list(scores)}, "in": chosen}}


def _bounded(name: str, most: int, note: str) -> Expression:
    """Return the stage that keeps the last of a list where they are too many, and notes it."""
    too_many = {"$gt": [{"$size": _list(f"${name}")}, most]}
    noted = {"$setUnion": [_list("$encoding_notes"), [note]]}
    return {
        "$set": {
            name: _if(too_many, {"$slice": [f"${name}", -most]}, f"${name}"),
            "encoding_notes": _if(too_many, noted, "$encoding_notes"),
        }
    }


def _annotated(fields: Mapping[str, Any], key: int) -> Expression:
    """Return metadata with what is given later, but for keys that were given again after that."""
    metadata = fields["metadata"]
    if reference_in(dict(metadata)):  # it is too large, and has moved to GridFS whole
        metadata = {LARGE_ANNOTATION: metadata}
    names = list(metadata)
    known = _list("$annotations")
    is_ours = {"$in": ["$$this.name", _literal(names)]}
    is_newer = {"$and": [is_ours, {"$gt": ["$$this.key", Int64(key)]}]}
    newer = {
        "$map": {
            "input": {"$filter": {"input": known, "as": "this", "cond": is_newer}},
            "as": "this",
            "in": "$$this.name",
        }
    }

    def without_newer(items: list[Any], name: str) -> Expression:
        is_last = {"$not": {"$in": [f"$$this.{name}", newer]}}
        return {"$filter": {"input": _literal(items), "as": "this", "cond": is_last}}

    pairs = [{"k": name, "v": metadata[name]} for name in names]
    given = {"$arrayToObject": without_newer(pairs, "k")}
    is_kept = {"$or": [{"$not": is_ours}, {"$gt": ["$$this.key", Int64(key)]}]}
    others = {"$filter": {"input": known, "as": "this", "cond": is_kept}}
    annotations = [{"name": name, "key": Int64(key)} for name in names]
    said = {"$concatArrays": [others, without_newer(annotations, "name")]}
    return {
        "metadata": {"$mergeObjects": [_object("$metadata"), given]},
        "annotations": {"$sortArray": {"input": said, "sortBy": {"key": 1, "name": 1}}},
    }


def _bounded_tags() -> Expression:
    # sorted by then, so that the same ones stay in whatever order they were given
    return _bounded("tags", TAGS.items, TOO_MANY_TAGS)


def _united(tags: str, more: Expression) -> Expression:
    united = {"$setUnion": [_list(tags), more]}
    return {"$sortArray": {"input": united, "sortBy": 1}}


def _list(value: Any) -> Expression:
    return _if({"$isArray": [value]}, value, [])


def _object(field: str) -> Expression:
    return _if({"$eq": [{"$type": field}, "object"]}, field, {})


def _if(test: Expression, then: Any, otherwise: Any) -> Expression:
    return {"$cond": [test, then, otherwise]}


def _literal(value: Any) -> Expression:
    return {"$literal": value}  # nothing in it is an expression

"""What a server says of an error, without what it may quote: recorded content, ids, credentials."""

import re
from collections.abc import Mapping
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from llm_audit.store.answers.codes import describe

_TEXT_MAX = 200
_FEW = 2  # words that say something
_WORD = re.compile(r"[\w$.]+")
_OPERATOR = re.compile(r"\$\w+")
_REST = re.compile(r"[{\[\\]")  # from here on it quotes commands and documents

# Words of the sentences in which servers refuse something: any other may be a value.
_PLAIN = frozenset(
    _WORD.findall("""
    a accumulator aggregate aggregation all allow allowed allows an and any are argument array
    as at atlas authorized available be because bulkwrite by can cannot cluster clusters cmd
    cmd_not_allowed collection collmod collstats command composite compound config connection
    corresponding create createindexes currently database delete deployment details disable disk
    do does doesn don dots driver dropindexes enable enabled engine equivalent error excluded
    execute expected explain expression expressions failed false feature field fields find
    findandmodify for found function has have hello implemented in index indexes insert instead
    invalid is ismaster isn it item key keys large limit limited list listcollections
    listindexes maximum missing mongodb more multiple must name native need needs nested newer
    no not number numbers object of older on only operation operations operator option options
    or order out parameter path paths pipeline please prefixed query rate replica request
    required requires retry retryable retryafterms retrywrites search served server session set
    sort space specific specification specified specifying stage stages storage string such
    support supported supports syntax t text than that the this tier to too transaction
    transactions true type unable unknown unless unrecognized unsupported until update updates
    use used user using value version versions view views when wildcard with without write
    writes wrong yet you
    """)
)
# Names of MongoDB's own, as they are written in commands.
_NAMES = frozenset(
    _WORD.findall("""
    storageEngine partialFilterExpression expireAfterSeconds sparse unique hidden weights
    default_language language_override collation hint txnNumber lsid writeConcern readConcern
    update.updates.u u q j w _ts _id viewOn wiredTiger block_compressor arrayFilters upsert BSON
    """)
)
# Operators and stages: not every name with a $, as a key in a call may have one.
_OPERATORS = frozenset(
    _OPERATOR.findall("""
    $add $addToSet $and $anyElementTrue $arrayToObject $avg $binarySize $bucketAuto $collStats
    $concatArrays $cond $count $currentDate $dateToString $dateTrunc $divide $documentNumber
    $documents $each $elemMatch $eq $exists $expr $facet $filter $first $floor $graphLookup
    $group $gt $gte $ifNull $in $inc $indexStats $isArray $isNumber $last $let $limit $literal
    $ln $lookup $lt $lte $map $match $max $median $merge $mergeObjects $min $minN $multiply $ne
    $nin $not $objectToArray $or $out $percentile $project $pull $push $range $reduce $regex
    $regexMatch $replaceWith $sample $search $set $setIsSubset $setOnInsert $setUnion
    $setWindowFields $size $slice $sort $sortArray $sortByCount $subtract $sum $switch $text
    $toDate $type $unionWith $unset $unwind
    """)
)


def text_of(error: OperationFailure) -> str:
    """Return what the server says, which may quote anything."""
    details: Mapping[str, Any] = error.details or {}
    return " ".join(str(details.get("errmsg", "")).split())


def told(error: PyMongoError, *, of_ours: bool = False) -> str:
    """Name an error in the server's own words, with dots for those that may be a value.

    Args:
        error: What the driver has raised.
        of_ours: The command was ours to the last word: no call in it, and nothing that was asked.
    """
    named = describe(error)
    if not isinstance(error, OperationFailure) or error.code is None:
        return named
    text = _REST.split(text_of(error), maxsplit=1)[0]
    kept = (text if of_ours else _WORD.sub(_or_dots, text))[:_TEXT_MAX].strip(" :,;")
    words = [word for word in _WORD.findall(kept) if word.strip(".")]
    return f"{named}: {kept}" if len(words) >= _FEW else named


def _or_dots(word: re.Match[str]) -> str:
    found = word[0].rstrip(".")
    is_known = found.lower() in _PLAIN or found in _NAMES or found in _OPERATORS
    return word[0] if is_known else "..."

"""What a server says of an error, without what it may quote: recorded content, ids, credentials."""

import re
from collections.abc import Mapping
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from llm_audit.store.codes import describe

_TEXT_MAX = 200
_FEW = 2  # words that say something
_WORD = re.compile(r"[\w$.]+")
_REST = re.compile(r"[{\[\\]")  # from here on it quotes commands and documents

# Words of the sentences in which servers refuse something: any other may be a value.
_PLAIN = frozenset(
    _WORD.findall("""
    a aggregation all allowed an and any are argument array as at atlas authorized available be
    because by can cannot collection command compound config connection create currently
    database deployment details disable disk does driver engine equivalent error execute
    expected expression failed false feature field fields for found function has have
    implemented in index indexes invalid is it key keys large limit limited list maximum missing
    mongodb more multiple must name native no not number numbers object of on only operation
    operations operator option options or order out parameter path paths pipeline please query
    rate replica request required requires retry retryable retryafterms retrywrites server
    session set space specification specified specifying stage stages storage string such
    support supported supports syntax text than that the this tier to too transaction true type
    unable unknown unrecognized unsupported update updates use used user using value version
    view views when wildcard with without write writes wrong yet you
    aggregate collmod collstats createindexes delete dropindexes explain find findandmodify insert
    listcollections listindexes cmd_not_allowed
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
_OPERATOR = re.compile(r"\$\$?[a-z]+[A-Z]?[A-Za-z]*")


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
    is_known = found.lower() in _PLAIN or found in _NAMES or _OPERATOR.fullmatch(found)
    return word[0] if is_known else "..."

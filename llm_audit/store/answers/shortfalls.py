"""What a server that is nearly MongoDB refuses for good: how it is known, told and remembered.

DocumentDB, Cosmos DB, FerretDB and the small tiers of Atlas refuse single things, each with codes
and texts of its own. Recording goes on without them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from llm_audit.errors import log_once
from llm_audit.store.answers.codes import UNAUTHORIZED, only_this_is_refused
from llm_audit.store.answers.server_words import text_of, told

# What is not there: CommandNotFound, CommandNotSupported, NotImplemented, three of DocumentDB's,
# AtlasError, and what MongoDB says of operators, stages and accumulators that it does not know.
_CODES = frozenset({59, 115, 238, 301, 303, 304, 8000})
_CODES |= {168, 15952, 31325, 40324, 40415, 40573, 72}
_WORDS = re.compile(
    r"not (yet )?(supported|implemented|allowed|available|enabled)|unsupported|"
    r"supported on .* only|no such c(omman|m)d|is excluded|not have a corresponding|"
    r"unrecogni[sz]ed|unknown (\w+ )?(operator|option|field|command|stage|function|expression)",
    re.IGNORECASE,
)
_RETRIES = re.compile(r"retryable ?writes?|txnNumber|transaction number", re.IGNORECASE)
_NO_RETRIES = 301  # DocumentDB's code for that and nothing else
# Of servers that take a list of stages for a mistake.
_PIPELINES = re.compile(r"type 'array'|type object|pipeline|stage", re.IGNORECASE)
NOTED_MAX, TEXT_MAX = 50, 300
RETRIES = "retryable writes"
INDEX = "the index "
NOT_REMOVED = "what has expired is not removed: have that done in another way."
READ_ALL = "queries that need it read all calls."


class Shortfall(NamedTuple):
    """Something that the server refuses for good, in the server's own words, and the fix."""

    what: str
    why: str
    instead: str


_known: dict[str, dict[str, Shortfall]] = {}  # by the name of the database


def note(database: str, what: str, why: str, instead: str) -> None:
    """Say once that the server refuses something, and remember it for the doctor.

    Args:
        database: The name of the database.
        what: What the server refuses.
        why: Its own words, as `told` gives them.
        instead: What follows, and the fix.
    """
    _known.setdefault(database, {})[what] = Shortfall(what, why, instead)
    log_once(f"MongoDB refuses {what} ({why}): {instead}", key=f"refused {database} {what}")


def note_indexes(
    database: str, collection: str, indexes: Iterable[Mapping[str, Any]], why: str
) -> None:
    """Do the same for indexes that are refused for one reason, in one line."""
    names = {index["name"]: "expireAfterSeconds" in index for index in indexes}
    known = _known.setdefault(database, {})
    for name, expires in names.items():
        what = f"{INDEX}{collection}.{name}"
        known[what] = Shortfall(what, why, NOT_REMOVED if expires else READ_ALL)
    follows = NOT_REMOVED if all(names.values()) else READ_ALL
    log_once(
        f"MongoDB refuses indexes ({why}), such as {collection}.{next(iter(names))}: {follows} "
        "llm-audit doctor names all of them.",
        key=f"refused {database} {INDEX} {why}",
    )


def noted(database: str) -> list[dict[str, str]]:
    """Return what this process has noted of a database, as its document has it."""
    known = islice(_known.get(database, {}).copy().values(), NOTED_MAX)
    return [{name: text[:TEXT_MAX] for name, text in each._asdict().items()} for each in known]


def is_unsupported(error: PyMongoError) -> bool:
    """Tell whether a server says that it does not have what was asked of it, and never will."""
    if not isinstance(error, OperationFailure) or not only_this_is_refused(error):
        return False
    return error.code in _CODES or bool(_WORDS.search(text_of(error)))


def refuses_retries(error: PyMongoError) -> bool:
    """Tell whether a server refuses writes because the driver might send them twice."""
    if not isinstance(error, OperationFailure):
        return False
    return error.code == _NO_RETRIES or bool(_RETRIES.search(text_of(error)))


def refuses_pipelines(error: OperationFailure) -> bool:
    """Tell whether a server refuses an update because it is a list of stages."""
    if is_unsupported(error):
        return True
    return only_this_is_refused(error) and bool(_PIPELINES.search(text_of(error)))


def answer_in(error: Exception) -> OperationFailure | None:
    """Return the server's answer behind an error of ours; None if it gave none."""
    cause = error.__context__
    if isinstance(cause, BulkWriteError):
        cause = next(map(failure, reversed(cause.details.get("writeErrors", ()))), None)
    return cause if isinstance(cause, OperationFailure) else None


def failure(write_error: Mapping[str, Any]) -> OperationFailure:
    """Return the refusal of one statement of a bulk as that of a command.

    Args:
        write_error: One of a `BulkWriteError`.
    """
    return OperationFailure(write_error["errmsg"], write_error["code"], dict(write_error))


def fix_of(error: OperationFailure) -> str:
    """Return what to do where a server that works refuses what it is sent."""
    if error.code == UNAUTHORIZED:
        return "give the user of mongo_url readWrite on the database."
    if refuses_retries(error):
        return "add retryWrites=false to mongo_url."
    if is_unsupported(error):
        return "see the page about servers like MongoDB."
    return "fix what refuses it."


@contextmanager
def going_on(what: str, fix: str | None = None) -> Iterator[None]:
    """Go on, and say so once, where MongoDB refuses nothing but what is done in the block.

    Args:
        what: What was not done.
        fix: What to do about it; by default that follows from the refusal.
    """
    try:
        yield
    except OperationFailure as error:
        # without retries the connection goes on, see connection.py
        if not only_this_is_refused(error) or refuses_retries(error):
            raise
        log_once(f"{what} ({told(error)}): {fix or fix_of(error)}")

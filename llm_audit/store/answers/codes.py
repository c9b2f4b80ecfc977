"""What MongoDB's error codes say: of a document, of itself, of us. The names are the server's own.

See https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml.
"""

from collections.abc import Mapping
from typing import Any

from pymongo.errors import (
    BulkWriteError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

BAD_VALUE = 2  # also: there is no index of that name
UNAUTHORIZED = 13
AUTHENTICATION_FAILED = 18
NAMESPACE_NOT_FOUND = 26
INDEX_NOT_FOUND = 27
NAMESPACE_EXISTS = 48
INDEX_OPTIONS_CONFLICT = 85
INDEX_KEY_SPECS_CONFLICT = 86
INVALID_NAMESPACE = 73
NOT_ON_A_VIEW = 166
TOO_MANY_REQUESTS = 16500  # Cosmos DB's
DUPLICATE_KEY = 11000

# What MongoDB says of a document or statement, not of its own state: BadValue, FailedToParse,
# TypeMismatch, Overflow, InvalidBSON, the field-name errors, ImmutableField,
# DocumentValidationFailure, CannotIndexParallelArrays, a duplicate in an index of the user's own,
# and the documents that are or would become too large.
REFUSALS = frozenset(
    {BAD_VALUE, 9, 14, 15, 22, 52, 54, 55, 56, 57, 66, 121, 171, DUPLICATE_KEY}
    | {10334, 17280, 17419, 17420}
)
# What it says of a whole batch because of one document: Overflow (nested too deep), InvalidBSON,
# BSONObjectTooLarge. Anything else is about the settings, such as a write concern it cannot meet.
BATCH_REFUSALS = frozenset({15, 22, 10334})
# What it says of its own state, whatever the document: unreachable or stepped-down members, a
# shutdown, no disk space, no time, no lock, too much to do.
BUSY = frozenset({112, 117, 276, 12586, 12587})  # others are at the same: once more
STATES = BUSY | frozenset(
    {6, 7, 24, 50, 89, 91, 133, 189, 202, 262, 317, 358, 384}
    | {9001, 10058, 10107, 11600, 11601, 11602, 13388, 13435, 13436, 14031, TOO_MANY_REQUESTS}
)


def is_a_state(error: OperationFailure) -> bool:
    """Tell whether MongoDB says that it does not work now, and not that it never will."""
    return error.code in STATES


def only_this_is_refused(error: OperationFailure) -> bool:
    """Tell whether MongoDB works and lets us in, and only does not take or allow this."""
    return not is_a_state(error) and error.code != AUTHENTICATION_FAILED


def code_of_content(error: OperationFailure) -> int | None:
    """Return by which code MongoDB refuses what a write holds; None if it is about more."""
    codes = [error.code]
    if isinstance(error, BulkWriteError):
        if error.details.get("writeConcernErrors"):
            return None
        codes = [one["code"] for one in error.details["writeErrors"]]
    return codes[0] if codes and REFUSALS.issuperset(codes) else None


def is_duplicate_id(write_error: Mapping[str, Any]) -> bool:
    """Tell whether a document with that `_id` is there, and no other index of theirs refuses it.

    Args:
        write_error: One of a `BulkWriteError`.
    """
    is_duplicate = write_error["code"] == DUPLICATE_KEY
    return is_duplicate and set(write_error.get("keyPattern", {"_id": 1})) == {"_id"}


def is_wrong_password(error: PyMongoError) -> bool:
    """Tell whether MongoDB does not know the user, or not by this password."""
    if isinstance(error, ServerSelectionTimeoutError):  # a server that refused is looked for anew
        return "'AuthenticationFailed'" in str(error)
    return getattr(error, "code", None) == AUTHENTICATION_FAILED


def describe(error: PyMongoError) -> str:
    """Name an error without its text, which may hold documents or credentials."""
    code = getattr(error, "code", None)
    if is_wrong_password(error):
        return (
            "user or password is wrong; if the user is defined in another database, add "
            "?authSource=admin"
        )
    return type(error).__name__ if code is None else f"{type(error).__name__}, code {code}"

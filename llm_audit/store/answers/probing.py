"""Ask MongoDB whether it takes writes of a kind at all, by one that is about no call."""

from typing import Any

from bson import ObjectId
from pymongo.errors import OperationFailure, PyMongoError

from llm_audit.store.answers.codes import AUTHENTICATION_FAILED, UNAUTHORIZED, is_a_state
from llm_audit.store.answers.shortfalls import refuses_pipelines
from llm_audit.store.connection import Documents

_CHANGE: dict[str, Any] = {"$set": {"status": ""}}


def takes_writes(calls: Documents, error: OperationFailure) -> bool:
    """Tell whether MongoDB works, after a refusal that nobody foresaw: then it is about a record.

    Args:
        calls: The calls' collection.
        error: The refusal.
    """
    if is_a_state(error) or error.code in {UNAUTHORIZED, AUTHENTICATION_FAILED}:
        return False
    try:
        calls.update_one({"_id": ObjectId()}, _CHANGE)
    except PyMongoError:
        return False
    return True


def takes_pipelines(calls: Documents) -> bool:
    """Tell whether MongoDB takes an update that is a list of stages.

    Raises:
        PyMongoError: It does not answer now.
    """
    try:
        calls.update_one({"_id": ObjectId()}, [_CHANGE])
    except OperationFailure as refusal:
        return not refuses_pipelines(refusal)
    return True

"""The result of a call that was answered in the background, told by whichever process has it."""

import time

from llm_audit.ids import first_id_at
from llm_audit.logger import LLMLogger
from llm_audit.providers.response import read_response, taken
from llm_audit.recorder.process import open_calls
from llm_audit.references import CallReference
from llm_audit.settings import get_settings
from llm_audit.store.answers.plain_errors import plain_errors
from llm_audit.store.connection import Connection
from llm_audit.wire.to_come import says_to_come

_A_DAY = 86_400
_OPEN = ("PENDING", "INCOMPLETE")


def record_result(result: object, *, within_days: float = 2.0) -> CallReference | None:
    """Record a result as the outcome of the call that asked for it, in whatever process that was.

    It asks MongoDB for the call, by the result's id: in async code, call it in a thread.

    Args:
        result: What was fetched, `client.responses.retrieve(...)` say: an SDK's object, or a dict.
        within_days: When the call was made at the most; there is no index on the ids of answers.

    Returns:
        The call's id. None if the result is still to come, or no call waits for it: it was recorded
        already, or never.

    Raises:
        UnavailableError: MongoDB cannot be reached.
    """
    response_id = read_response(result).get("response_id")
    settings = get_settings()
    body = taken(result, embedding_vectors=True).get("body")
    if not (settings.enabled and response_id) or says_to_come(body):
        return None
    asked = {
        "response_id": response_id,
        "_id": {"$gte": first_id_at(time.time() - within_days * _A_DAY)},
        "status": {"$in": list(_OPEN)},
    }
    connection = Connection(settings)
    try:
        with plain_errors(settings):
            call = connection.primary_calls().find_one(asked, {"_id": 1})
    finally:
        connection.close()
    if call is None or ((begun := open_calls().get(call["_id"])) and begun.over):
        return None  # the client that fetched it may be captured, and here
    return LLMLogger.complete(call["_id"], response=result)

"""MongoDB, as the commands ask it: plain PyMongo, and ids that are not there with those near."""

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llm_audit.cli.drawing import terminal
from llm_audit.cli.exits import NAME, NotFoundError
from llm_audit.settings import get_settings

if TYPE_CHECKING:  # `llm-audit --help` needs no driver
    from pymongo.collection import Collection

    Documents = Collection[dict[str, Any]]

Call = Mapping[str, Any]  # a document as it was read

NEAR = 5
_NEAR_MS = 1_000  # for what no index serves
_FIRST_CHARACTERS = (13, 8, 4)  # of a UUIDv7: one millisecond, one minute, half a decade
_LAST_CHARACTERS = 8
_KINDS = {  # of ids, and the commands that take them
    "_id": ("call", "show"),
    "trace_id": ("trace", "trace"),
    "session_id": ("session", "session"),
    "task_id": ("task", "task"),
    "user_id": ("user", "calls --user"),
    "company_id": ("company", "calls --company"),
}


@contextmanager
def collection_of_calls() -> "Iterator[Documents]":
    """Connect to the collection in the settings.

    Raises:
        UnavailableError: MongoDB cannot be reached, or does not let us do what was asked.
        ConfigurationError: A setting names what cannot be.
        LLMAuditError: MongoDB refuses what was asked of it.
    """
    from llm_audit.store.connection import client_of
    from llm_audit.store.plain_errors import asking

    settings = get_settings()
    with asking(settings):
        # MongoDB has years beyond 9999, which come as numbers
        client = client_of(settings, datetime_conversion="DATETIME_AUTO")
        with client:
            yield client[settings.database][settings.collection]


def find_call(calls: "Documents", given: str) -> dict[str, Any]:
    """Return the call with an id, or whose id alone begins so.

    Raises:
        NotFoundError: There is none, or there are several.
    """
    call = calls.find_one({"_id": given})
    if call is not None:
        return call
    beginning = list(calls.find(_begins("_id", given), {"_id": 1}).limit(NEAR)) if given else []
    if len(beginning) == 1:
        return find_call(calls, beginning[0]["_id"])
    if beginning:
        raise NotFoundError(
            f"The ids of several calls begin with {given!r:.50}: {_named(beginning)}. Give more of "
            "it."
        )
    raise not_found(calls, "call", "_id", given)


def not_found(calls: "Documents", kind: str, field: str, given: str) -> NotFoundError:
    """Return the error for an id that nothing has: what else has it, or the ids near it.

    Args:
        calls: Where it was looked for.
        kind: What was looked for, in a word.
        field: Where it would be.
        given: The id.
    """
    for other in _KINDS:
        if other != field and (call := calls.find_one({other: given}, {field: 1})) is not None:
            return _is_something_else(call, other, kind, field, given)
    near = _near(calls, field, given)
    found = f" Near it: {_named(near)}." if near else ""
    where = f"{calls.database.name}.{calls.name}"
    return NotFoundError(f"There is no {kind} {given!r:.80} in {where}.{found}")


def _is_something_else(
    call: dict[str, Any], other: str, kind: str, field: str, given: str
) -> NotFoundError:
    """Return the error for an id of another kind, with the command that takes it."""
    name, command = _KINDS[other]
    wanted = given
    if other == "_id" and call.get(field):
        name, command, wanted = f"call of the {kind} {call[field]}", kind, str(call[field])
    return NotFoundError(f"{given} is a {name}, no {kind}: {_in_shell(command, wanted)}")


def _in_shell(command: str, call_id: str) -> str:
    """Return a command line that can be pasted, whatever was recorded as an id."""
    quoted = shlex.quote(terminal.cell(call_id))
    if not call_id.startswith("-"):
        return f"{NAME} {command} {quoted}"
    return f"{NAME} {command}={quoted}" if "--" in command else f"{NAME} {command} -- {quoted}"


def _near(calls: "Documents", field: str, given: str) -> list[dict[str, Any]]:
    from pymongo.errors import ExecutionTimeout

    lengths = (length for length in _FIRST_CHARACTERS if length <= len(given))
    tries = [_begins(field, given[:length]) for length in lengths]
    if len(given) >= _LAST_CHARACTERS:
        tries.append({field: {"$regex": f"{re.escape(given[-_LAST_CHARACTERS:])}$"}})
    distinct: list[dict[str, Any]] = [{"$group": {"_id": f"${field}"}}, {"$limit": NEAR}]
    for condition in tries:
        try:
            if found := list(
                calls.aggregate([{"$match": condition}, *distinct], maxTimeMS=_NEAR_MS)
            ):
                return found
        except ExecutionTimeout:
            continue
    return []


def _begins(field: str, text: str) -> dict[str, Any]:
    return {field: {"$gte": text, "$lt": f"{text}\U0010ffff"}}


def _named(found: list[dict[str, Any]]) -> str:
    names = ", ".join(str(one["_id"]) for one in found)
    return names if len(found) < NEAR else f"{names} ..."

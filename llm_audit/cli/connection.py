"""Whom the commands ask, and ids that are not there with those near them."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llm_audit.cli.exits import NAME, NotFoundError
from llm_audit.display import figures
from llm_audit.queries.steps import Document
from llm_audit.settings import get_settings

if TYPE_CHECKING:  # `llm-audit --help` needs no driver
    from pymongo.collection import Collection

    from llm_audit.queries.repository import SyncLLMCallRepository
    from llm_audit.queries.steps import Steps

    Documents = Collection[dict[str, Any]]

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


def repository() -> "SyncLLMCallRepository":
    """Return whom to ask, for a with block."""
    from llm_audit.queries.repository import SyncLLMCallRepository

    return SyncLLMCallRepository()


@contextmanager
def collection_of_calls() -> "Iterator[Documents]":
    """Connect to the collection in the settings, for what is no question about calls.

    Raises:
        UnavailableError: MongoDB cannot be reached, or does not let us do what was asked.
        ConfigurationError: A setting names what cannot be.
        LLMAuditError: MongoDB refuses what was asked of it.
    """
    from llm_audit.store.answers.plain_errors import plain_errors

    with plain_errors(get_settings()), repository() as calls:
        yield calls.collection


def find_call(given: str) -> "Steps[Document]":
    """Return the call with an id, or whose id alone begins so.

    Raises:
        NotFoundError: There is none, or there are several.
    """
    found = yield from _some({"_id": given})
    if found:
        return found[0]
    beginning = (yield from _some(_begins("_id", given), {"_id": 1}, NEAR)) if given else []
    if len(beginning) == 1:
        return (yield from find_call(beginning[0]["_id"]))
    if beginning:
        raise NotFoundError(
            f"The ids of several calls begin with {given!r:.50}: {_named(beginning)}. Give more of "
            "it."
        )
    raise (yield from not_found("call", "_id", given))


def not_found(kind: str, field: str, given: str) -> "Steps[NotFoundError]":
    """Return the error for an id that nothing has: what else has it, or the ids near it.

    Args:
        kind: What was looked for, in a word.
        field: Where it would be.
        given: The id.
    """
    for other in _KINDS:
        calls = (yield from _some({other: given}, {field: 1})) if other != field else []
        if calls:
            return _is_something_else(calls[0], other, kind, field, given)
    near = yield from _near(field, given)
    found = f" Near it: {_named(near)}." if near else ""
    where = f"{get_settings().database}.{get_settings().collection}"
    return NotFoundError(f"There is no {kind} {given!r:.80} in {where}.{found}")


def _some(wanted: dict[str, Any], shown: Any = None, limit: int = 1) -> "Steps[list[Document]]":
    """Return some of the calls that match, with some of their fields."""
    from llm_audit.queries.steps import rows

    stages: list[dict[str, Any]] = [{"$match": wanted}, {"$limit": limit}]
    return (yield from rows([*stages, {"$project": shown}] if shown else stages, dict))


def _is_something_else(
    call: Document, other: str, kind: str, field: str, given: str
) -> NotFoundError:
    """Return the error for an id of another kind, with the command that takes it."""
    name, command = _KINDS[other]
    wanted = given
    if other == "_id" and call.get(field):
        name, command, wanted = f"call of the {kind} {call[field]}", kind, str(call[field])
    return NotFoundError(f"{given} is a {name}, no {kind}: {_in_shell(command, wanted)}")


def _in_shell(command: str, call_id: str) -> str:
    """Return a command line that can be pasted, whatever was recorded as an id."""
    quoted = shlex.quote(figures.cell(call_id))
    if not call_id.startswith("-"):
        return f"{NAME} {command} {quoted}"
    return f"{NAME} {command}={quoted}" if "--" in command else f"{NAME} {command} -- {quoted}"


def _near(field: str, given: str) -> "Steps[list[Document]]":
    from llm_audit.queries.steps import Each

    lengths = (length for length in _FIRST_CHARACTERS if length <= len(given))
    tries = [_begins(field, given[:length]) for length in lengths]
    if len(given) >= _LAST_CHARACTERS:
        tries.append({field: {"$regex": f"{re.escape(given[-_LAST_CHARACTERS:])}$"}})
    distinct: list[dict[str, Any]] = [{"$group": {"_id": f"${field}"}}, {"$limit": NEAR}]
    found: list[Document] = []
    for condition in tries:
        yield Each([{"$match": condition}, *distinct], found.append, patience_ms=_NEAR_MS)
        if found:
            break
    return found


def _begins(field: str, text: str) -> dict[str, Any]:
    return {field: {"$gte": text, "$lt": f"{text}\U0010ffff"}}


def _named(found: list[Document]) -> str:
    names = ", ".join(str(one["_id"]) for one in found)
    return names if len(found) < NEAR else f"{names} ..."

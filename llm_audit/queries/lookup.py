"""Ids as people give them: what has one, and where nothing has it, what else does or is near."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from llm_audit.errors import UsageError
from llm_audit.ids import id_text
from llm_audit.queries.instructions import Instructions, instructions
from llm_audit.queries.steps import Document, Each, Steps, rows

NEAR = 5
_HAVE_IT = 20  # calls that are looked at for what it is in them
_NEAR_MS = 1_000  # for what no index serves
_FIRST_CHARACTERS = (13, 8, 4)  # of a UUIDv7: one millisecond, one minute, half a decade
_LAST_CHARACTERS = 8
KINDS = {  # of ids, by the field that holds them
    "_id": "call",
    "trace_id": "trace",
    "session_id": "session",
    "task_id": "task",
    "user_id": "user",
    "company_id": "company",
}

_ALSO = {  # what has an id that a call has only by the way, each with an index
    "task.root_id": "workflow",
    "task.group_id": "workflow",
    "process_nonce": "process",
}
_BEGINNING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{4,27}"
)  # as lists and logs shorten the id of a call


class Missing(NamedTuple):
    """An id that nothing of its kind has.

    Attributes:
        kind: What was looked for, in a word.
        given: The id.
        other: What has that id instead, in a word, and the id to ask for that with: the id itself,
            or, where it is a call's, what was looked for of that call.
        of_call: Whether `other` is what the call with this id belongs to.
        several: The ids that begin so, where the beginning of one was given.
        near: Ids of the same kind that look like it.
    """

    kind: str
    given: str
    other: tuple[str, str] | None = None
    of_call: bool = False
    several: tuple[str, ...] = ()
    near: tuple[str, ...] = ()


def kind_of(given: str) -> Steps[str | None]:
    """Return what has an id, in a word; None if nothing has. Of a call, its beginning will do."""
    kinds = KINDS | _ALSO
    anywhere = {"$or": [{field: given} for field in kinds]}
    found = yield from _some(anywhere, dict.fromkeys(kinds, 1), _HAVE_IT)
    for field, kind in kinds.items():
        if any(_value_at(call, field) == given for call in found):
            return kind
    if _BEGINNING.fullmatch(given) and (yield from _some(_begins("_id", given), {"_id": 1})):
        return "call"
    return None


def _value_at(call: Document, path: str) -> Any:
    value: Any = call
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def with_instructions(filters: Mapping[str, Any]) -> Steps[dict[str, Any]]:
    """Return filters with what the call was told that `prompt_of` names, in place of its id.

    Raises:
        UsageError: There is no such call.
    """
    given = filters.get("prompt_of")
    if given is None or isinstance(given, Instructions):
        return dict(filters)
    wanted = {"_id": id_text("prompt_of", given)}
    found = yield from _some(wanted, {"_id": 0, "told": instructions()})
    if not found:
        raise UsageError("prompt_of names a call that there is not.")
    return {**filters, "prompt_of": Instructions(found[0]["told"])}


def find_call(given: str) -> Steps[Document | Missing]:
    """Return the call with an id, or whose id alone begins so."""
    found = yield from _some({"_id": given})
    if found:
        return found[0]
    beginning = (yield from _some(_begins("_id", given), {"_id": 1}, NEAR)) if given else []
    if len(beginning) == 1:
        return (yield from find_call(beginning[0]["_id"]))
    if beginning:
        return Missing("call", given, several=_ids(beginning))
    return (yield from missing("_id", given))


def missing(field: str, given: str) -> Steps[Missing]:
    """Return what is to be said of an id that nothing has.

    Args:
        field: Where it would be, see `KINDS`.
        given: The id.
    """
    kind = KINDS[field]
    others = {other: name for other, name in KINDS.items() if other != field}
    anywhere = {"$or": [{other: given} for other in others]}
    found = yield from _some(anywhere, dict.fromkeys(KINDS, 1), _HAVE_IT)
    for other, name in others.items():
        calls = [call for call in found if call.get(other) == given]
        if calls and other == "_id" and calls[0].get(field):
            return Missing(kind, given, (kind, str(calls[0][field])), of_call=True)
        if calls:
            return Missing(kind, given, (name, given))
    return Missing(kind, given, near=_ids((yield from _near(field, given))))


def _some(wanted: dict[str, Any], shown: Any = None, limit: int = 1) -> Steps[list[Document]]:
    """Return some of the calls that match, with some of their fields."""
    stages: list[dict[str, Any]] = [{"$match": wanted}, {"$limit": limit}]
    return (yield from rows([*stages, {"$project": shown}] if shown else stages, dict))


def _near(field: str, given: str) -> Steps[list[Document]]:
    """Return what looks most like an id: of what begins so, else of what hardly does or ends so."""
    nearest, near, least = _FIRST_CHARACTERS
    end = given[-_LAST_CHARACTERS:]
    tries = [[_begins(field, given[:length])] for length in (near, least) if length <= len(given)]
    if len(end) == _LAST_CHARACTERS and "\0" not in end:  # which no pattern of MongoDB's may hold
        tries[-1].append({field: {"$regex": f"{re.escape(end)}$"}})
    limits = _begins("_id", given[:nearest])["_id"].items()
    is_nearest = {"$and": [{name: ["$_id", {"$literal": text}]} for name, text in limits]}
    stages: list[dict[str, Any]] = [
        {"$group": {"_id": f"${field}"}},
        {"$project": {"is_nearest": is_nearest}},
        {"$sort": {"is_nearest": -1}},
        {"$limit": NEAR},
    ]
    found: list[Document] = []
    for wanted in tries:
        if not found:
            yield Each([{"$match": {"$or": wanted}}, *stages], found.append, patience_ms=_NEAR_MS)
    return [one for one in found if one["is_nearest"]] or found


def _begins(field: str, text: str) -> dict[str, Any]:
    return {field: {"$gte": text, "$lt": f"{text}\U0010ffff"}}


def _ids(found: list[Document]) -> tuple[str, ...]:
    return tuple(str(one["_id"]) for one in found)

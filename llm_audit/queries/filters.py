"""The filters that every query takes, turned into one MongoDB condition.

The condition is plain JSON: dates become a range of ids, because a UUIDv7 begins with its instant
in milliseconds. So one index on (field, _id) serves the filter, the dates and the order of time.
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, TypedDict, TypeVar

from llm_audit.call import LLMCallStatusEnum, LLMCallTypeEnum
from llm_audit.errors import UsageError
from llm_audit.gate import shortened
from llm_audit.ids import EPOCH, LAST_ID, Id, checked_text, first_id_from, id_text
from llm_audit.open_enum import NAME_MAX_CHARACTERS, OpenEnum
from llm_audit.queries.instructions import Instructions, told
from llm_audit.settings import report_mistake

T = TypeVar("T")
OneOrMore: TypeAlias = T | Collection[T]


class CallFilters(TypedDict, total=False):
    """Which calls to look at; what is not given does not restrict.

    None, an empty text and an empty list are mistakes: `UsageError` in strict mode, else logged
    once. Several values in a list mean any of them, except for `tags`: a call has to carry all. Ids
    may be UUID or int. A date without a zone is local time. `start_date` is included and `end_date`
    is not, both in whole milliseconds; they are compared with the instant in a call's id, which is
    a UUIDv7. `missing` has names of filters, or `cost`: a call has nothing in their fields, or an
    empty list. `prompt_of` names a call: others have the same system prompt. `min_latency_ms` is
    included and `max_latency_ms` is not. `excluding` has filters by the same names, but neither
    dates nor the last three: a call that has one of their values is left out. Of calls that
    something else stored, those with ids of another kind seem to be of any time, and most sums
    leave out those with ids that are no text.
    """

    call_type: OneOrMore[LLMCallTypeEnum | str]
    status: OneOrMore[LLMCallStatusEnum | str]
    provider: OneOrMore[str]
    model: OneOrMore[str]
    trace_id: OneOrMore[Id]
    session_id: OneOrMore[Id]
    user_id: OneOrMore[Id]
    company_id: OneOrMore[Id]
    review_id: OneOrMore[Id]
    task_id: OneOrMore[Id]
    attempt_id: OneOrMore[Id]
    workflow_id: OneOrMore[Id]
    task_name: OneOrMore[str]
    queue: OneOrMore[str]
    worker: OneOrMore[str]
    parent_call_id: OneOrMore[Id]
    tags: OneOrMore[str]
    tool: OneOrMore[str]
    score: OneOrMore[str]
    environment: OneOrMore[str]
    service: OneOrMore[str]
    captured_by: OneOrMore[str]
    process_nonce: OneOrMore[str]
    error_type: OneOrMore[str]
    ended_by: OneOrMore[str]
    missing: OneOrMore[str]
    prompt_of: Id | Instructions
    min_latency_ms: float
    max_latency_ms: float
    start_date: datetime
    end_date: datetime
    excluding: "CallFilters"


_ENUMS: dict[str, type[OpenEnum]] = {"call_type": LLMCallTypeEnum, "status": LLMCallStatusEnum}
STORED_AS = {
    "task_name": "task.name",
    "attempt_id": "task.attempt_id",
    "queue": "task.queue",
    "worker": "task.worker",
    "tool": "tools_called",
    "score": "scores.name",
    "tag": "tags",
    "cost": "estimated_cost",
}
_LISTS = ("tags", "tools_called")  # an empty one is as good as none
WORKFLOW = ("task.root_id", "task.group_id", "trace_id")  # any of them may be a canvas' id
_DATES = ("start_date", "end_date")
_EXCLUDING = "excluding"
_MISSING = "missing"
_PROMPT = "prompt_of"
LATENCIES = {"min_latency_ms": "$gte", "max_latency_ms": "$lt"}
_APART = (*_DATES, _EXCLUDING, _MISSING, _PROMPT, *LATENCIES)  # not about a field with a value
LATENCY_MAX_MS = 10**15
LIMIT_MAX = 1_000_000_000  # MongoDB takes 64 bits
VALUES_MAX = 100_000
VALUES_MAX_BYTES = 8 * 2**20  # MongoDB takes 16 MB, of which the lengths and numbers take a part


def condition(filters: Mapping[str, Any], *, after: Id | None = None) -> dict[str, Any]:
    """Return the MongoDB condition that means these filters.

    Args:
        filters: A `CallFilters`.
        after: Only calls older than this one, in the order of ids.

    Returns:
        What `find` and `$match` take, in plain JSON types.

    Raises:
        UsageError: A filter is unknown, or its value has the wrong type; in strict mode also one
            that is None or empty.
    """
    _check_names(filters, CallFilters.__annotations__)
    matched: dict[str, Any] = {}
    for name in CallFilters.__annotations__:
        given = filters.get(name)
        if name in filters:
            _check_given(name, given)
        if given is not None and name not in _APART:
            matched |= _field_condition(name, given)
    for field in _fields_of(filters.get(_MISSING)):
        wanted = matched.get(field)
        nothing: Any = {"$in": [None, []]} if field in _LISTS else None
        matched[field] = nothing if wanted is None else {"$in": []}  # nothing has both
    for field, values in _excluded(filters.get(_EXCLUDING)).items():
        wanted = matched.get(field, {})
        wanted = wanted if isinstance(wanted, dict) else {"$eq": wanted}
        matched[field] = wanted | {"$nin": values}
    matched |= _latencies(filters) | _told(filters.get(_PROMPT))
    ids = _id_range(filters.get("start_date"), filters.get("end_date"), after)
    return matched | ({"_id": ids} if ids else {})


def _check_names(given: Mapping[str, Any], known: Collection[str]) -> None:
    if unknown := given.keys() - known:
        names = ", ".join(sorted(map(str, unknown)))
        raise UsageError(f"{names}: no such filter; there are {', '.join(known)}.")


def _of_one_field() -> set[str]:
    """Return the names of the filters that are about the value of one field."""
    return CallFilters.__annotations__.keys() - {*_APART, "workflow_id"}


def _fields_of(missing: object) -> list[str]:
    """Return the fields that have to be missing."""
    if missing is None:
        return []
    names = list(missing) if isinstance(missing, list | tuple | AbstractSet) else [missing]
    if not all(isinstance(name, str) for name in names):
        raise UsageError("missing has to be the name of a filter, or a list of names.")
    _check_names(dict.fromkeys(map(str, names)), sorted(_of_one_field() | {"cost"}))
    return [str(STORED_AS.get(str(name), name)) for name in names]


def _excluded(excluding: object) -> dict[str, list[str]]:
    """Return the values that fields may not have."""
    if excluding is None:
        return {}
    if not isinstance(excluding, Mapping):
        raise UsageError(f"excluding has to be a dict of filters, not {type(excluding).__name__}.")
    _check_names(excluding, _of_one_field() | {"workflow_id"})
    excluded: dict[str, list[str]] = {}
    for name, given in excluding.items():
        _check_given(f"{_EXCLUDING} {name}", given)
        if given is None:
            continue
        values = given if isinstance(given, list | tuple | AbstractSet) else [given]
        asked = checked_values(name, [_stored(name, value) for value in values])
        fields = WORKFLOW if name == "workflow_id" else [str(STORED_AS.get(name, name))]
        for field in fields:
            excluded.setdefault(field, []).extend(map(shortened, asked))
    return excluded


def _latencies(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the condition on how long calls took."""
    bounds = {}
    for name, operator in LATENCIES.items():
        given = filters.get(name)
        if given is None:
            continue
        is_number = isinstance(given, int | float) and not isinstance(given, bool)
        if not is_number or not 0 <= given <= LATENCY_MAX_MS:
            raise UsageError(
                f"{name} has to be from 0 to {LATENCY_MAX_MS:,} milliseconds, not {_shown(given)}."
            )
        bounds[operator] = float(given)
    return {"latency_ms": bounds} if bounds else {}


def _told(given: object) -> dict[str, Any]:
    """Return the condition on the system prompt."""
    if given is None:
        return {}
    if not isinstance(given, Instructions):
        raise UsageError(
            "prompt_of has to be looked up: ask a repository, which does that with a call's id, or "
            "give Instructions(...) with the prompt itself."
        )
    return told(given)


def beginning(span: timedelta, end: datetime | None) -> datetime:
    """Return when a time begins that ends then, or now; not before the first id.

    Args:
        span: How long it is.
        end: A date without a zone is local time.
    """
    return max((end or datetime.now(UTC)).astimezone(UTC), EPOCH + span) - span


def checked_limit(limit: object) -> None:
    """Refuse what is no limit.

    Raises:
        UsageError: It is neither an int from 1 nor None.
    """
    if limit is not None and (type(limit) is not int or not 1 <= limit <= LIMIT_MAX):
        raise UsageError(
            f"limit has to be an int from 1 to {LIMIT_MAX:,}, or None for all, not {_shown(limit)}."
        )


def checked_values(name: str, values: Collection[str]) -> list[str]:
    """Return several values that are asked for at once.

    Args:
        name: Of the argument, for the error.
        values: Each a text as documents hold it.

    Raises:
        UsageError: They are more than MongoDB takes in one question.
    """
    size_bytes = sum(map(len, values))
    if len(values) > VALUES_MAX or size_bytes > VALUES_MAX_BYTES:
        raise UsageError(
            f"{name} has {len(values):,} values of {size_bytes:,} characters: ask for at most "
            f"{VALUES_MAX:,}, of {VALUES_MAX_BYTES:,}, at once."
        )
    return list(values)


def _shown(value: object) -> str:
    """Return what a value looks like, which may be an int too long to be one in text."""
    try:
        return f"{value!r:.50}"
    except ValueError:
        return "one of thousands of digits"


def _check_given(name: str, given: object) -> None:
    """Report a filter without a value: who meant the calls of one user would get everybody's."""
    if given is None or given == "":
        mistake = "None" if given is None else "empty"
    elif isinstance(given, list | tuple | AbstractSet) and not given:
        mistake = "an empty list"
    elif isinstance(given, Mapping) and not given:
        mistake = "empty"
    elif isinstance(given, list | tuple | AbstractSet) and ("" in given or None in given):
        mistake = "a list with None or an empty text in it"
    else:
        return
    report_mistake(
        f"The filter {name} is {mistake}: give it a value, or leave it out to mean every call. "
        "Whose calls may be seen, for_company() and for_user() see to."
    )


def _field_condition(name: str, given: object) -> dict[str, Any]:
    if name == "workflow_id":
        return {"$or": [_condition_of(name, field, given) for field in WORKFLOW]}
    return _condition_of(name, STORED_AS.get(name, name), given)


def _condition_of(name: str, field: str, given: object) -> dict[str, Any]:
    if not isinstance(given, list | tuple | AbstractSet):
        return {field: shortened(_stored(name, given))}
    asked = checked_values(name, [_stored(name, value) for value in given])
    values = [shortened(value) for value in asked]
    if name == "tags":
        return {field: {"$all": values}} if values else {}
    return {field: {"$in": values}}


def _stored(name: str, value: object) -> str:
    """Return one value of a filter as documents hold it."""
    if name.endswith("_id"):
        return id_text(name, value)
    if not isinstance(value, str):
        raise UsageError(f"{name} has to be a str or a list of str, not {type(value).__name__}.")
    enum = _ENUMS.get(name)
    if enum is None:
        return checked_text(name, str(value))
    if name == "status" and value.upper() not in enum:
        raise UsageError(f"status {str(value)!r:.50} is not one of {', '.join(enum)}.")
    try:
        return enum(value).value
    except ValueError:
        raise UsageError(
            f"{name} {value!r:.50} is no text of 1 to {NAME_MAX_CHARACTERS} characters."
        ) from None


def _id_range(start: object, end: object, after: Id | None) -> dict[str, str]:
    bounds = {}
    older_than = [] if after is None else [id_text("after", after)]
    if end is not None:
        older_than.append(first_id_from("end_date", end))
    if start is not None:
        bounds["$gte"] = first_id_from("start_date", start)
        older_than.append(LAST_ID)
    if older_than:
        bounds["$lt"] = min(older_than)
    return bounds

"""What can be a column of an export, and what a call has in it."""

from collections.abc import Callable, Mapping
from typing import Any

from llm_audit.call import SAID, CallFields, Kind, named
from llm_audit.display.json_lines import ID, STORED_ID
from llm_audit.errors import UsageError
from llm_audit.field_types import is_model, types_of
from llm_audit.providers.blocks import SYSTEM, TEXT, USER
from llm_audit.providers.messages import Part, read_answers, read_request
from llm_audit.queries.steps import Document
from llm_audit.spelling import did_you_mean, nearest


def prompt_of(call: Document) -> str | None:
    """Return what the user said last, as text: everything since the model or a tool spoke.

    Where the user said nothing, the instructions are the prompt.
    """
    said: dict[str, list[str]] = {USER: [], SYSTEM: []}
    is_answered = False
    for part in read_request(call):
        if part.role not in said:
            is_answered = True
            continue
        if part.role == USER and is_answered:
            is_answered = False
            said[USER].clear()
        if part.type == TEXT:
            said[part.role].append(part.content)
    return "\n".join(said[USER] or said[SYSTEM]) or None


def answer_of(call: Document) -> str | None:
    """Return what the model answered, as text; None if it only thought or asked for tools."""
    return _text(read_answers(call)[0])


_MADE: dict[str, Callable[[Document], str | None]] = {"prompt": prompt_of, "answer": answer_of}


def columns_of(*kinds: Kind) -> tuple[str, ...]:
    """Return the columns for fields of these kinds: a field each, those of the task apart."""
    types = types_of()
    found = [ID, "created_at"]
    for name in named(*kinds):
        inner = types_of(types[name]) if is_model(types[name]) else ()
        found += [f"{name}.{field}" for field in inner] or [name]
    return tuple(dict.fromkeys(found))


ALL_COLUMNS = (*columns_of(*Kind), *_MADE)
PLAIN_COLUMNS = (*columns_of(Kind.WHO, Kind.FIGURE, Kind.LABEL), "error_message", *_MADE)


def checked_columns(given: str) -> tuple[str, ...]:
    """Return the columns that `--columns` names.

    Args:
        given: Names with a comma between them.

    Raises:
        UsageError: One of them is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",")))
    for name in names:
        if name.partition(".")[0] not in {ID, *CallFields.model_fields, *_MADE}:
            meant = did_you_mean(nearest(name, ALL_COLUMNS))
            raise UsageError(
                f"--columns {name!r:.50}: no such column.{meant} There are {ID}, the fields of a "
                f"call, what is in one, such as task.name or metadata.x, {' and '.join(_MADE)}."
            )
    return names


def fields_for(names: tuple[str, ...]) -> dict[str, Any]:
    """Return the projection that reads what is in these columns."""
    heads = {name.partition(".")[0] for name in names}
    read = SAID if not heads.isdisjoint(_MADE) else ()
    return dict.fromkeys([_stored(head) for head in heads - _MADE.keys()], 1) | dict.fromkeys(
        read, 1
    )


def value_in(call: Document, name: str) -> Any:
    """Return what a call has in a column, None if nothing; of a list what is in each item."""
    if make := _MADE.get(name):
        return make(call)
    value: Any = call
    for key in _stored(name).split("."):
        value = _inside(value, key)
    return value


def type_in(name: str) -> Any:
    """Return what a column holds where it holds anything, as `types_of` says it."""
    if name == ID or name in _MADE:
        return str
    types = types_of()
    *outer, last = name.split(".")
    for field in outer:
        kind = types.get(field)
        types = types_of(kind) if is_model(kind) else {}
    return types.get(last, object)


def _text(parts: list[Part]) -> str | None:
    return "\n".join(part.content for part in parts if part.type == TEXT) or None


def _inside(value: Any, key: str) -> Any:
    if isinstance(value, list):
        return [_inside(item, key) for item in value]
    return value.get(key) if isinstance(value, Mapping) else None


def _stored(name: str) -> str:
    return STORED_ID if name == ID else name

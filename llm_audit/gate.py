"""The one gate for what a call's fields hold: of the types and in the bounds that `call` declares.

All that is recorded passes it, whoever has said it: the caller, a context, a message's header,
Celery, a provider's response. So does what is read from journals and from files.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import islice
from types import NoneType
from typing import Any, NamedTuple, TypeAlias, get_args, get_origin

from pydantic import BaseModel

from llm_audit.call import AtMost, CallFields
from llm_audit.encoding.notes import Notes
from llm_audit.encoding.safe_text import escape_surrogates, type_name
from llm_audit.field_types import is_enum, is_model, types_of
from llm_audit.open_enum import NAME_MAX_CHARACTERS, OpenEnum

LISTED_MAX_CHARACTERS = 2**18  # of all texts in a list together
LOOKED_AT_MAX = AtMost().items  # items of a list, whatever is kept of them
_HASH_CHARACTERS = 16
_INT64 = 2**63
_AS_TEXT = frozenset({"UUID", "ObjectId"})  # by name: `llm-audit --help` needs no driver


class _Field(NamedTuple):
    """What a field may hold; `kind` as `types_of` says it, or several types."""

    kind: Any
    most: AtMost
    required: bool = True
    may_be_none: bool = False


_COUNT = _Field(int, AtMost())
_COUNTS = dict[str, int]
_Look: TypeAlias = tuple[frozenset[Any], int, Callable[[Any], Any] | None]


def shortened(name: str, most: int = AtMost().characters) -> str:
    """Return an id or a name as it is stored: a long one as its beginning and a hash of it all.

    So ids that only begin alike stay apart, and whoever has the whole one finds it.

    Args:
        name: Of any length.
        most: Characters.
    """
    name = escape_surrogates(name)
    if len(name) <= most:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_CHARACTERS]
    return f"{name[: most - _HASH_CHARACTERS - 1]}…{digest}"


def fits(fields: Mapping[str, Any]) -> bool:
    """Tell by a quick look whether fields surely hold what they have to, see `fit`."""
    return _all_fit(fields, _LOOKS)


def fit(fields: dict[str, Any], notes: Notes) -> None:
    """Have the fields of a call hold what they have to, in place.

    A text that is too long is cut, a list too, a number in place of a name becomes its text; what
    does not fit at all is left out.

    Args:
        fields: Any of a call's, their values as BSON has them; what is no field of a call stays.
        notes: Is told of every change.
    """
    _Fitting(notes).model(fields, CallFields)


def have_fit(fields: dict[str, Any]) -> None:
    """Do what `fit` does unless it is not needed; what was changed is noted among the fields."""
    if not fits(fields):
        notes = Notes()
        fit(fields, notes)
        fields["encoding_notes"] = [*fields.get("encoding_notes", ()), *notes.lines()]


class _Fitting:
    """One pass over the fields of one document; knows the path to the value in hand."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._path: list[str] = []

    def model(self, fields: dict[str, Any], model: type[BaseModel]) -> None:
        """Fit the fields of a model, in place."""
        for name, field in _fields(model).items():
            value = fields.get(name)
            if name in fields and not (value is None and field.may_be_none):
                kept = self._at(name, field, value)
                if kept is None:
                    del fields[name]
                elif kept is not value:
                    fields[name] = kept

    def _at(self, name: str, field: _Field, value: Any) -> Any:
        self._path.append(name)
        try:
            return self._value(field.kind, field.most, value)
        finally:
            self._path.pop()

    def _value(self, kind: Any, most: AtMost, value: Any) -> Any:
        """Return what is kept of a value, None if it is nothing."""
        if kind is str or (type(kind) is tuple and isinstance(value, str)):
            return self._text(value, most.characters)
        if is_enum(kind) and isinstance(value, str) and value.strip():
            return value if isinstance(value, kind) else self._text(value, NAME_MAX_CHARACTERS)
        if kind in (dict, list, _COUNTS):
            return self._container(kind, value)
        if get_origin(kind) is list:
            return self._list(_Field(get_args(kind)[0], most), value)
        if is_model(kind):
            return self._document(kind, value)
        return value if _is_one(value, kind) else self._left_out(value)

    def _container(self, kind: type, value: Any) -> Any:
        if kind == _COUNTS:
            return self._counts(value) if isinstance(value, Mapping) else self._left_out(value)
        if isinstance(value, Mapping if kind is dict else list | tuple):
            return value
        if value is None:
            return self._left_out(value)
        self._note(f"{type_name(value)} stored in a {kind.__name__}")
        return {"value": value} if kind is dict else [value]

    def _counts(self, value: Mapping[str, Any]) -> dict[str, Any]:
        some = islice(value.items(), LOOKED_AT_MAX)
        counts = {name: self._at(name, _COUNT, count) for name, count in some}
        return {name: count for name, count in counts.items() if count is not None}

    def _document(self, kind: type[BaseModel], value: Any) -> Any:
        document = dict(value) if isinstance(value, Mapping) else {}
        self.model(document, kind)
        fields = _fields(kind).items()
        is_whole = all(name in document for name, field in fields if field.required)
        return document if is_whole and isinstance(value, Mapping) else self._left_out(value)

    def _text(self, value: Any, most: int) -> Any:
        if isinstance(value, str):
            if isinstance(value, OpenEnum):  # ours
                value = value.value
            elif type(value) is not str:  # BSON's Code is one, too
                self._note(f"{type_name(value)} stored as text")
                value = str.__str__(value)
            if len(value) <= most:
                return value
            self._note(f"{len(value)} characters, cut to {most}")
            return shortened(value, most)
        if type_name(value) in _AS_TEXT or _is_whole_number(value):
            self._note(f"{type_name(value)} stored as text")
            return str(value)
        return self._left_out(value)

    def _list(self, item: _Field, value: Any) -> Any:
        given = value
        if isinstance(value, str):
            given = [value]
            self._note("str stored in a list")
        if not isinstance(given, list | tuple):
            return self._left_out(value)
        kept: list[Any] = []
        room = LISTED_MAX_CHARACTERS
        for index, one in enumerate(given):
            if len(kept) == item.most.items or index == LOOKED_AT_MAX or room < 0:
                self._note(f"{len(given)} items, cut to {len(kept)}")
                break
            fitted = self._at(str(index), item, one)
            room -= len(fitted) if isinstance(fitted, str) else 0
            if fitted is not None and room >= 0:
                kept.append(fitted)
        return kept

    def _left_out(self, value: Any) -> Any:
        kind = "dict" if isinstance(value, Mapping) else type_name(value)
        self._note(f"left out, {kind} of a wrong type or out of range")
        return None

    def _note(self, what: str) -> None:
        self._notes.add(self._path, what)


@cache
def _fields(model: type[BaseModel]) -> dict[str, _Field]:
    """Return what the fields of a model may hold, without those that may hold anything."""
    fields = {}
    for name, kind in types_of(model).items():
        field = model.model_fields[name]
        most = next((mark for mark in field.metadata if isinstance(mark, AtMost)), AtMost())
        held: Any = kind
        if kind is object:
            held = tuple(get_args(field.annotation))  # none where it may be anything
        elif kind == list[object] or (get_origin(kind) is dict and kind != _COUNTS):
            held = get_origin(kind)
        if held != ():
            may_be_none = NoneType in get_args(field.annotation)
            fields[name] = _Field(held, most, field.is_required(), may_be_none)
    return fields


def _is_one(value: Any, kind: Any) -> bool:
    """Tell whether a value is a number, a truth or a time, if it has to be that."""
    if type(kind) is tuple:
        return any(_is_one(value, one) for one in kind)
    if kind is int:
        return _is_whole_number(value)
    if kind is float:
        return _is_number(value)
    return isinstance(kind, type) and isinstance(value, kind)


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64


def _is_whole_number(value: Any) -> bool:
    """Tell whether it is one, also where it is written as a double, as mongosh does."""
    return _is_number(value) and -_INT64 <= value < _INT64 and int(value) == value


# The quick look: for each field its usual types, the most characters that it has if it is a text
# (-1 where it must be none), and what else is to be looked at.


def _all_fit(fields: Mapping[str, Any], looks: Mapping[str, _Look]) -> bool:
    for name, value in fields.items():
        look = looks.get(name)
        if look is not None:
            usual, most, inside = look
            kind = type(value)
            fit = len(value) <= most if kind is str else kind in usual or _is_of(usual, kind)
            if not fit or not (inside is None or inside(value)):
                return False
    return True


def _is_of(usual: frozenset[type], kind: type) -> bool:
    """Tell whether a type is BSON's own of integers or documents, or the like, and may be."""
    if dict in usual:
        return issubclass(kind, Mapping)
    return int in usual and issubclass(kind, int) and kind is not bool


def _are_texts(texts: Sequence[Any], *, most: AtMost) -> bool:
    characters = 0
    for one in texts:
        if type(one) is not str or len(one) > most.characters:
            return False
        characters += len(one)
    return len(texts) <= most.items and characters <= LISTED_MAX_CHARACTERS


def _are_models(items: list[Any], *, looks: Mapping[str, _Look], most: AtMost) -> bool:
    return len(items) <= most.items and all(
        isinstance(item, Mapping) and _all_fit(item, looks) for item in items
    )


def _look_at(field: _Field) -> _Look:
    kind, most = field.kind, field.most
    usual, characters = frozenset({kind}), -1
    inside: Callable[[Any], Any] | None = None
    if kind is str:
        characters = most.characters
    elif is_enum(kind):
        characters, inside = NAME_MAX_CHARACTERS, str.strip
    elif kind in (int, float):
        usual, inside = frozenset({kind, int}), _is_number
    elif type(kind) is tuple:
        usual, characters = frozenset(kind), most.characters
        inside = partial(_is_one, kind=kind)
    elif is_model(kind):
        usual, inside = frozenset({dict}), partial(_all_fit, looks=_looks_at(kind))
    elif kind == _COUNTS:
        usual, inside = frozenset({dict}), lambda counts: {*map(type, counts.values())} <= {int}
    elif kind == list[str]:
        usual, inside = frozenset({list}), partial(_are_texts, most=most)
    elif get_origin(kind) is list:
        looks = _looks_at(get_args(kind)[0])
        usual, inside = frozenset({list}), partial(_are_models, looks=looks, most=most)
    return usual, characters, inside


def _looks_at(model: type[BaseModel]) -> dict[str, _Look]:
    return {name: _look_at(field) for name, field in _fields(model).items()}


_LOOKS = _looks_at(CallFields)
# Nothing of these is moved out of the document: whoever reads them finds the type that they have.
STAYING = frozenset(
    name for name, field in _fields(CallFields).items() if field.kind not in (dict, list)
)

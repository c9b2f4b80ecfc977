"""Anything Python -> values that BSON holds and gives back equal, noting every change.

What loses nothing for a reader of JSON is silent: pydantic objects, dataclasses and mappings
become documents, enums their values, tuples arrays. All else that changes gets a note.
"""

import dataclasses
import json
import os
import re
import reprlib
from collections import UserString
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    ValuesView,
)
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import count, islice
from types import NoneType
from typing import Any
from uuid import UUID

import bson
import uuid_utils
from bson.datetime_ms import DatetimeMS

from llm_audit.encoding import moved
from llm_audit.encoding.absent import is_absent
from llm_audit.encoding.bounds import MAX_LEVELS, MAX_NODES, MAX_VALUES, TooMuchError, are_within
from llm_audit.encoding.dumping import dumped
from llm_audit.encoding.iterators import rereadable
from llm_audit.encoding.notes import Notes
from llm_audit.encoding.safe_text import escape_surrogates, marker, safe_key, safe_repr, type_name
from llm_audit.encoding.schemas import name_of, schema_maker
from llm_audit.encoding.single_values import CODEC_OPTIONS, SingleValues
from llm_audit.errors import let_through

LONG_LIST = 64  # values
NUMBERS_A_NODE = 1_000  # that take no longer to copy than another value
MAX_FOREIGN_ITEMS = 1_000_000

BSON_TYPES = frozenset(
    {
        *(bson.Binary, bson.Decimal128, bson.Int64, bson.MaxKey, bson.MinKey),
        *(bson.ObjectId, bson.Regex, bson.Timestamp, DatetimeMS, UUID, re.Pattern),
    }
)


_UNCHANGED = frozenset({NoneType, bool, float})
_SINGLE = _UNCHANGED | {int, str, bytes}


def sanitise(fields: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """Copy `fields` into plain dicts, lists and values that BSON takes.

    Args:
        fields: The fields of a document, their values anything.
        notes: Is told of every change.

    Returns:
        A copy that shares no container with `fields`. What cannot be read, because its own code
        raises, is a marker in it such as `<Report: ValueError>`.
    """
    copy: dict[str, Any] = _Sanitiser(notes).value(fields)
    return copy


class _Sanitiser(SingleValues):
    """One pass over one document; knows the path to the value in hand and its ancestors."""

    def __init__(self, notes: Notes) -> None:
        super().__init__(notes)
        self._ancestors: set[int] = set()

    def value(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind in _UNCHANGED:
            return value
        try:
            return self._convert(value)
        except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
            let_through(error)
            self._note(f"{type_name(value)} unreadable ({type_name(error)})")
            return marker(value, error)

    def _convert(self, value: Any) -> Any:
        kind = type(value)  # not isinstance: a mock may claim any __class__
        if kind in BSON_TYPES:
            return self.bson_value(value)
        for kinds, convert in _CONVERTERS:
            if issubclass(kind, kinds):
                return convert(self, value)
        return self._foreign(value)

    def _foreign(self, value: Any) -> Any:
        kind = type(value)
        if self._room.time_is_over():
            self._note(f"{type_name(value)} not read: such objects took too long already")
            return f"<{type_name(value)}: not read>"
        if (schema_of := schema_maker(value, self._path)) is not None:
            return self._schema(value, schema_of)
        if dataclasses.is_dataclass(kind):
            return self._container(value, self._dataclass)
        if callable(getattr(kind, "model_dump", None)):
            return self._container(value, self._model)
        if callable(getattr(kind, "tolist", None)):
            return self._container(value, self._array)
        return self.as_repr(value)

    # Containers

    def mapping(self, value: Any) -> Any:
        return self._container(value, self._mapping)

    def sequence(self, value: Any) -> Any:
        return self._container(value, self._sequence)

    def unordered(self, value: Any) -> Any:
        return self._container(value, self._set)

    def _container(self, value: Any, build: Callable[[Any], Any]) -> Any:
        if len(self._path) > MAX_LEVELS:
            return self._too_deep(value)
        if id(value) in self._ancestors:
            self._note("cyclic reference left out")
            return f"<{type_name(value)}: cyclic reference>"
        self._ancestors.add(id(value))
        try:
            return build(value)
        finally:
            self._ancestors.discard(id(value))

    def _too_deep(self, value: Any) -> str:
        try:
            if not are_within({"": value}, self._room.nodes):
                raise TooMuchError  # noqa: TRY301  (like what cannot be written)
            text = json.dumps(value, default=safe_repr)
        except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
            let_through(error)
            self._note(f"deeper than {MAX_LEVELS} levels, cut to a short repr")
            return escape_surrogates(reprlib.repr(value))
        self._note(f"deeper than {MAX_LEVELS} levels, stored as JSON text")
        return text

    def _items(self, items: Iterable[tuple[Any, Any]], length: int | None = None) -> dict[str, Any]:
        may_be = islice(items, self._room.nodes + 1)
        pairs = [(key, value) for key, value in may_be if not is_absent(value)]
        # Keys that may stay as they are go first: {1: a, "1": b} keeps b under "1".
        taken = {key for key, _ in pairs if type(key) is str}
        numbers: dict[str, Iterator[int]] = {}  # by the name that several keys have
        document: dict[str, Any] = {}
        for at, (key, value) in enumerate(pairs):
            if not self._path:
                self._room.for_a_field()
            elif not self._room.take():
                self._left_out(at, length)
                break
            name, change = safe_key(key)
            if name in document or (name in taken and name is not key):
                change = f"{change or 'key'}, beside its namesake {name[:40]}"
                free = numbers.setdefault(name, count(2))
                name = next(f"{name}#{n}" for n in free if f"{name}#{n}" not in taken)
            if not self._room.take(0, len(name)):
                self._left_out(at, length)
                break
            taken.add(name)
            self._path.append(name)
            try:
                if change:
                    self._note(change)
                document[name] = self.value(value)
            finally:
                self._path.pop()
        return self._escape_dbref(document)

    def _left_out(self, taken: int, length: int | None) -> None:
        many = "more" if length is None else f"{length - taken:,}"
        self._note(f"{many} values left out: {MAX_NODES:,} of a call are stored at the most")

    def _escape_dbref(self, document: dict[str, Any]) -> dict[str, Any]:
        safe = moved.escaped(document)
        for key in () if safe is document else safe.keys() - document.keys():
            self._notes.add([*self._path, "$id"], f"key stored as {key}, not to make a DBRef")
        return safe

    def _elements(self, values: Iterable[Any], length: int | None = None) -> list[Any]:
        elements: list[Any] = []
        for index, value in enumerate(one for one in values if not is_absent(one)):
            if not self._room.take():
                self._left_out(index, length)
                break
            self._path.append(str(index))
            try:
                elements.append(self.value(value))
            finally:
                self._path.pop()
        return elements

    def _mapping(self, value: Any) -> Any:
        if issubclass(type(value), dict):
            return self._items(dict.items(value), dict.__len__(value))
        if len(value) > MAX_FOREIGN_ITEMS:
            return self.as_repr(value)
        return self._items(islice(value.items(), MAX_FOREIGN_ITEMS))

    def _sequence(self, value: Any) -> Any:
        if issubclass(type(value), list):
            return self._listed(list.__getitem__(value, slice(MAX_VALUES)), list.__len__(value))
        if issubclass(type(value), tuple):
            return self._listed(tuple.__getitem__(value, slice(MAX_VALUES)), tuple.__len__(value))
        if len(value) > MAX_FOREIGN_ITEMS:
            return self.as_repr(value)
        self._note(f"{type_name(value)} stored as list")
        return self._elements(islice(value, MAX_FOREIGN_ITEMS))

    def _listed(self, values: Sequence[Any], length: int) -> list[Any]:
        """Return a copy of a list, in one step if it is long and holds nothing but numbers, say."""
        if len(values) <= LONG_LIST or not _SINGLE.issuperset(map(type, values)):
            return self._elements(values, length)
        texts = [value for value in values if type(value) is str or type(value) is bytes]
        many = len(texts) or len(values) // NUMBERS_A_NODE  # who redacts looks at each text
        if not self._room.take(many, sum(map(len, texts))):
            return self._elements(values, length)
        try:
            bson.encode({"": values}, codec_options=CODEC_OPTIONS)
        except BaseException as error:  # noqa: BLE001  (numbers beyond 64 bits, half surrogates)
            let_through(error)
            return self._elements(values, length)
        if length > len(values):
            self._left_out(len(values), length)
        return list(values)

    def iterator(self, value: Any) -> Any:
        rest = rereadable(value)
        if rest is not None:
            return self._container(value, lambda _: self._elements(islice(rest, MAX_FOREIGN_ITEMS)))
        self._note(f"{type_name(value)} not read: it can be read only once, and that is the app's")
        return f"<{type_name(value)}: not read>"

    def _set(self, value: Any) -> list[Any]:
        self._note(f"{type_name(value)} stored as list, sorted by repr")
        some = [(safe_repr(one), one) for one in islice(value, self._room.nodes)]
        self._reprs = {id(one): text for text, one in some}
        in_order = [one for _, one in sorted(some, key=lambda pair: pair[0])]
        return self._elements(in_order, len(value))

    def _dataclass(self, value: Any) -> dict[str, Any]:
        return self._items((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))

    def _model(self, value: Any) -> Any:
        try:
            fields = dumped(value)
        except BaseException as error:  # noqa: BLE001  (a cycle, or a serialiser of the user's)
            let_through(error)
            self._note(f"{type_name(value)}.model_dump failed ({type_name(error)}), fields kept")
            fields = {**vars(value), **(getattr(value, "model_extra", None) or {})}
        return self._convert(fields)

    def _schema(self, value: Any, schema_of: Callable[[Any], dict[str, Any]]) -> Any:
        try:
            document = schema_of(value)
        except BaseException as error:  # noqa: BLE001  (a class without a schema, or hostile code)
            let_through(error)
            return self.as_repr(value)
        self._note(f"{escape_surrogates(name_of(value))} stored as its JSON schema")
        return self._convert(document)

    def _array(self, value: Any) -> Any:
        size = getattr(value, "size", 0)
        if type(size) is int and size > MAX_VALUES:
            return self.as_repr(value)
        elements = value.tolist()
        self._note(f"{type_name(value)} stored as {type_name(elements)}")
        return self._convert(elements)

    # What holds another value

    def enum(self, value: Any) -> Any:
        return self._convert(value.value)

    def code(self, value: Any) -> Any:
        scope = value.scope
        return bson.Code(self.text(value), None if scope is None else self._convert(scope))

    def dbref(self, value: Any) -> Any:
        return self._convert(value.as_doc())

    def path(self, value: Any) -> Any:
        self._note(f"{type_name(value)} stored as str")
        return self._convert(os.fspath(value))


# The first that fits counts, so the narrower stand above the wider.
_CONVERTERS: tuple[tuple[Any, Callable[[_Sanitiser, Any], Any]], ...] = (
    (Enum, _Sanitiser.enum),
    (bson.Code, _Sanitiser.code),
    (str, _Sanitiser.text),
    ((NoneType, bool, float), _Sanitiser.unchanged),
    (uuid_utils.UUID, _Sanitiser.uuid),
    (int, _Sanitiser.integer),
    (Mapping, _Sanitiser.mapping),
    ((list, tuple), _Sanitiser.sequence),
    ((set, frozenset), _Sanitiser.unordered),
    ((bytes, bytearray, memoryview), _Sanitiser.binary),
    (datetime, _Sanitiser.instant),
    ((date, time), _Sanitiser.isoformat),
    (timedelta, _Sanitiser.seconds),
    (Decimal, _Sanitiser.decimal),
    (BaseException, _Sanitiser.exception),
    (bson.DBRef, _Sanitiser.dbref),
    (os.PathLike, _Sanitiser.path),
    ((range, UserString), _Sanitiser.as_repr),
    (Sequence, _Sanitiser.sequence),
    ((KeysView, ValuesView, ItemsView), _Sanitiser.sequence),
    (Iterator, _Sanitiser.iterator),
)

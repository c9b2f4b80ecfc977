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
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS

from llm_audit.encoding import moved
from llm_audit.encoding.absent import is_absent
from llm_audit.encoding.dumping import dumped
from llm_audit.encoding.iterators import rereadable
from llm_audit.encoding.notes import Notes
from llm_audit.encoding.safe_text import escape_surrogates, marker, safe_key, safe_repr, type_name
from llm_audit.encoding.schemas import name_of, schema_maker
from llm_audit.errors import let_through

CODEC_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, uuid_representation=UuidRepresentation.STANDARD
)
# Containers below the document itself. The server takes 180 levels (100 are documented), of which
# an update statement needs a few.
MAX_LEVELS = 100
MAX_FOREIGN_ITEMS = 1_000_000

BSON_TYPES = frozenset(
    {
        *(bson.Binary, bson.Code, bson.Decimal128, bson.Int64, bson.MaxKey, bson.MinKey),
        *(bson.ObjectId, bson.Regex, bson.Timestamp, DatetimeMS, UUID, re.Pattern),
    }
)


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


class _Sanitiser:
    """One pass over one document; knows the path to the value in hand and its ancestors."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._path: list[str] = []
        self._ancestors: set[int] = set()

    def value(self, value: Any) -> Any:
        try:
            return self._convert(value)
        except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
            let_through(error)
            self._note(f"{type_name(value)} unreadable ({type_name(error)})")
            return marker(value, error)

    def _note(self, what: str) -> None:
        self._notes.add(self._path, what)

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
            text = json.dumps(value, default=safe_repr)
        except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
            let_through(error)
            self._note(f"deeper than {MAX_LEVELS} levels, cut to a short repr")
            return escape_surrogates(reprlib.repr(value))
        self._note(f"deeper than {MAX_LEVELS} levels, stored as JSON text")
        return text

    def _items(self, items: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
        pairs = [(key, value) for key, value in items if not is_absent(value)]
        # Keys that may stay as they are go first: {1: a, "1": b} keeps b under "1".
        taken = {key for key, _ in pairs if type(key) is str}
        document: dict[str, Any] = {}
        for key, value in pairs:
            name, change = safe_key(key)
            if name in document or (name in taken and name is not key):
                change = f"{change or 'key'}, beside its namesake {name[:40]}"
                name = next(f"{name}#{n}" for n in count(2) if f"{name}#{n}" not in taken)
            taken.add(name)
            self._path.append(name)
            try:
                if change:
                    self._note(change)
                document[name] = self.value(value)
            finally:
                self._path.pop()
        return self._escape_dbref(document)

    def _escape_dbref(self, document: dict[str, Any]) -> dict[str, Any]:
        safe = moved.escaped(document)
        for key in () if safe is document else safe.keys() - document.keys():
            self._notes.add([*self._path, "$id"], f"key stored as {key}, not to make a DBRef")
        return safe

    def _elements(self, values: Iterable[Any]) -> list[Any]:
        elements: list[Any] = []
        for index, value in enumerate(one for one in values if not is_absent(one)):
            self._path.append(str(index))
            try:
                elements.append(self.value(value))
            finally:
                self._path.pop()
        return elements

    def _mapping(self, value: Any) -> Any:
        if issubclass(type(value), dict):
            return self._items(dict.items(value))
        if len(value) > MAX_FOREIGN_ITEMS:
            return self.as_repr(value)
        return self._items(islice(value.items(), MAX_FOREIGN_ITEMS))

    def _sequence(self, value: Any) -> Any:
        if issubclass(type(value), list):
            return self._elements(list.copy(value))
        if issubclass(type(value), tuple):
            return self._elements(tuple.__iter__(value))
        if len(value) > MAX_FOREIGN_ITEMS:
            return self.as_repr(value)
        self._note(f"{type_name(value)} stored as list")
        return self._elements(islice(value, MAX_FOREIGN_ITEMS))

    def iterator(self, value: Any) -> Any:
        rest = rereadable(value)
        if rest is not None:
            return self._container(value, lambda _: self._elements(islice(rest, MAX_FOREIGN_ITEMS)))
        self._note(f"{type_name(value)} not read: it can be read only once, and that is the app's")
        return f"<{type_name(value)}: not read>"

    def _set(self, value: Any) -> list[Any]:
        self._note(f"{type_name(value)} stored as list, sorted by repr")
        return self._elements(sorted(value, key=safe_repr))

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
        elements = value.tolist()
        self._note(f"{type_name(value)} stored as {type_name(elements)}")
        return self._convert(elements)

    # Single values

    def unchanged(self, value: Any) -> Any:
        return value

    def bson_value(self, value: Any) -> Any:
        if moved.is_mark(value):
            self._note(f"32 bytes of subtype {moved.SUBTYPE}, which are ours, stored as bytes")
            return bytes(value)
        try:
            raw = bson.encode({"": value}, codec_options=CODEC_OPTIONS)
            bson.decode(raw, codec_options=CODEC_OPTIONS)
        except BaseException as error:  # noqa: BLE001  (whatever it raises here, a reader would meet it too)
            let_through(error)
            return self.as_repr(value)
        return value

    def text(self, value: Any) -> str:
        text = str.__str__(value)
        clean = escape_surrogates(text)
        if clean != text:
            self._note("lone surrogates escaped")
        return clean

    def integer(self, value: Any) -> int | str:
        number = int.__index__(value)
        if -(2**63) <= number < 2**63:
            return number
        self._note("int beyond 64 bits stored as str")
        try:
            return str(number)
        except ValueError as error:  # longer than sys.get_int_max_str_digits()
            let_through(error)
            return hex(number)

    def decimal(self, value: Any) -> Any:
        try:
            number = bson.Decimal128(value)
        except ArithmeticError as error:  # more than 34 digits, or the exponent too large
            let_through(error)
            self._note("Decimal stored as str")
            return str(value)
        self._note("Decimal stored as Decimal128")
        return number

    def instant(self, value: Any) -> Any:
        try:
            bson.encode({"": value}, codec_options=CODEC_OPTIONS)
        except BaseException as error:  # noqa: BLE001  (out of range in UTC, or a zone that raises)
            let_through(error)
            return self.isoformat(value)
        return value

    def isoformat(self, value: Any) -> str:
        self._note(f"{type_name(value)} stored as ISO 8601 text")
        return escape_surrogates(value.isoformat())

    def seconds(self, value: Any) -> float:
        self._note("timedelta stored as seconds")
        return timedelta.total_seconds(value)

    def binary(self, value: Any) -> Any:
        if not issubclass(type(value), bytes):
            self._note(f"{type_name(value)} stored as bytes")
        return bytes(value)

    def enum(self, value: Any) -> Any:
        return self._convert(value.value)

    def uuid(self, value: Any) -> UUID:
        return UUID(bytes=value.bytes)

    def dbref(self, value: Any) -> Any:
        return self._convert(value.as_doc())

    def exception(self, value: Any) -> str:
        self._note(f"{type_name(value)} stored as text")
        return escape_surrogates(f"{type_name(value)}: {value}")

    def path(self, value: Any) -> Any:
        self._note(f"{type_name(value)} stored as str")
        return self._convert(os.fspath(value))

    def as_repr(self, value: Any) -> str:
        self._note(f"{type_name(value)} stored as its repr")
        return safe_repr(value)


# The first that fits counts, so the narrower stand above the wider.
_CONVERTERS: tuple[tuple[Any, Callable[[_Sanitiser, Any], Any]], ...] = (
    (Enum, _Sanitiser.enum),
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

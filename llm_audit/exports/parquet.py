"""Calls as a Parquet file. The one module that needs pyarrow.

What holds further fields (messages, tools, metadata ...) is JSON as text: its shape differs from
provider to provider and from call to call, and a column of Parquet has one shape for a whole file.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from bson import Decimal128
from pyarrow import parquet

from llm_audit.display.json_lines import json_line
from llm_audit.exports.columns import type_in, value_in
from llm_audit.queries.steps import Document

_ROWS = 20_000  # of a row group, which is in memory until it is written
_CHARACTERS = 8 * 2**20
_INT64 = range(-(2**63), 2**63)


class MisfitError(Exception):
    """A value cannot be what its column holds."""


class ParquetRows:
    """The rows of one file, written in groups as they come.

    Args:
        writer: Of the file, with a column for each of these names.
        columns: Their names.

    Attributes:
        misfits: How many values are left empty, by column, as its type is another.
    """

    def __init__(self, writer: parquet.ParquetWriter, columns: tuple[str, ...]) -> None:
        self._writer = writer
        self._make = {name: _maker(type_in(name)) for name in columns}
        self._begin()
        self.misfits: Counter[str] = Counter()

    def add(self, call: Document) -> None:
        """Add a call as a row."""
        for name, make in self._make.items():
            value = value_in(call, name)
            try:
                made = None if value is None else make(value)
            except MisfitError:
                self.misfits[name] += 1
                made = None
            self._columns[name].append(made)
            self._characters += len(made) if isinstance(made, str) else 0
        self._rows += 1
        if self._rows == _ROWS or self._characters >= _CHARACTERS:
            self.write()

    def write(self) -> None:
        """Write the rows that are in memory, as a row group."""
        if self._rows:
            table = pa.table(self._columns, schema=self._writer.schema)
            self._writer.write_table(table)
            self._begin()

    def _begin(self) -> None:
        self._columns: dict[str, list[Any]] = {name: [] for name in self._make}
        self._rows = self._characters = 0


@contextmanager
def parquet_file(
    path: Path, columns: tuple[str, ...], opener: Callable[[str, int], int]
) -> Iterator[ParquetRows]:
    """Write a file; it can be read when the block is left.

    Args:
        path: Of the new file.
        columns: In their order.
        opener: Opens it, with the rights that it is to have.
    """
    schema = pa.schema([(name, _TYPES.get(type_in(name), pa.string())) for name in columns])
    with (
        open(path, "xb", opener=opener) as file,
        parquet.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        rows = ParquetRows(writer, columns)
        yield rows
        rows.write()


def _maker(kind: Any) -> Callable[[Any], Any]:
    """Return what makes a value of a field of this type one of its column."""
    if isinstance(kind, type) and issubclass(kind, str):
        return _text
    return _MAKERS.get(kind, json_line)


def _int(value: Any) -> int:
    number: int | float = _number(value)
    if not float(number).is_integer() or int(number) not in _INT64:
        raise MisfitError
    return int(number)


def _float(value: Any) -> float:
    return float(_number(value))


def _number(value: Any) -> float:
    if isinstance(value, Decimal128):
        return float(value.to_decimal())
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MisfitError
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise MisfitError
    return value


def _datetime(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise MisfitError
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise MisfitError
    return [_text(item) for item in value]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_line(value)


_MAKERS: dict[Any, Callable[[Any], Any]] = {
    int: _int,
    float: _float,
    bool: _bool,
    datetime: _datetime,
    list[str]: _texts,
    object: _text,
}
_TYPES = {
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("ms", tz="UTC"),
    list[str]: pa.list_(pa.string()),
}

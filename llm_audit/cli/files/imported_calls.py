"""The calls in files that `llm-audit import` takes, and what keeps a document from being one."""

import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel

from llm_audit.call import (
    OUTCOME_FIELD_NAMES,
    SAID,
    CallFields,
    Kind,
    LLMCallStatusEnum,
    named,
)
from llm_audit.cli.files.unpacking import LINE_MAX_BYTES, TooMuchError, lines_in
from llm_audit.display.json_lines import from_json
from llm_audit.field_types import models_in, types_of
from llm_audit.given.arguments import known_identifier

if TYPE_CHECKING:
    from bson import CodecOptions
    from bson.raw_bson import RawBSONDocument

DOCUMENT_MAX_BYTES = 16 * 2**20
# Commas and brackets in a line: of lists, documents and items no more fit into a document.
# They take up much more memory than the line.
ITEMS_MAX = 2**23

# What every list and sum reads: the dates, the figures of how a call ended, the names in it.
_DATES = tuple(name for name, kind in types_of().items() if kind is datetime)
_FIGURES = {
    name: types_of()[name]
    for name in named(Kind.FIGURE)
    if name in OUTCOME_FIELD_NAMES and types_of()[name] in {int, float}
}
_LISTS = tuple(name for name in named(Kind.LABEL) if name in OUTCOME_FIELD_NAMES)
_STATUSES = frozenset(LLMCallStatusEnum)
_LENGTH_BYTES = 4
_SMALLEST = 5  # bytes of a document without fields
_LARGEST = 2**25  # what mongodump writes is half as large

Refuse = Callable[[str], None]
Read = Iterator[tuple["CallInFile", dict[str, Any]]]


class _RefusedError(Exception):
    """Why a line is no call."""


class CallInFile(NamedTuple):
    """A call as it goes to MongoDB, byte for byte, and where it stands."""

    place: str
    document: "RawBSONDocument"
    is_of_a_list: bool = False  # perhaps: plain JSON in which nothing is said


def calls_in(stream: BufferedReader, name: str, refuse: Refuse) -> Iterator[CallInFile]:
    """Yield the calls of a file.

    Args:
        stream: Unpacked.
        name: Of the file, for what is refused.
        refuse: Is told, in a line each, what is no call.
    """
    with refusing_the_rest(name, refuse) as at:
        # a BSON document begins with its length, below 2**25; JSON holds no such characters
        is_bson = stream.peek(_LENGTH_BYTES)[3:4] in {b"\x00", b"\x01"}
        read = _from_bson if is_bson else _from_json
        for call, document in read(stream, lambda reason: refuse(f"{name}, {reason}")):
            at.place = call.place
            if problem := next(_problems(document, len(call.document.raw)), None):
                refuse(f"{name}, {call.place}: {problem}")
            else:
                yield call


@dataclass
class _At:
    """How far a file has been read."""

    place: str = ""


@contextmanager
def refusing_the_rest(name: str, refuse: Refuse) -> Iterator[_At]:
    """Refuse what cannot be unpacked of a file.

    Args:
        name: Of the file.
        refuse: As of `calls_in`.

    Yields:
        What is to be told how far it has been read.
    """
    at = _At()
    try:
        yield at
    except TooMuchError:
        refuse(f"{name} is read to {at.place or 'its beginning'} only: it unpacks to too much")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        after = f" after {at.place}" if at.place else ""
        refuse(f"{name} cannot be read{after} ({type(error).__name__})")


def too_much_in(line: bytes | None) -> str | None:
    """Return why a line is not even read; None if it is.

    Args:
        line: None if it is too long.
    """
    if line is None:
        return f"it is longer than {LINE_MAX_BYTES // 2**20} MiB"
    if sum(map(line.count, (b",", b"[", b"{"))) > ITEMS_MAX:
        return f"it has more than {ITEMS_MAX:,} items"
    return None


def _from_json(stream: BufferedReader, refuse: Refuse) -> Read:
    from bson.raw_bson import RawBSONDocument

    for number, line in lines_in(stream):
        place = f"line {number}"
        try:
            document, raw, is_plain = _call_in(line, is_first=number == 1)
        except _RefusedError as why:
            refuse(f"{place}: {why}")
        except Exception as error:  # noqa: BLE001  (whatever a line holds costs that line)
            refuse(f"{place}: no JSON of a call ({type(error).__name__})")
        else:
            is_of_a_list = is_plain and document.keys().isdisjoint(SAID)
            yield CallInFile(place, RawBSONDocument(raw), is_of_a_list), document


def _call_in(line: bytes | None, *, is_first: bool) -> tuple[dict[str, Any], bytes, bool]:
    """Return the document in a line, the same as BSON, and whether it is plain JSON."""
    import bson

    if (why := too_much_in(line)) or line is None:
        raise _RefusedError(why)
    # some editors begin a file with a byte order mark
    document, is_plain = from_json(line.decode("utf-8-sig" if is_first else "utf-8"))
    if is_plain:
        _read_dates(document)
    return document, bson.encode(document, codec_options=_codec_options()), is_plain


def _from_bson(stream: BufferedReader, refuse: Refuse) -> Read:
    import bson
    from bson.raw_bson import RawBSONDocument

    options = _codec_options()
    for number, content in enumerate(_documents(stream), start=1):
        place = f"document {number}"
        try:
            # the whole of it is read once, so MongoDB and who reads it later can do so too
            document = bson.decode(content, options)
            raw = RawBSONDocument(content)
        except Exception as error:  # noqa: BLE001  (whatever it holds costs that document)
            refuse(f"{place}: it cannot be read ({type(error).__name__})")
        else:
            yield CallInFile(place, raw), document


def _documents(stream: BufferedReader) -> Iterator[bytes]:
    """Yield what lies between the lengths that documents begin with.

    Raises:
        EOFError: It breaks off, or a length is none.
    """
    while head := stream.read(_LENGTH_BYTES):
        length = int.from_bytes(head, "little")
        if len(head) < _LENGTH_BYTES or not _SMALLEST <= length < _LARGEST:
            raise EOFError
        content = head + stream.read(length - _LENGTH_BYTES)
        if len(content) < length:
            raise EOFError
        yield content


def _codec_options() -> "CodecOptions[dict[str, Any]]":
    from bson.codec_options import CodecOptions, DatetimeConversion

    return CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)


def _problems(document: dict[str, Any], size: int) -> Iterator[str]:
    """Yield why a document cannot be a call: every list or sum would stumble over it."""
    call_id = document.get("_id")
    if not isinstance(call_id, str) or not call_id or known_identifier(call_id) != call_id:
        yield "it has no id of a call"
    status = document.get("status")
    if not isinstance(status, str) or status not in _STATUSES:
        yield "it has no status of a call"
    for name in _DATES:
        if not isinstance(document.get(name), datetime | None):
            yield f"{name} is no date; llm-audit export makes what import takes"
    yield from _wrong_numbers(document)
    for name in _LISTS:
        if not isinstance(document.get(name), list | None):
            yield f"{name} is no list"
    if size > DOCUMENT_MAX_BYTES:
        yield "it is larger than 16 MiB"
    if _is_deep(document):
        yield "it is nested deeper than what llm-audit records"


def _is_deep(document: dict[str, Any]) -> bool:
    """Tell whether it is deeper than what is recorded; MongoDB takes no more than 180 levels."""
    from llm_audit.encoding.bounds import MAX_LEVELS

    level: list[Any] = [document]
    for _ in range(MAX_LEVELS + 1):
        items = chain.from_iterable(one.values() if isinstance(one, dict) else one for one in level)
        level = [item for item in items if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _wrong_numbers(document: dict[str, Any]) -> Iterator[str]:
    for name, kind in _FIGURES.items():
        value = document.get(name)
        if not _is_number(value):
            yield f"{name} is no number"
        elif kind is int and value and value % 1:
            yield f"{name} is no whole number"


def _is_number(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_dates(document: dict[str, Any], model: type[BaseModel] = CallFields) -> None:
    """Make dates of the texts in ISO 8601 that plain JSON has for them."""
    for name, kind in types_of(model).items():
        value = document.get(name)
        if kind is datetime and isinstance(value, str):
            with suppress(ValueError):  # then it is no date, and refused as such
                document[name] = datetime.fromisoformat(value)
        for inner, item in models_in(value, kind):
            _read_dates(item, inner)

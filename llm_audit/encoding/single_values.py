"""What holds no other value -> what BSON holds in its place, noting every change."""

from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions

from llm_audit.encoding import moved
from llm_audit.encoding.bounds import MAX_BYTES, Room, is_no_uuid
from llm_audit.encoding.notes import BIG_INTEGER, Notes
from llm_audit.encoding.safe_text import escape_surrogates, safe_repr, type_name
from llm_audit.errors import let_through

CODEC_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, uuid_representation=UuidRepresentation.STANDARD
)
T = TypeVar("T", str, bytes)


class SingleValues:
    """Knows the path to the value in hand, and how much room is left.

    Args:
        notes: Is told of every change.
    """

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._path: list[str] = []
        self._room = Room()
        self._reprs: dict[int, str] = {}  # that are known already, of what is in a set

    def _note(self, what: str) -> None:
        self._notes.add(self._path, what)

    def unchanged(self, value: Any) -> Any:
        """Return a value that BSON holds as it is."""
        return value

    def bson_value(self, value: Any) -> Any:
        """Return a value of BSON's own, or its repr if that cannot be read back."""
        if moved.is_mark(value):
            self._note(f"32 bytes of subtype {moved.SUBTYPE}, which are ours, stored as bytes")
            return bytes(value)
        if is_no_uuid(value):
            self._note(f"{len(value)} bytes of subtype {value.subtype}, no UUID, stored as bytes")
            return bytes(value)
        try:
            raw = bson.encode({"": value}, codec_options=CODEC_OPTIONS)
            bson.decode(raw, codec_options=CODEC_OPTIONS)
        except BaseException as error:  # noqa: BLE001  (whatever it raises here, a reader would meet it too)
            let_through(error)
            return self.as_repr(value)
        return value

    def text(self, value: Any) -> str:
        """Return a text without what UTF-8 does not hold."""
        text = self._cut(str.__str__(value), "characters")
        clean = escape_surrogates(text)
        if clean != text:
            self._note("lone surrogates escaped")
        return clean

    def integer(self, value: Any) -> int | str:
        """Return a number, as text if it has more than 64 bits."""
        number = int.__index__(value)
        if -(2**63) <= number < 2**63:
            return number
        self._note(BIG_INTEGER)
        try:
            return self._cut(str(number), "digits")
        except ValueError as error:  # longer than sys.get_int_max_str_digits()
            let_through(error)
            return self._cut(hex(number), "digits")

    def decimal(self, value: Any) -> Any:
        """Return a Decimal128, or a text if the number does not fit into one."""
        try:
            number = bson.Decimal128(value)
        except ArithmeticError as error:  # more than 34 digits, or the exponent too large
            let_through(error)
            self._note("Decimal stored as str")
            return self._cut(str(value), "digits")
        self._note("Decimal stored as Decimal128")
        return number

    def instant(self, value: Any) -> Any:
        """Return a datetime, or a text if MongoDB's dates do not hold it."""
        try:
            bson.encode({"": value}, codec_options=CODEC_OPTIONS)
        except BaseException as error:  # noqa: BLE001  (out of range in UTC, or a zone that raises)
            let_through(error)
            return self.isoformat(value)
        return value

    def isoformat(self, value: Any) -> str:
        """Return what BSON has no type for, a day say, as ISO 8601 text."""
        self._note(f"{type_name(value)} stored as ISO 8601 text")
        return escape_surrogates(value.isoformat())

    def seconds(self, value: Any) -> float:
        """Return a timedelta as seconds."""
        self._note("timedelta stored as seconds")
        return timedelta.total_seconds(value)

    def binary(self, value: Any) -> Any:
        """Return bytes, of whatever holds some."""
        if not issubclass(type(value), bytes):
            self._note(f"{type_name(value)} stored as bytes")
        return self._cut(bytes(value), "bytes")

    def _cut(self, value: T, unit: str) -> T:
        """Return as much of a text or of bytes as there is room for."""
        kept = value[: self._room.for_content(value)]
        if len(kept) < len(value):
            left_out = len(value) - len(kept)
            self._note(f"{left_out:,} {unit} left out: a call may have {MAX_BYTES:,}")
        return kept

    def uuid(self, value: Any) -> UUID:
        """Return a UUID of the standard library."""
        return UUID(bytes=value.bytes)

    def exception(self, value: Any) -> str:
        """Return an exception as its type and text."""
        self._note(f"{type_name(value)} stored as text")
        return f"{type_name(value)}: {safe_repr(value, str)}"

    def as_repr(self, value: Any) -> str:
        """Return what nothing else is known of as its repr."""
        self._note(f"{type_name(value)} stored as its repr")
        return self._reprs.pop(id(value), "") or safe_repr(value)

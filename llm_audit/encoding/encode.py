"""Any fields -> one BSON document, for the journal; says what it changed and moved out.

Nearly every call takes the fast path: `bson.encode`, and a look at the bytes which shows that they
will be read back equal. The rest is copied value by value (`sanitise`) and made to fit
(`externalise`).

Read back as `bson` reads them: datetimes in UTC and cut to milliseconds, tuples as lists, compiled
patterns as `bson.Regex`.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import chain
from types import NoneType
from typing import Any, NamedTuple

import bson
from bson.codec_options import TypeRegistry

from llm_audit.encoding.bounds import MAX_LEVELS, are_within
from llm_audit.encoding.externalise import Blob, is_media, move_largest, move_long, move_media
from llm_audit.encoding.moved import HASH_BYTES, SUBTYPE, is_id, is_mark
from llm_audit.encoding.notes import Notes
from llm_audit.encoding.sanitise import BSON_TYPES, sanitise
from llm_audit.encoding.single_values import CODEC_OPTIONS
from llm_audit.errors import let_through

__all__ = ["Blob", "Encoded", "encode", "encode_plain"]

_MARK = HASH_BYTES.to_bytes(4, "little") + bytes([SUBTYPE])  # as BSON begins a Binary
_DOLLAR, _REFERENCE = ord("$"), b"$ref\0"
_FEW_DOLLARS = 8  # lengths hold some, too
_SINGLE_VALUES = frozenset({NoneType, bool, int, float, datetime}) | BSON_TYPES


def _refuse(value: Any) -> Any:
    raise TypeError(type(value))


# Else the driver asks every object that it refuses for its repr, which may be anything.
_REFUSING = CODEC_OPTIONS.with_options(type_registry=TypeRegistry(fallback_encoder=_refuse))


class Encoded(NamedTuple):
    """A BSON document, what was changed in it ("<path>: <what>"), and what was moved out of it."""

    raw: bytes
    notes: tuple[str, ...]
    blobs: tuple[Blob, ...]


def encode(fields: dict[str, Any], max_bytes: int, media_limit_bytes: int) -> Encoded:
    """Encode the fields of a document; content never makes it raise.

    Args:
        fields: Names of ours, values of the user's.
        max_bytes: How long the document may be; what is too much for it becomes blobs.
        media_limit_bytes: base64 media and bytes longer than this become blobs always.

    Returns:
        The document; no notes and no blobs if it will be read back equal.
    """
    raw = encode_plain(fields, max_bytes, media_limit_bytes)
    if raw is not None:
        return Encoded(raw, (), ())
    return encode_carefully(fields, max_bytes, media_limit_bytes)


def encode_plain(fields: dict[str, Any], max_bytes: int, media_limit_bytes: int) -> bytes | None:
    """Encode fields that will be read back equal, or return None: `encode` takes more care."""
    try:
        if not are_within(fields):
            return None
        raw = bson.encode(fields, codec_options=_REFUSING)
        equal = len(raw) <= max_bytes and (
            _is_plain(raw, media_limit_bytes) or _are_plain(fields, media_limit_bytes)
        )
    except BaseException as error:  # noqa: BLE001  (whatever BSON refuses, the careful way finds and notes)
        let_through(error)
        return None
    return raw if equal else None


def encode_short(fields: dict[str, Any]) -> bytes | None:
    """Encode fields of ours that are no text of any length and no container of the user's."""
    try:
        return bson.encode(fields, codec_options=_REFUSING)
    except BaseException as error:  # noqa: BLE001  (as above)
        let_through(error)
        return None


def with_bytes(doc: bytes, name: str, value: bytes, before: bytes = b"") -> bytes:
    """Return a document with another field, of bytes.

    Args:
        doc: The document.
        name: Of the field.
        value: Of the field.
        before: Fields that come first, as they are in BSON.
    """
    head = b"\x05" + name.encode() + b"\0" + len(value).to_bytes(4, "little") + b"\0"
    length = len(before) + len(doc) + len(head) + len(value)
    return b"".join((length.to_bytes(4, "little"), before, doc[4:-1], head, value, b"\0"))


def encode_carefully(
    fields: dict[str, Any],
    max_bytes: int,
    media_limit_bytes: int,
    rewrite: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Encoded:
    """Encode what `encode_plain` has turned down: convert, and move out what is too large.

    Args:
        fields: As `encode` takes them.
        max_bytes: The same.
        media_limit_bytes: The same.
        rewrite: Takes the document of plain values, before anything is moved out of it, and
            returns what is stored.
    """
    notes = Notes()
    document = sanitise(fields, notes)
    if rewrite is not None:
        document = rewrite(document)
    blobs = move_media(document, media_limit_bytes, notes)
    blobs |= move_long(document, max_bytes, notes)  # so as not to encode them twice
    raw = bson.encode(document, codec_options=CODEC_OPTIONS)
    if len(raw) > max_bytes:
        blobs |= move_largest(document, len(raw) - max_bytes, notes)
        raw = bson.encode(document, codec_options=CODEC_OPTIONS)
    return Encoded(raw, notes.lines(), tuple(blobs.values()))


def _is_plain(raw: bytes, media_limit_bytes: int) -> bool:
    """Tell by quick looks that a document surely holds no media, DBRef or mark."""
    return (
        len(raw) <= media_limit_bytes
        # a single byte is found ten times as fast, and as a number once more so
        and (SUBTYPE not in raw or _MARK not in raw)
        and not _may_hold_reference(raw)
    )


def _may_hold_reference(raw: bytes) -> bool:
    """Tell whether a document may hold a DBRef, or one whose `$id` has a full-width dollar."""
    at = -1
    for _ in range(_FEW_DOLLARS):  # a sign alone is found ten times as fast
        at = raw.find(_DOLLAR, at + 1)
        if at < 0:
            return False
        if raw.startswith(_REFERENCE, at):
            break
    # twice as fast from the right as from the left
    is_named = raw.rfind(_REFERENCE) >= 0
    return is_named and (raw.rfind(b"$id\0") >= 0 or raw.rfind(b"\x84id\0") >= 0)


def _are_plain(fields: dict[str, Any], media_limit_bytes: int) -> bool:
    """Tell the same for certain by a look at every value, level by level."""
    level: list[Iterable[Any]] = [fields.values()]
    for _ in range(MAX_LEVELS + 1):
        below: list[Iterable[Any]] = []
        for value in chain.from_iterable(level):
            kind = type(value)
            if kind is dict:
                if "$ref" in value and any(map(is_id, value)):
                    return False
                below.append(value.values())
            elif kind is list or kind is tuple:
                below.append(value)
            elif kind is bytes or isinstance(value, str):
                if len(value) > media_limit_bytes and is_media(value):
                    return False
            elif is_mark(value) or (
                kind not in _SINGLE_VALUES and not isinstance(value, (int, float))
            ):
                return False
        if not below:
            return True
        level = below
    return False

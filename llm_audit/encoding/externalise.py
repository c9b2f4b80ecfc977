"""Content too large for a document: out of it into blobs, a reference in its place."""

import hashlib
import heapq
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import bson

from llm_audit.encoding.moved import reference_to
from llm_audit.encoding.notes import Notes
from llm_audit.encoding.single_values import CODEC_OPTIONS
from llm_audit.gate import STAYING

# An upper bound of what a reference takes in BSON: the hash, and 100 characters of 4 bytes.
REFERENCE_BYTES = 600
PREVIEW_CHARACTERS = 100
# So many strings may move one by one; when it takes more, whole fields move.
MAX_MOVED = 100

_DATA_URL = re.compile(r"data:[^,/]+/[^,]+,")
_DATA_URL_HEAD = 300
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\r\n"
_SAMPLE = 1_000


class Blob(NamedTuple):
    """Content moved out of a document, to be stored in GridFS with `_id` = sha256 (hex)."""

    sha256: str
    data: bytes


class _Place(NamedTuple):
    """Where a value is: in which container, under which key or position."""

    parent: "_Place | None"
    container: Any
    key: Any

    @property
    def value(self) -> Any:
        return self.container[self.key]

    @property
    def path(self) -> list[str]:
        return [*(self.parent.path if self.parent else ()), str(self.key)]


def is_media(value: str | bytes) -> bool:
    """Tell whether a long value is bytes, a data URL or nothing but base64."""
    if isinstance(value, bytes) or _DATA_URL.match(value, 0, _DATA_URL_HEAD):
        return True
    return is_base64(value)


def is_base64(text: str, start: int = 0) -> bool:
    """Tell whether a text, from a place on, is nothing but base64."""
    # most texts show by their first words that they are none
    return text.isascii() and all(
        not text[start:end].encode().translate(None, _BASE64)
        for end in (start + _SAMPLE, len(text))
    )


def move_media(document: dict[str, Any], limit_bytes: int, notes: Notes) -> dict[str, Blob]:
    """Replace base64 strings, data URLs and bytes longer than the limit by references, in place.

    Args:
        document: As `sanitise` returns it.
        limit_bytes: What may stay.
        notes: Is told of everything moved.

    Returns:
        The blobs by their sha256.
    """
    blobs: dict[str, Blob] = {}
    for place in list(_long_values(document, limit_bytes)):
        if is_media(place.value):
            _move(place, blobs, notes)
    return blobs


def move_long(document: dict[str, Any], limit_bytes: int, notes: Notes) -> dict[str, Blob]:
    """Replace strings that alone are longer than a document may be, as `move_media` does others."""
    blobs: dict[str, Blob] = {}
    for place in list(_long_values(document, limit_bytes)):
        _move(place, blobs, notes)
    return blobs


def move_largest(document: dict[str, Any], excess_bytes: int, notes: Notes) -> dict[str, Blob]:
    """Replace the largest strings and bytes by references, in place, or else the largest fields.

    Args:
        document: As `sanitise` returns it.
        excess_bytes: How many bytes too long its BSON is.
        notes: Is told of everything moved.

    Returns:
        The blobs by their sha256.
    """
    blobs: dict[str, Blob] = {}
    sizes = ((_size(p.value), n, p) for n, p in enumerate(_long_values(document, REFERENCE_BYTES)))
    largest = heapq.nlargest(MAX_MOVED, sizes)
    if sum(size - REFERENCE_BYTES for size, _, _ in largest) < excess_bytes:
        fields = (_Place(None, document, name) for name in document if name not in STAYING)
        largest = sorted(((_size(p.value), n, p) for n, p in enumerate(fields)), reverse=True)
    for size, _, place in largest:
        if excess_bytes <= 0 or size <= REFERENCE_BYTES:
            break
        _move(place, blobs, notes)
        excess_bytes -= size - REFERENCE_BYTES
    return blobs


def _long_values(document: dict[str, Any], limit_bytes: int) -> Iterator[_Place]:
    """Yield where strings and bytes longer than the limit are."""
    containers: list[tuple[_Place | None, Any]] = [(None, document)]
    for parent, container in containers:  # which grows meanwhile
        items = container.items() if type(container) is dict else enumerate(container)
        for key, value in items:
            kind = type(value)
            if container is document and key in STAYING:
                continue
            if kind is dict or kind is list:
                containers.append((_Place(parent, container, key), value))
            elif (kind is str or kind is bytes) and _size(value) > limit_bytes:
                yield _Place(parent, container, key)


def _size(value: Any) -> int:
    """Return how many bytes the content of a value takes in BSON."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    if isinstance(value, bytes):
        return len(value)
    return len(bson.encode({"": value}, codec_options=CODEC_OPTIONS))


def _move(place: _Place, blobs: dict[str, Blob], notes: Notes) -> None:
    value = place.value
    preview = None
    if isinstance(value, str):
        data = value.encode()
        preview = value[:PREVIEW_CHARACTERS]
    elif isinstance(value, bytes):
        data = bytes(value)
    else:
        # A document, as mongodump would write it; a list in one of its own.
        document = value if isinstance(value, dict) else {"list": value}
        data = bson.encode(document, codec_options=CODEC_OPTIONS)
    sha256 = hashlib.sha256(data).hexdigest()
    reference = reference_to(sha256, len(data), type(value).__name__, preview)
    # A list stays one, so that whoever reads the field finds the type that it always has.
    place.container[place.key] = [reference] if isinstance(value, list) else reference
    blobs[sha256] = Blob(sha256, data)
    notes.add(place.path, f"{len(data)} bytes moved to GridFS {sha256[:12]}")

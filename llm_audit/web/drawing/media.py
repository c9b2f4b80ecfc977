"""Images, sounds and files in a call: where they are, and what they are by their bytes."""

import binascii
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from llm_audit.encoding.moved import reference_in

_HEAD = 64  # characters of base64 that say what it is
_SHORTEST = 64  # characters: what is shorter is shown as the text it is
_MEDIA_MAX = 200  # that are looked for in one thing that was said
_DATA_URL = re.compile(r"data:([\w.+-]{1,100}/[\w.+-]{1,100})?[^,]{0,200};base64,", re.ASCII)
_TYPE = re.compile(r"(image|audio|video)\b")
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
PLAYED = ("audio/wav", "audio/mpeg", "audio/ogg", "video/mp4")
INLINE = frozenset((*_IMAGES, *PLAYED))
_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
)
_IN_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}


class Media(NamedTuple):
    """Something in a call that is no text.

    Attributes:
        sha256: Of what is stored: a content in GridFS, or the text that holds it.
        kind: image, audio or video, as far as can be told from the call; else file.
        size: In bytes, as stored.
    """

    sha256: str
    kind: str
    size: int | None


def media_type(content: bytes) -> str | None:
    """Return the type of a content by how it begins; None if it is none that a page shows."""
    for start, found in _STARTS:
        if content.startswith(start):
            return found
    if content[:4] == b"RIFF":
        return _IN_RIFF.get(content[8:12])
    return "video/mp4" if content[4:8] == b"ftyp" else None


def without_media(value: Any) -> tuple[Any, list[Media]]:
    """Return a value with a word in place of each image or the like in it, and those.

    What is in GridFS stays the reference that it is, which says so itself.
    """
    found: list[Media] = []
    return _without(value, "", found), found


def texts_with_media(value: Any) -> Iterator[str]:
    """Yield the texts in a document that hold an image, a sound or a file."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if _kind_of(one) is not None:
                yield one
        elif isinstance(one, Mapping):
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            waiting.extend(one)


def decoded(text: str) -> bytes:
    """Return what a text stands for that holds an image or the like; itself, if for nothing."""
    match = _DATA_URL.match(text)
    if match is None and _kind_of(text) is None:
        return text.encode(errors="replace")
    try:
        return binascii.a2b_base64(text[match.end() if match else 0 :])
    except (binascii.Error, ValueError):
        return text.encode(errors="replace")


def digest(text: str) -> str:
    """Return the sha256 by which a text in a document is asked for."""
    return sha256(text.encode(errors="replace")).hexdigest()


def _without(value: Any, hint: str, found: list[Media]) -> Any:
    if isinstance(value, str):
        kind = _kind_of(value)
        if kind is None or len(found) >= _MEDIA_MAX:
            return value
        found.append(Media(digest(value), kind, len(value) * 3 // 4))
        return f"<{kind}, {len(value):,} characters of base64>"
    if isinstance(value, list):
        return [_without(item, hint, found) for item in value]
    if not isinstance(value, Mapping):
        return value
    if reference := reference_in(value):
        if len(found) < _MEDIA_MAX:
            size = value["length"] if isinstance(value["length"], int) else None
            found.append(Media(reference.sha256, _kind_of_reference(value, hint), size))
        return value
    hint = next((text for text in value.values() if _is_type(text)), hint)
    return {key: _without(item, hint or str(key), found) for key, item in value.items()}


def _is_type(value: object) -> bool:
    return isinstance(value, str) and _TYPE.match(value) is not None


def _kind_of_reference(value: Mapping[str, Any], hint: str) -> str:
    preview = value.get("preview")
    if isinstance(preview, str) and (kind := _kind_of(preview.rstrip("…").ljust(_SHORTEST, "A"))):
        return kind
    match = _TYPE.match(hint)
    return match[1] if match and value.get("kind") in ("bytes", "str") else "file"


def _kind_of(text: str) -> str | None:
    """Return what a text holds; None if it is a text."""
    if len(text) < _SHORTEST:
        return None
    match = _DATA_URL.match(text)
    start = match.end() if match else 0
    head = text[start : start + _HEAD]
    try:
        said = media_type(binascii.a2b_base64(head[: len(head) // 4 * 4], strict_mode=True))
    except (binascii.Error, ValueError):
        said = None
    if said is not None and (match or _is_base64(text)):
        return said.partition("/")[0]
    return "file" if match else None


def _is_base64(text: str) -> bool:
    """Tell whether this is no sentence that happens to begin as an image does."""
    return not text.isspace() and " " not in text[:4096]

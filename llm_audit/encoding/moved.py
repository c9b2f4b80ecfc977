"""What stands in a document for content that moved to GridFS, and how it is put back.

No content can be such a reference: its `gridfs_id` is a Binary of a subtype that is ours, which
JSON cannot make and which encoding takes from any Binary of the user's. Documents of schema 1 had
the hash as a text there; such a one counts if the call's `media` names it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import bson
from bson.binary import Binary

from llm_audit.encoding.reading import READ_OPTIONS

SUBTYPE = 0xF6  # one of those for users; no byte of UTF-8 has this value, so texts are told apart
HASH_BYTES = 32  # of a sha256
PROBLEM = "problem"  # the key that says why a content is not back in its place
NESTED = 2  # what moved whole may hold media that moved before; nothing lies deeper

_SHA256 = re.compile("[0-9a-f]{64}")
_KINDS = frozenset({"str", "bytes", "dict", "list"})
_KEYS = frozenset({"gridfs_id", "length", "kind"})
_PREVIEW = "preview"
# Drivers read {"$ref", "$id"} as a DBRef. The full-width dollar is what MongoDB's manual advised
# for field names that must not begin with "$"; a key that has one already gets one more.
_DOLLAR = "\uff04"
_ID = frozenset({"$id", f"{_DOLLAR}id"})


class Reference(NamedTuple):
    """What is known of a content from the place where it was.

    Attributes:
        sha256: The content.
        kind: What it was: str, bytes, dict or list.
    """

    sha256: str
    kind: str


class Problem(str):
    """Why a content is not there."""

    __slots__ = ()


def reference_to(sha256: str, length: int, kind: str, preview: str | None) -> dict[str, Any]:
    """Return what is stored in the place of a content.

    Args:
        sha256: The content.
        length: In bytes.
        kind: The name of its type.
        preview: How it begins, if it is a text.
    """
    shown = {} if preview is None else {_PREVIEW: preview}
    mark = Binary(bytes.fromhex(sha256), SUBTYPE)
    return {"gridfs_id": mark, "length": length, "kind": kind, **shown}


def is_mark(value: Any) -> bool:
    """Tell whether a value is the hash in a reference, which nothing else can be."""
    is_ours = isinstance(value, Binary) and value.subtype == SUBTYPE
    return is_ours and len(value) == HASH_BYTES


def reference_in(value: Any, before: frozenset[str] = frozenset()) -> Reference | None:
    """Return the reference that a value is; None if it is content.

    Args:
        value: Anything read from a document.
        before: As `media_before` gives it for the document.
    """
    if not isinstance(value, dict) or not value.keys() >= _KEYS:
        return None
    mark, kind = value["gridfs_id"], value["kind"]
    if type(kind) is not str or kind not in _KINDS:
        return None
    if is_mark(mark):
        return Reference(mark.hex(), kind)
    is_old = type(mark) is str and mark in before and value.keys() - {_PREVIEW} == _KEYS
    return Reference(mark, kind) if is_old else None


def media_of(call: Mapping[str, Any]) -> frozenset[str]:
    """Return the hashes that a call's `media` names, which we alone write."""
    named = call.get("media")
    texts = [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
    return frozenset(filter(_SHA256.fullmatch, texts))


def media_before(call: Mapping[str, Any]) -> frozenset[str]:
    """Return the hashes that references may name as a text: none but in documents of schema 1."""
    return media_of(call) if call.get("schema_version", 1) == 1 else frozenset()


def holds_reference(value: Any, before: frozenset[str] = frozenset()) -> bool:
    """Tell whether there is a reference anywhere in a value; the arguments: of `reference_in`."""
    if reference_in(value, before):
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(holds_reference(item, before) for item in inner)


def from_json(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call of plain JSON with the references that it had.

    There they look like content; what names one of the call's own media is taken for one.

    Args:
        call: As read from JSON.
    """
    named = media_of(call)

    def mark(reference: Reference) -> Any:
        return Binary(bytes.fromhex(reference.sha256), SUBTYPE)

    return {name: _with_marks(value, mark, named) for name, value in call.items()}


def without_strangers(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call in which what refers to none of its own media looks like the content it is.

    Args:
        call: As read from MongoDB, where an import may have brought in anything.
    """
    named = media_of(call)

    def mark(reference: Reference) -> Any:
        own = reference.sha256 in named
        return Binary(bytes.fromhex(reference.sha256), SUBTYPE) if own else reference.sha256

    return {name: _with_marks(value, mark, frozenset()) for name, value in call.items()}


def _with_marks(value: Any, mark: Callable[[Reference], Any], before: frozenset[str]) -> Any:
    """Return a value with another `gridfs_id` in each reference."""
    if isinstance(value, list):
        return [_with_marks(item, mark, before) for item in value]
    if not isinstance(value, dict):
        return value
    items = {key: _with_marks(item, mark, before) for key, item in value.items()}
    if reference := reference_in(value, before):
        items["gridfs_id"] = mark(reference)
    return items


def restore(
    value: Any, fetch: Callable[[str], bytes | Problem], before: frozenset[str] = frozenset()
) -> Any:
    """Put back what encoding moved out of a value, and `$id` keys that it renamed.

    Args:
        value: A document as read from MongoDB, or any part of one.
        fetch: Takes the sha256 of a content and returns its bytes, or why there are none, which is
            then told in its place; its errors come out.
        before: As for `reference_in`.

    Returns:
        A copy of the value; what stands in several places of it is there once.
    """
    return _Restoring(fetch, before).value(value)


class _Restoring:
    """One pass over one value: each content is made once, however often it is referred to."""

    def __init__(self, fetch: Callable[[str], bytes | Problem], before: frozenset[str]) -> None:
        self._fetch = fetch
        self._before = before
        self._made: dict[Reference, Any] = {}
        self._level = 0

    def value(self, value: Any) -> Any:
        if isinstance(value, dict):
            if reference := reference_in(value, self._before):
                return _in_place(value, self._content(reference))
            return unescaped({key: self.value(item) for key, item in value.items()})
        if isinstance(value, list):
            items = [self.value(item) for item in value]
            if len(items) == 1 and isinstance(items[0], list):
                reference = reference_in(value[0], self._before)
                return items[0] if reference else items  # it stands for the list around it
            return items
        return value

    def _content(self, reference: Reference) -> Any:
        if reference not in self._made:
            self._made[reference] = self._make(reference)
        return self._made[reference]

    def _make(self, reference: Reference) -> Any:
        if self._level == NESTED:
            return Problem("it lies too deep in others")
        data = self._fetch(reference.sha256)
        content = data if isinstance(data, Problem) else _decoded(reference, data)
        if not isinstance(content, dict | list):
            return content
        self._level += 1
        try:
            return self.value(content)
        finally:
            self._level -= 1


def _decoded(reference: Reference, data: bytes) -> Any:
    """Return a content as what it was, or the problem that it cannot be that."""
    try:
        if reference.kind == "str":
            return data.decode()
        if reference.kind == "bytes":
            return data
        document = bson.decode(data, codec_options=READ_OPTIONS)
        return document if reference.kind == "dict" else [*document["list"]]
    except (ValueError, TypeError, LookupError, bson.errors.BSONError):
        return Problem(f"it is no {reference.kind}")


def _in_place(value: dict[str, Any], content: Any) -> Any:
    if isinstance(content, Problem):
        return {**value, PROBLEM: str(content)}
    # of a call's metadata some were given later
    beside = {key: item for key, item in value.items() if key not in {*_KEYS, _PREVIEW}}
    return {**content, **beside} if beside and isinstance(content, dict) else content


def escaped(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with another name for a key that would make it a DBRef."""
    return _renamed(document, lambda key: f"{_DOLLAR}{key.removeprefix('$')}")


def unescaped(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with the keys that `escaped` gave another name."""
    return _renamed(document, lambda key: "$id" if key in _ID else key[1:])


def _renamed(document: dict[str, Any], name: Callable[[str], str]) -> dict[str, Any]:
    is_dbref = isinstance(document.get("$ref"), str) and isinstance(document.get("$db"), str | None)
    if not is_dbref or not any(map(is_id, document)):
        return document
    return {name(key) if is_id(key) else key: value for key, value in document.items()}


def is_id(key: str) -> bool:
    """Tell whether a key is `$id`, or looks as if it had been renamed, any number of times."""
    return key.endswith("id") and (key == "$id" or (key != "id" and key.strip(_DOLLAR) == "id"))

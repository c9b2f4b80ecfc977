"""The quick look for secrets at a body as it goes over the wire, before anybody reads it.

It may be stored unread only where nothing in it would be replaced once it is read. In doubt that is
not so: then it is read before it is stored, which only takes longer.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from llm_audit.redaction.secrets import look, pieces

_ONE, _PIECES = (b"{", b"["), (b"data:", b"event:", b"id:", b"retry:", b":", b"{", b"[")
_is_escaped = look.looks_for(r"\x02[u/]")
_JSON = "application/json"
# As numbers they are found ten times as fast: else Python raises, and forgets, that they are none.
_LINE_END, _RETURN, _BACKSLASH = b"\n\r\\"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def is_clean(beside: bytes, body: bytes, told: Mapping[str, Any] = _NOTHING) -> bool:
    """Tell quickly whether nothing that was seen holds a secret or what has a secret's name.

    Args:
        beside: What is known of it, as BSON.
        body: As it was seen.
        told: What its headers say: `content_type`, `content_encoding` and `streamed`.
    """
    kind = (told.get("content_type") or _JSON).partition(";")[0].strip().lower()
    if "urlencoded" in kind or told.get("content_encoding"):
        return not body and not look.may_be_in(beside)
    in_pieces = bool(told.get("streamed")) or kind != _JSON or _may_be_lines(body)
    if body and (not body.startswith(_PIECES if in_pieces else _ONE) or 0 in body):
        return False  # no JSON, or of 16 bits
    if not in_pieces and _BACKSLASH not in body:
        return not look.may_be_in(beside + body)
    if look.may_be_in(beside):
        return False
    if not in_pieces:
        return not _may_hold(body, look.plain(body))
    together = pieces.together(body)
    return together is not None and not _may_hold(*together)


def _may_be_lines(body: bytes) -> bool:
    """Tell whether a body may be several JSON texts, each on a line of its own."""
    return (_LINE_END in body and b"\n{" in body) or (_RETURN in body and b"\r{" in body)


def _may_hold(body: bytes, text: str) -> bool:
    """Tell whether JSON may hold a secret or its name, as it is or once it is read."""
    if not _is_escaped(text):
        return look.may_be_in(body, text)
    unescaped = _unescaped(body)
    return unescaped is None or look.may_be_in(unescaped)


def _unescaped(body: bytes) -> bytes | None:
    """Return JSON with the characters that its escapes stand for; None if it may be none."""
    if b"\\u" in body:
        try:
            text = body.decode("ascii").encode().decode("raw_unicode_escape")
            whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        except UnicodeDecodeError:
            return None
        body = whole.encode()
    return body.replace(b"\\/", b"/").replace(b"\\\\", b"\\")

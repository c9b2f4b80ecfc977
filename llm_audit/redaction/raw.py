"""The quick look for secrets at a body of JSON as it goes over the wire, before anybody reads it.

It may be stored unread only where nothing in it would be replaced once it is read. In doubt that is
not so: then it is read before it is stored, which only takes longer.
"""

from llm_audit.redaction import look

_OPENS = b"{["


def is_clean(body: bytes) -> bool:
    """Tell quickly whether a body surely holds no secret and nothing that has a secret's name."""
    if body[:1] not in _OPENS or b"\0" in body:  # it is no JSON, or of 16 bits
        return not body
    if b"\\" in body:
        if b"\\u" in body:
            if (whole := _with_characters(body)) is None:
                return False
            body = whole
        if b"\\/" in body:
            body = body.replace(b"\\/", b"/")
    return not look.may_be_in(body)


def _with_characters(body: bytes) -> bytes | None:
    """Return a body with the characters that its escapes stand for; None if it may not be JSON."""
    try:
        text = body.decode("ascii").encode().decode("raw_unicode_escape")
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs are one
    except UnicodeDecodeError:
        return None
    return whole.encode()

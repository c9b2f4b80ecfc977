"""What of a call is no text: its bytes, shown only if they are of a kind that does nothing."""

import asyncio
import re
from hashlib import sha256

from starlette.responses import Response

from llm_audit.encoding.moved import Problem, media_of
from llm_audit.errors import UsageError
from llm_audit.queries.lookup import Missing
from llm_audit.queries.media import MEDIA_MAX_BYTES, content_of
from llm_audit.queries.steps import Document
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.media import INLINE, decoded, digest, media_type, texts_with_media
from llm_audit.web.page import Page
from llm_audit.web.pages.calls.call import found_call
from llm_audit.web.pages.missing import missing_page

_HASH = re.compile("[0-9a-f]{64}")
_RANGE = re.compile("bytes=([0-9]{0,18})-([0-9]{0,18})")
_POLICY = "default-src 'none'; sandbox"


async def media(asked: Asked) -> Page | Response:
    """Answer with a content that a call names: an image, a sound or a film, else a file to keep.

    Raises:
        UsageError: The call names none such, or it cannot be had.
    """
    wanted = asked.one("sha256") or ""
    if not _HASH.fullmatch(wanted):
        raise UsageError("Which content? Name it with ?sha256=, and its call with &call=.")
    document = await found_call(asked, "call")
    if isinstance(document, Missing):
        return missing_page(document)
    content = await _content(asked, document, wanted)
    if content is None or isinstance(content, Problem):
        why = content or "the call does not name it"
        return Page(
            "error", "There is no such content", {"error": f"Of {wanted}: {why}."}, status=404
        )
    kind = media_type(content)
    headers = {"content-security-policy": _POLICY}
    if kind not in INLINE:
        headers["content-disposition"] = f'attachment; filename="{wanted[:16]}.bin"'
        return Response(content, headers=headers, media_type="application/octet-stream")
    headers["content-disposition"] = "inline"
    return _part_of(content, asked.request.headers.get("range"), headers, kind)


def _part_of(content: bytes, wanted: str | None, headers: dict[str, str], kind: str) -> Response:
    """Answer with the range that is asked for, as players do to go to a place; else with all."""
    headers["accept-ranges"] = "bytes"
    found = _RANGE.fullmatch(wanted or "")
    if found is None or found[0] == "bytes=-":  # several ranges, or other units: all is an answer
        return Response(content, headers=headers, media_type=kind)
    whole = len(content)
    first, last = (int(number) if number else None for number in found.groups())
    start = max(0, whole - (last or 0)) if first is None else first
    end = whole if first is None or last is None else min(last + 1, whole)
    if start >= end:
        headers["content-range"] = f"bytes */{whole}"
        return Response(status_code=416, headers=headers)
    headers["content-range"] = f"bytes {start}-{end - 1}/{whole}"
    return Response(content[start:end], 206, headers=headers, media_type=kind)


async def _content(asked: Asked, document: Document, wanted: str) -> bytes | Problem | None:
    if wanted not in media_of(document):
        return await asyncio.to_thread(_embedded, document, wanted)
    found = await asked.calls.ask(content_of(wanted, MEDIA_MAX_BYTES))
    if isinstance(found, Problem):
        return found
    return await asyncio.to_thread(_unpacked, found, wanted)


def _embedded(document: Document, wanted: str) -> bytes | None:
    """Return what a text in the document itself holds."""
    for text in texts_with_media(document):
        if digest(text) == wanted:
            return decoded(text)
    return None


def _unpacked(content: bytes, wanted: str) -> bytes | Problem:
    """Return what a content holds that was a text of base64; itself otherwise."""
    if sha256(content).hexdigest() != wanted:
        return Problem("it was altered: what is in GridFS has another sha256")
    if media_type(content) is not None:
        return content
    try:
        return decoded(content.decode("ascii"))
    except UnicodeDecodeError:
        return content

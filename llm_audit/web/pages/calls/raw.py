"""The stored document of a call, as much as is asked for; and how to have it elsewhere."""

import asyncio
from typing import Any

from starlette.responses import Response

from llm_audit.display.json_lines import extended_json
from llm_audit.queries.lookup import Missing
from llm_audit.queries.steps import Document
from llm_audit.settings import get_settings
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.calls.commands import MONGOSH, commands
from llm_audit.web.drawing.calls.stored import (
    TEXT_AT_ONCE,
    lines_of,
    moved_in,
    text_of,
    value_at,
)
from llm_audit.web.page import Page
from llm_audit.web.pages.calls.call import found_call
from llm_audit.web.pages.missing import missing_page

_ROWS = 100
_NOTE = 400  # characters


async def page(asked: Asked) -> Page | Response:
    """Show a document, or what is at one place of it; or give all of it as a file."""
    document = await found_call(asked)
    if isinstance(document, Missing):
        return missing_page(document)
    if asked.one("format") == "extended":
        text = await asyncio.to_thread(extended_json, document, indent=2)
        headers = {"content-disposition": 'attachment; filename="llm-call.json"'}
        return Response(f"{text}\n", headers=headers, media_type="application/json")
    at, start = asked.one("at") or "", asked.count("from")
    value = value_at(document, at)
    view = await asyncio.to_thread(_view, document, value, at, start)
    if asked.is_bound:  # a tenant asks no MongoDB, and is not told what is in it
        view["commands"] = [one for one in view.get("commands", ()) if one.name != MONGOSH]
    data = {"call": document} if not at else {"at": at, "value": value}
    call_id = document["_id"]
    return Page("calls/raw", f"Document {call_id}", data, {"call_id": call_id, **view})


def _view(document: Document, value: Any, at: str, start: int) -> dict[str, Any]:
    view: dict[str, Any] = {"at": at, "start": start, "lines": [], "text": None, "next": None}
    if at and not isinstance(value, dict | list):
        text = text_of(value)
        shown = text[start : start + TEXT_AT_ONCE]
        end = start + len(shown)
        return view | {
            "text": shown,
            "length": len(text),
            "next": end if end < len(text) else None,
        }
    view["lines"] = lines_of(value, at, start)
    if at:
        return view
    settings = get_settings()
    moved = moved_in(document)
    notes = document.get("encoding_notes")
    notes = notes if isinstance(notes, list) else []
    return view | {
        "moved": moved[:_ROWS],
        "more_moved": len(moved[_ROWS:]),
        "notes": [str(note)[:_NOTE] for note in notes[:_ROWS]],
        "more_notes": len(notes[_ROWS:]),
        "commands": commands(document, len(moved), settings.database, settings.collection),
    }

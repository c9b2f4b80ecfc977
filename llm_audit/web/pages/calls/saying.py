"""What somebody says of a call on its page: a score, or tags."""

import asyncio
import math

from starlette.responses import RedirectResponse, Response

from llm_audit.errors import UsageError
from llm_audit.given.scores import (
    COMMENT_MAX_CHARACTERS,
    LABEL_MAX_CHARACTERS,
    NAME_MAX_CHARACTERS,
)
from llm_audit.logger import LLMLogger
from llm_audit.queries.lookup import Missing
from llm_audit.web.asked import Asked
from llm_audit.web.guards.forms import sent_by
from llm_audit.web.page import Page
from llm_audit.web.pages.calls.call import found_call
from llm_audit.web.pages.missing import missing_page

SAY = "/call/say"
_FORM_MAX_BYTES = 32_768
_TAGS = 20
_VERDICTS = {"true": True, "yes": True, "false": False, "no": False}


async def say(asked: Asked) -> Page | Response:
    """Record what a form says of a call, which has to be one that may be seen.

    Raises:
        UsageError: The form is none of ours, or says nothing that can be recorded.
    """
    said = await sent_by(asked.request, _FORM_MAX_BYTES)
    document = await found_call(asked)
    if isinstance(document, Missing):
        return missing_page(document)
    call_id = str(document["_id"])
    if "tags" in said:
        tags = [tag for part in said["tags"].split(",") if (tag := part.strip())]
        if not 0 < len(tags) <= _TAGS or max(map(len, tags)) > LABEL_MAX_CHARACTERS:
            raise UsageError(f"Tags are 1 to {_TAGS}, divided by commas.")
        await asyncio.to_thread(LLMLogger.annotate, call_id, tags=tags)
    else:
        value, comment = _value(said.get("value", "")), said.get("comment", "").strip()
        await asyncio.to_thread(
            LLMLogger.score,
            call_id,
            _checked("Name", said.get("name", ""), NAME_MAX_CHARACTERS),
            value,
            comment=comment[:COMMENT_MAX_CHARACTERS] or None,
            source=said.get("source", "").strip()[:NAME_MAX_CHARACTERS] or None,
        )
    return RedirectResponse(asked.same("call", id=call_id, said="1"), 303)


def _value(text: str) -> bool | float | str:
    """Return a verdict or a number that a text means; else the label that it is."""
    text = _checked("Value", text, LABEL_MAX_CHARACTERS)
    if text.lower() in _VERDICTS:
        return _VERDICTS[text.lower()]
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _checked(what: str, text: str, longest: int) -> str:
    text = text.strip()
    if not text or len(text) > longest:
        raise UsageError(f"{what} has to have 1 to {longest:,} characters.")
    return text

"""Two calls beside each other: what changed in how they were asked, and in what was said."""

import asyncio
from typing import Any

from llm_audit.call import SAID
from llm_audit.display.said import answers_in, request_in
from llm_audit.documents import LLMCall
from llm_audit.queries.answers.lines import CallPreview
from llm_audit.queries.lookup import Missing
from llm_audit.queries.steps import Document
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.calls.differences import Pair, changed_fields, compared
from llm_audit.web.page import Page
from llm_audit.web.pages.calls.call import found_call
from llm_audit.web.pages.missing import missing_page

_OFFERED = 15  # calls to compare with
_CHANGES = 80
_AMONG = (  # where a call to compare with is looked for first
    ("task_id", "of the same task"),
    ("session_id", "of the same session"),
    ("trace_id", "of the same trace"),
    ("call_type", "of the same type"),
)
FIGURES = (
    *("latency_ms", "time_to_first_token_ms", "prompt_tokens", "cached_tokens"),
    *("completion_tokens", "reasoning_tokens", "estimated_cost"),
)


async def page(asked: Asked) -> Page:
    """Show what two calls differ in; with one alone, ask for the other."""
    left = await found_call(asked, "a")
    if isinstance(left, Missing):
        return missing_page(left)
    if asked.one("b") is None:
        return await _choice(asked, left)
    right = await found_call(asked, "b")
    if isinstance(right, Missing):
        return missing_page(right)
    data, view = await asyncio.to_thread(_made, left, right)
    return Page("calls/diff", "What changed", data, {"choice": None, **view})


async def _choice(asked: Asked, left: Document) -> Page:
    """Offer calls to compare with: of the same task, else session, else trace, else type."""
    known = [(name, what) for name, what in _AMONG if isinstance(left.get(name), str)]
    offered: list[CallPreview] = []
    what = ""
    for name, what in known[:2]:  # noqa: B007  (it says where they were found)
        found = await asked.calls.preview_calls(limit=_OFFERED + 1, **{name: left[name]})
        offered = [call for call in found if call.id != left["_id"]][:_OFFERED]
        if offered:
            break
    data = {"a": left["_id"], "offered": offered}
    return Page("calls/diff", "Compare", data, {"choice": what if offered else ""})


def _made(left: Document, right: Document) -> tuple[dict[str, Any], dict[str, Any]]:
    one, other = (
        LLMCall.model_validate(call).model_dump(exclude=set(SAID)) for call in (left, right)
    )
    changed, same = changed_fields(one, other)
    said = compared(list(request_in(left)), list(request_in(right)))
    answers = compared(
        *([part for answer in answers_in(c) for part in answer] for c in (left, right))
    )
    data = {
        "a": left["_id"],
        "b": right["_id"],
        "changed": [each._asdict() for each in changed],
        "figures": {name: [one.get(name), other.get(name)] for name in FIGURES},
        "parts_alike": said.same,
        "answers_alike": bool(answers.same)
        and not any(isinstance(row, Pair) for row in answers.rows),
    }
    view = {
        "one": one,
        "other": other,
        "shown": changed[:_CHANGES],
        "more_changed": len(changed[_CHANGES:]),
        "same": same,
        "said": said,
        "answers": answers,
    }
    return data, view

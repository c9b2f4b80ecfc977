"""Which tools models ask for, how often wrongly, and how those calls end."""

from llm_audit.display.pretty import pretty
from llm_audit.web.asked import Asked
from llm_audit.web.page import Page
from llm_audit.web.pages.summaries.over_time import USUAL

_SHOWN = 200
_CALLS = 20  # of which arguments are shown
_ARGUMENTS = 60
_LONGEST = 400  # characters of one


async def page(asked: Asked) -> Page:
    """Show each tool, the one asked for most often first."""
    rows = await asked.calls.tool_usage(**asked.filters(since=USUAL))
    links = {row.tool: asked.among("tool", row.tool) for row in rows[:_SHOWN] if row.tool}
    one = len(asked.all("tool")) == 1
    view = {"shown": rows[:_SHOWN], "links": links, "has_arguments": one and bool(rows)}
    return Page("summaries/tools", "Tools", {"rows": rows}, view)


async def arguments(asked: Asked) -> Page:
    """Show with which arguments one tool was asked for, newest first.

    Raises:
        UsageError: No tool is named.
    """
    filters = asked.filters(since=USUAL)
    tool = asked.required("tool", "tool")
    found = await asked.calls.tool_arguments(tool, limit=_CALLS, **filters)
    texts = [pretty(one.arguments) for one in found[:_ARGUMENTS]]
    shown = [
        (one, text[:_LONGEST], max(0, len(text) - _LONGEST))
        for one, text in zip(found, texts, strict=False)
    ]
    view = {"shown": shown, "left_out": len(found) - len(shown), "calls": _CALLS}
    return Page("parts/arguments", f"Arguments of {tool}", {"arguments": found}, view)

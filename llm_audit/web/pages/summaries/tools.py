"""Which tools models ask for, how often wrongly, and how those calls end."""

from llm_audit.web.asked import Asked
from llm_audit.web.page import Page
from llm_audit.web.pages.summaries.over_time import USUAL

_SHOWN = 200


async def page(asked: Asked) -> Page:
    """Show each tool, the one asked for most often first."""
    rows = await asked.calls.tool_usage(**asked.filters(since=USUAL))
    links = {row.tool: asked.among("tool", row.tool) for row in rows[:_SHOWN]}
    view = {"shown": rows[:_SHOWN], "links": links}
    return Page("summaries/tools", "Tools", {"rows": rows}, view)

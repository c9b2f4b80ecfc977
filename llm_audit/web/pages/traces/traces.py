"""The traces, those that began last first, a line each."""

from llm_audit.web.asked import Asked
from llm_audit.web.page import Page

_PAGE_ROWS = 50
_MOST_ROWS = 200


async def page(asked: Asked) -> Page:
    """Show the newest traces with calls that match, and lead to older ones."""
    limit = asked.whole("limit", _PAGE_ROWS, _MOST_ROWS)
    found = await asked.calls.list_traces(limit=limit, after=asked.one("after"), **asked.filters())
    older = asked.older([trace.first_id for trace in found], limit)
    return Page("traces/traces", "Traces", {"traces": found, "next": older})

"""The calls, newest first, a line each."""

from llm_audit.web.asked import FIELDS, NOT, Asked
from llm_audit.web.page import Page

_PAGE_ROWS = 100
_MOST_ROWS = 500


async def page(asked: Asked) -> Page:
    """Show the newest calls that match, and lead to older ones."""
    limit = asked.whole("limit", _PAGE_ROWS, _MOST_ROWS)
    found = await asked.calls.preview_calls(
        limit=limit, after=asked.one("after"), **asked.filters()
    )
    older = asked.same(after=found[-1].id) if len(found) == limit else None
    return Page(
        "calls",
        "Calls",
        {"calls": found, "next": older},
        {"filter_names": [*FIELDS, *(NOT + name for name in FIELDS)]},
    )

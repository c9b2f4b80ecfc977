"""How the filters in an address are written."""

from llm_audit.web.asked import Asked
from llm_audit.web.page import Page
from llm_audit.web.parameters import FIELDS


async def page(asked: Asked) -> Page:  # noqa: ARG001  (as every page)
    """Show the filters."""
    return Page("filters", "Filters", {"filters": FIELDS})

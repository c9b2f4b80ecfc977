"""How the filters in an address are written."""

from llm_audit.web.asked import FIELDS, Asked
from llm_audit.web.page import Page


async def page(asked: Asked) -> Page:  # noqa: ARG001  (as every page)
    """Show the filters."""
    return Page("filters", "Filters", {"filters": FIELDS})

"""Which keys there are, and how the filters in an address are written."""

from llm_audit.web.asked import FIELDS, Asked
from llm_audit.web.page import Page

KEYS = (
    ("/", "search, or paste an id"),
    ("j, k", "down and up in a list"),
    ("o, Enter", "open the row"),
    ("[, ]", "the attempt before, and the next"),
    ("g then o, c, t, s, f", "to the Overview, Calls, Traces, Sessions, Failures"),
    ("n", "the next failure of a trace"),
    ("?", "this page"),
)


async def page(asked: Asked) -> Page:  # noqa: ARG001  (as every page)
    """Show the keys and the filters."""
    return Page("help", "Keys and filters", {"keys": dict(KEYS), "filters": FIELDS})

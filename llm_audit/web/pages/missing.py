"""What is said of an id that nothing has."""

from llm_audit.queries.lookup import Missing
from llm_audit.web.page import Page


def missing_page(missing: Missing) -> Page:
    """Return the page that says what else has the id, or what is near it."""
    return Page("missing", f"No such {missing.kind}", {"missing": missing._asdict()}, status=404)

"""What is said where there is no page."""

from starlette.responses import RedirectResponse, Response

from llm_audit.web.asked import Asked
from llm_audit.web.page import Page
from llm_audit.web.routes import PAGES

_NO_PAGE = "The pages are those named above."


async def nowhere(asked: Asked) -> Page | Response:
    """Answer where there is no page; with a slash after its path, lead to one.

    Starlette would lead there by whatever name stands in `Host`.
    """
    if f"/{asked.page}" in PAGES and asked.path == f"/{asked.page}/":
        return RedirectResponse(asked.same(), 307)
    asked.page = asked.below = "help"  # no link repeats what was asked for
    return Page("error", "There is no such page", {"error": _NO_PAGE}, status=404)

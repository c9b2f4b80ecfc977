"""Whose calls these are: users and companies, and one of them."""

from llm_audit.web.asked import Asked
from llm_audit.web.page import Page
from llm_audit.web.pages.summaries import overview
from llm_audit.web.pages.summaries.over_time import USUAL

_SHOWN = 200


async def users(asked: Asked) -> Page:
    """Show users, those whose calls cost most first."""
    return await _all(asked, "user")


async def companies(asked: Asked) -> Page:
    """Show companies, those whose calls cost most first."""
    return await _all(asked, "company")


async def user(asked: Asked) -> Page:
    """Show what one user asked for, as the overview does for all."""
    return await _one(asked, "user")


async def company(asked: Asked) -> Page:
    """Show what one company asked for, as the overview does for all."""
    return await _one(asked, "company")


async def _all(asked: Asked, kind: str) -> Page:
    field = "company_id" if kind == "company" else "user_id"
    rows = await asked.calls.user_summary(field, **asked.filters(since=USUAL))  # type: ignore[arg-type]
    view = {"kind": kind, "field": field, "shown": rows[:_SHOWN]}
    title = "Companies" if kind == "company" else "Users"
    return Page("summaries/users", title, {"rows": rows}, view)


async def _one(asked: Asked, kind: str) -> Page:
    identity = asked.required("id", kind)
    narrowed = asked.narrowed(**{f"{kind}_id": identity})
    page = await overview.page(narrowed)
    page.title = f"{kind.capitalize()} {identity}"
    page.view = {**page.view, "asked": narrowed}
    return page

"""Where nothing matches: which of the filters leaves out most."""

from copy import copy

from llm_audit.web.asked import Asked
from llm_audit.web.page import Page
from llm_audit.web.parameters import DATES

_TRIED = 10  # filters, each of which is a question


async def page(asked: Asked) -> Page:
    """Say for each filter how many calls there were without it, most first."""
    tries = [(pair, asked.without(*pair)) for pair in asked.given_filters[:_TRIED]]
    found: list[tuple[int, str | None, str | None, str]] = []
    for (name, value), link in tries:
        rest = [pair for pair in asked.given if pair != (name, value)]
        found.append((await _count(asked, rest), name, value, link))
    if asked.one("since") or asked.one("until"):
        rest = [pair for pair in asked.given if pair[0] not in DATES]
        ever = asked.page_again(since=None, until=None)
        found.append((await _count(asked, rest), None, None, ever))
    found.sort(key=lambda one: -one[0])
    rows = [{"filter": name, "value": value, "calls": calls} for calls, name, value, _ in found]
    view = {"found": [one for one in found if one[0]], "tried": len(found)}
    return Page("parts/without", "Without one of the filters", {"without": rows}, view)


async def _count(asked: Asked, given: list[tuple[str, str]]) -> int:
    other = copy(asked)
    other.given = given
    return await asked.calls.count_by_filters(**other.filters())

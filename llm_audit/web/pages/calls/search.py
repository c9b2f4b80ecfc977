"""Where something was said; and for an id that was pasted, the page of what has it."""

from starlette.responses import RedirectResponse, Response

from llm_audit.display.finding import Hit, find_back
from llm_audit.errors import UsageError
from llm_audit.queries.lookup import kind_of
from llm_audit.web.asked import Asked
from llm_audit.web.page import Page

_USUAL = "7d"
_AROUND = 160  # characters before and after what is found
_HITS = 20
READ_MOST = 20_000  # calls at once, if there is time for so many
READ_MS = 5_000
_LONGEST_ID = 512


async def page(asked: Asked) -> Page | Response:
    """Lead to what has the id; else show where in the calls the text is."""
    text = (asked.one("q") or "").strip()
    if text and len(text) <= _LONGEST_ID:
        kind = await asked.calls.ask(kind_of(text))
        if kind is not None and not (kind == "process" and asked.is_bound):
            return RedirectResponse(asked.link(kind, id=text), 303)
    asked.filters(since=_USUAL)  # the page says what it opens with, and what is wrong with them
    return Page("calls/search", "Search", {"text": text})


async def found(asked: Asked) -> Page:
    """Show the calls that say it, with the places where they do.

    Calls are read back from the newest one, some of them at a time.
    """
    text = (asked.one("q") or "").strip()
    if not text:
        raise UsageError("Search for what?")
    hits: list[Hit] = []
    steps = find_back(
        text,
        hits.append,
        around=_AROUND,
        limit=_HITS,
        most=READ_MOST,
        patience_ms=READ_MS,
        after=asked.one("after"),
        **asked.filters(since=_USUAL),
    )
    read = await asked.calls.ask(steps)
    rows = [
        {"call": hit.call, "passages": [passage.__dict__ for passage in hit.passages]}
        for hit in hits
    ]
    return Page(
        "parts/found", "Search", {"found": rows, **read._asdict()}, {"hits": hits, "read": read}
    )

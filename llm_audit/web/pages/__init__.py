"""The pages, each by its path."""

from collections.abc import Awaitable, Callable

from llm_audit.web.asked import Asked
from llm_audit.web.page import Page
from llm_audit.web.pages import call, calls, overview, traces

PAGES: dict[str, Callable[[Asked], Awaitable[Page]]] = {
    "/": overview.page,
    "/calls": calls.page,
    "/call": call.page,
    "/traces": traces.page,
}

# What comes after a page, when the browser asks for it: parts of the page that the path names.
PARTS: dict[str, Callable[[Asked], Awaitable[Page]]] = {
    "/part/overview/failures": overview.failures,
    "/part/overview/models": overview.models,
    "/part/overview/tasks": overview.tasks,
    "/part/overview/latency": overview.latency,
}

"""Which page answers at which path."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.responses import Response

from llm_audit.web.asked import Asked
from llm_audit.web.page import Page
from llm_audit.web.pages import delivery, filters, sessions
from llm_audit.web.pages.calls import call, calls, diff, export, media, raw, search, without
from llm_audit.web.pages.summaries import costs, failures, latency, overview, prompts, tools, users
from llm_audit.web.pages.tasks import task, tasks, workflow
from llm_audit.web.pages.traces import trace, traces

Answering: TypeAlias = Callable[[Asked], Awaitable[Page | Response]]

PAGES: dict[str, Answering] = {
    "/": overview.page,
    "/calls": calls.page,
    "/call": call.page,
    "/call/said": call.said,
    "/call/raw": raw.page,
    "/media": media.media,
    "/diff": diff.page,
    "/export": export.export,
    "/search": search.page,
    "/sessions": sessions.sessions,
    "/session": sessions.session,
    "/delivery": delivery.page,
    "/process": delivery.process,
    "/help": filters.page,
    "/failures": failures.page,
    "/costs": costs.page,
    "/latency": latency.page,
    "/prompts": prompts.page,
    "/tools": tools.page,
    "/users": users.users,
    "/companies": users.companies,
    "/user": users.user,
    "/company": users.company,
    "/traces": traces.page,
    "/trace": trace.page,
    "/tasks": tasks.page,
    "/task": task.page,
    "/workflow": workflow.page,
}

# What comes after a page, when the browser asks for it: parts of the page that the path names.
PARTS: dict[str, Answering] = {
    "/part/calls/facets": calls.facets,
    "/part/calls/news": calls.news,
    "/part/calls/without": without.page,
    "/part/search/found": search.found,
    "/part/delivery/report": delivery.report,
    "/part/process/arrived": delivery.arrived,
    "/part/overview/banner": delivery.banner,
    "/part/overview/failures": failures.most_frequent,
    "/part/overview/models": costs.models,
    "/part/overview/tasks": costs.tasks,
    "/part/overview/retries": costs.retries,
    "/part/overview/latency": latency.over_time,
    "/part/failures/messages": failures.messages,
    "/part/tools/arguments": tools.arguments,
    "/part/failures/rate": failures.rate,
    "/part/latency/heat": latency.heat,
    "/part/tasks/newest": tasks.newest,
    "/part/tasks/workers": tasks.workers,
}

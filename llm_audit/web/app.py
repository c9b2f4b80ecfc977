"""`create_app`: the viewer as an ASGI app."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic_ns
from typing import Any, TypeAlias

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from llm_audit.display.json_lines import json_line, json_row
from llm_audit.errors import LLMAuditError, UnavailableError, UsageError
from llm_audit.queries.repository import LLMCallRepository
from llm_audit.settings import get_settings
from llm_audit.store.loops import client_of_loop
from llm_audit.web.asked import Asked
from llm_audit.web.assets import asset
from llm_audit.web.guards.headers import SafeHeaders
from llm_audit.web.guards.hosts import KnownHosts
from llm_audit.web.guards.login import LOGIN, LoggedIn, Sessions
from llm_audit.web.guards.reading import OnlyReading
from llm_audit.web.page import Page
from llm_audit.web.pages.calls.saying import SAY, say
from llm_audit.web.pages.login import login
from llm_audit.web.rendering import rendered
from llm_audit.web.routes import PAGES, PARTS, Answering

Tenant: TypeAlias = Mapping[str, str]
Scope: TypeAlias = Tenant | Callable[[Request], Tenant]

_LOG = logging.getLogger("llm_audit.web")
_RETRY_SECONDS = 5
_OURS = {"error": "This is a mistake in llm-audit. The server's log says more: please report it."}
SUMS_AT_ONCE = 4


def create_app(
    scope: Scope | None = None,
    *,
    hosts: Sequence[str] | None = None,
    sessions: Sessions | None = None,
    frames: Sequence[str] = (),
    annotate: bool = False,
) -> ASGIApp:
    """Return the viewer, to be served, or mounted in an app of your own behind its login.

        app.mount("/llm", llm_audit.web.create_app(scope=lambda request: {"company_id": ...}))

    It connects with the first request, needs the right to read and no other, and asks the MongoDB
    in the settings. Who may ask is for your app to say where it is mounted: there it has no login.

    Args:
        scope: Whose calls are seen, whatever is asked for: `company_id` or `user_id` or both, or a
            function of the request that returns them; None for everybody's.
        hosts: The names that it answers to; None for any, as an app around it sees to that.
        sessions: Who is logged in; None where nobody has to.
        frames: Origins that may show pages in a frame.
        annotate: Whether the page of a call takes scores and tags. They are recorded by this
            process as `LLMLogger.score` does it, which needs the right to write.

    Raises:
        UsageError: A fixed scope names something else, or is empty.
    """
    if scope is not None and not callable(scope):
        _bound(LLMCallRepository(), scope)
    sums = asyncio.Semaphore(SUMS_AT_ONCE)
    answer = partial(_answer, scope=scope, sums=sums, annotate=annotate)
    routes = [
        Route(path, partial(answer, page=page), methods=["GET"])
        for path, page in {**PAGES, **PARTS}.items()
    ]
    forms = [] if sessions is None else [LOGIN]
    if annotate:
        routes.append(Route(SAY, partial(answer, page=say), methods=["POST"]))
        forms.append(SAY)
    routes += [
        Route("/static/{name}", asset, methods=["GET"]),
        Route("/health", _health, methods=["GET"]),
    ]
    if sessions is not None:
        routes.append(Route(LOGIN, partial(login, sessions=sessions), methods=["GET", "POST"]))
    app: ASGIApp = GZipMiddleware(Starlette(routes=routes), compresslevel=5)
    if sessions is not None:
        app = LoggedIn(app, sessions)
    app = OnlyReading(app, forms=forms)
    if hosts is not None:
        app = KnownHosts(app, hosts)
    return SafeHeaders(app, frames)


async def _answer(
    request: Request,
    *,
    scope: Scope | None,
    page: Answering,
    sums: asyncio.Semaphore,
    annotate: bool,
) -> Response:
    settings = get_settings()
    tenant = scope(request) if callable(scope) else scope
    try:
        calls = client_of_loop(settings)[settings.database][settings.collection]
        repository = LLMCallRepository(calls)
        if tenant is not None:
            repository = _bound(repository, tenant)
        asked = Asked(request, repository, is_bound=tenant is not None)
    except LLMAuditError as error:  # where nothing can be asked, no page of ours can be drawn
        return PlainTextResponse(f"{error}\n", 503)
    asked.annotates = annotate
    try:
        asked.check_zone()
        if request.scope["path"].startswith(f"{asked.root}/part/"):
            async with sums:  # many tabs at once do not starve an app around this one
                return _response(asked, await page(asked))
        return _response(asked, await page(asked))
    except LLMAuditError as error:
        return _response(asked, _wrong(error))
    except Exception as error:  # noqa: BLE001  (whatever it is, the page says no more of it)
        _LOG.exception("A page could not be made (%s).", type(error).__name__)
        return _response(asked, Page("error", "This page could not be made", _OURS, status=500))


def _bound(calls: LLMCallRepository, tenant: Tenant) -> LLMCallRepository:
    """Return whom to ask about the calls of a tenant.

    Raises:
        UsageError: What is given is none.
    """
    unknown = set(tenant) - {"company_id", "user_id"}
    if unknown or not tenant:
        raise UsageError("scope has to name a company_id, a user_id or both.")
    if "company_id" in tenant:
        calls = calls.for_company(tenant["company_id"])
    return calls.for_user(tenant["user_id"]) if "user_id" in tenant else calls


def _response(asked: Asked, page: Page | Response) -> Response:
    if isinstance(page, Response):
        return page
    if asked.one("format") == "json":
        said = {name: _in_json(value) for name, value in page.data.items()}
        return Response(json_line(said), page.status, media_type="application/json")
    took_ms = (monotonic_ns() - asked.came_ns) / 1_000_000
    values = {"asked": asked, "page": page, "took_ms": took_ms, **page.data, **page.view}
    headers = dict(page.headers)
    if "retry_seconds" in values:
        headers["retry-after"] = str(_RETRY_SECONDS)
    return HTMLResponse(rendered(page.template, values), page.status, headers)


def _in_json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return json_row(value)
    return [_in_json(one) for one in value] if isinstance(value, list | tuple) else value


def _wrong(error: LLMAuditError) -> Page:
    """Return the page of an error, which names the fix."""
    if isinstance(error, UnavailableError):
        view = {"retry_seconds": _RETRY_SECONDS}
        return Page("error", "MongoDB cannot be asked", {"error": str(error)}, view, status=503)
    if isinstance(error, UsageError):
        return Page("error", "This cannot be asked", {"error": str(error)}, status=400)
    return Page("error", "Something is set wrongly", {"error": str(error)}, status=500)


async def _health(_: Request) -> Response:
    return PlainTextResponse("ok\n")

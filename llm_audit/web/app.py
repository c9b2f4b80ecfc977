"""`create_app`: the viewer as an ASGI app."""

from collections.abc import Sequence
from functools import partial

from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as ASGIScope

from llm_audit.queries.repository import LLMCallRepository
from llm_audit.web.answering import Answers, Scope, bound
from llm_audit.web.assets import asset
from llm_audit.web.guards.headers import SafeHeaders
from llm_audit.web.guards.hosts import KnownHosts
from llm_audit.web.guards.login import LOGIN, LoggedIn, Sessions
from llm_audit.web.guards.placed import Placed
from llm_audit.web.guards.reading import OnlyReading, path_of
from llm_audit.web.pages.calls.saying import SAY, say
from llm_audit.web.pages.login import login
from llm_audit.web.pages.nowhere import nowhere
from llm_audit.web.routes import PAGES, PARTS


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
            function of the request, sync or async, that returns them, or raises an HTTPException of
            Starlette's or FastAPI's. None for everybody's; a function that returns None is refused.
        hosts: The names that it answers to; None for any, as an app around it sees to that.
        sessions: Who is logged in; None where nobody has to.
        frames: Origins that may show pages in a frame.
        annotate: Whether the page of a call takes scores and tags. They are recorded by this
            process as `LLMLogger.score` does it, which needs the right to write.

    Raises:
        UsageError: A fixed scope names something else, or is empty.
    """
    if scope is not None and not callable(scope):
        bound(LLMCallRepository(), scope)
    answer = Answers(scope, annotate=annotate).answer
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
    routes.append(Route("/{path:path}", partial(answer, page=nowhere), methods=["GET"]))
    app = _compressed(Starlette(routes=routes))
    if sessions is not None:
        app = LoggedIn(app, sessions)
    app = OnlyReading(app, forms=forms)
    if hosts is not None:
        app = KnownHosts(app, hosts)
    return Placed(SafeHeaders(app, frames))


def _compressed(pages: ASGIApp) -> ASGIApp:
    """Compress all answers but media: they are compressed already, and asked for in ranges."""
    compressed = GZipMiddleware(pages, compresslevel=5)

    async def app(scope: ASGIScope, receive: Receive, send: Send) -> None:
        is_media = scope["type"] == "http" and path_of(scope) == "/media"
        await (pages if is_media else compressed)(scope, receive, send)

    return app


async def _health(_: Request) -> Response:
    return PlainTextResponse("ok\n")

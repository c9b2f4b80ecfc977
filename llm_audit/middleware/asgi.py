"""For apps of Starlette, FastAPI, Django's ASGI, Quart, Litestar, or any other of ASGI."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from llm_audit.middleware.requests import Asked, OfRequests, Request

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Request, Receive, Send], Awaitable[None]]


class AuditASGIMiddleware:
    """Gives all calls of a request one trace, and what the request says of them.

    That is in force until the last byte of the response is sent, background tasks of Starlette
    included. Calls of one WebSocket connection have user and session in common, and a trace each.
    What is asked raises nothing into the app: a fault is counted, and the calls go without.

    Args:
        app: The app inside.
        user: Returns whom the calls are made for, given the scope; None if nobody is known.
        session: Returns the conversation.
        company: Returns the tenant.
        trace: Returns the trace, of a header say; by default each request has a new one.
        tags: Labels to filter by.
        metadata: Anything else by name, or what returns it.
    """

    def __init__(
        self,
        app: App,
        *,
        user: Asked | None = None,
        session: Asked | None = None,
        company: Asked | None = None,
        trace: Asked | None = None,
        tags: Iterable[str] = (),
        metadata: Callable[[Request], Mapping[str, Any]] | Mapping[str, Any] | None = None,
    ) -> None:
        self.app = app
        self._of_requests = OfRequests(
            user=user,
            session=session,
            company=company,
            trace=trace,
            tags=tags,
            metadata=metadata,
        )

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        """Serve one scope: a request, a connection; anything else passes."""
        if scope.get("type") not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        with self._of_requests.run(scope, one_trace=scope["type"] == "http"):
            await self.app(scope, receive, send)

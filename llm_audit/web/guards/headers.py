"""What a browser may do with our answers: headers that every one of them carries."""

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_audit.web.guards.answers import Header

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "media-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
_ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
)
POLICY = b"content-security-policy"
_CACHE = b"cache-control"


class SafeHeaders:
    """Adds the headers; what an answer says of itself stays as it is.

    Args:
        app: What is guarded.
        frames: Origins that may show pages in a frame, `https://grafana.example.org` say.
    """

    def __init__(self, app: ASGIApp, frames: Sequence[str] = ()) -> None:
        self._app = app
        policy = _POLICY | ({"frame-ancestors": " ".join(frames)} if frames else {})
        self._policy = "; ".join(f"{name} {value}" for name, value in policy.items()).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with these headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                added = [*_ALWAYS, (POLICY, self._policy), (_CACHE, b"no-store")]
                more = [header for header in added if header[0] not in names]
                message = {**message, "headers": given + more}
            await send(message)

        await self._app(scope, receive, send_with_headers)

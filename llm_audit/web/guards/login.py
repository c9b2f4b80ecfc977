"""Who may see the pages: whoever has the token that was printed at the start.

The token is exchanged for a session at once, and is gone from the address bar. The session is a
number of its own, as every server on 127.0.0.1 is sent the cookies of all others.
"""

import hmac
import secrets
from collections import deque
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from starlette.types import ASGIApp, Receive, Scope, Send

from llm_audit.web.guards.answers import refuse, values_of
from llm_audit.web.guards.reading import path_of

TOKEN_BYTES = 32
SESSIONS_MAX = 1_000  # then the oldest has to log in again
_COOKIES_MAX = 10  # of one name: of several paths
LOGIN = "/login"
PUBLIC: Final = ("/health", LOGIN)
_BEARER = b"bearer "


class Sessions:
    """The sessions that are logged in.

    Args:
        token: What opens one.
        cookie: Its name, which tells this server from others on the same machine.
    """

    def __init__(self, token: str, cookie: str) -> None:
        self._token = token.encode()
        self._open: deque[str] = deque(maxlen=SESSIONS_MAX)
        self._ticket: bytes | None = None
        self.cookie = cookie

    def is_token(self, given: bytes) -> bool:
        """Tell whether this is the token, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(given, self._token)

    def ticket(self) -> str:
        """Return what opens a session once.

        Every user of a machine sees what a browser is started with, and that as long as it runs.
        """
        ticket = secrets.token_urlsafe(TOKEN_BYTES)
        self._ticket = ticket.encode()
        return ticket

    def takes(self, given: bytes) -> bool:
        """Tell whether this opens a session; a ticket is used up."""
        if self._ticket is not None and hmac.compare_digest(given, self._ticket):
            self._ticket = None
            return True
        return self.is_token(given)

    def begin(self, scope: Scope) -> bytes:
        """Open a session, and return the value of `Set-Cookie` for it."""
        number = secrets.token_urlsafe(TOKEN_BYTES)
        self._open.append(number)
        path = quote(str(scope.get("root_path", "")), safe="/") or "/"
        # Lax: a link from a chat or a mail leads to the page, and not to the login
        cookie = f"{self.cookie}={number}; Path={path}; HttpOnly; SameSite=Lax"
        return f"{cookie}; Secure".encode() if scope["scheme"] == "https" else cookie.encode()

    def knows(self, scope: Scope) -> bool:
        """Tell whether a request is of somebody who is logged in, or has the token in a header."""
        for value in values_of(scope, b"authorization"):
            if value.lower().startswith(_BEARER) and self.is_token(value[len(_BEARER) :].strip()):
                return True
        return any(number in self._open for number in self._numbers(scope))

    def _numbers(self, scope: Scope) -> list[str]:
        """Return what the cookies of ours hold: the first ones, as others can send very many."""
        headers = (header.decode("latin-1") for header in values_of(scope, b"cookie"))
        parts = (part.strip() for header in headers for part in header.split(";"))
        name = f"{self.cookie}="
        return [part.removeprefix(name) for part in parts if part.startswith(name)][:_COOKIES_MAX]


class LoggedIn:
    """Answers whoever is logged in, and sends others to the login.

    Args:
        app: What is guarded.
        sessions: Who is.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; exchange a token in the address for a session; or lead to the login."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = path_of(scope)
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for name, value in query if name == "token"]
        if any(self._sessions.takes(token.encode()) for token in tokens):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            cookie = self._sessions.begin(scope)
            await _redirect(scope, send, path, rest, [(b"set-cookie", cookie)])
        elif self._sessions.knows(scope) or path in PUBLIC or path.startswith("/static/"):
            await self._app(scope, receive, send)
        elif ("format", "json") in query:
            why = "Log in first, or send the token: Authorization: Bearer TOKEN."
            await refuse(send, 401, why, [(b"www-authenticate", b"Bearer")])
        else:
            here = path + (f"?{urlencode(query)}" if query and not tokens else "")
            await _redirect(scope, send, LOGIN, urlencode({"to": here}), [])


def address_of(scope: Scope, path: str, query: str = "") -> str:
    """Return the address of a page of ours: a path only, so that nobody is led elsewhere.

    Args:
        scope: Of the request.
        path: Below what the app is mounted under.
        query: What follows the question mark.
    """
    root = str(scope.get("root_path", ""))
    # no second slash, and no backslash that a browser takes for one: what follows were a host
    below = quote(path.replace("\\", "/").lstrip("/"), safe="/")
    return quote(root, safe="/") + f"/{below}" + (f"?{query}" if query else "")


async def _redirect(
    scope: Scope, send: Send, path: str, query: str, headers: list[tuple[bytes, bytes]]
) -> None:
    target = address_of(scope, path, query)
    location = (b"location", target.encode("latin-1"))
    await send(
        {
            "type": "http.response.start",
            "status": 303,
            "headers": [location, (b"content-length", b"0"), *headers],
        }
    )
    await send({"type": "http.response.body", "body": b""})

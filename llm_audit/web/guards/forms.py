"""Forms that change something: sent by a page of ours, to the browser that it was made for.

Each has a token that its browser has in a cookie, too. No page of another site can read either, and
a cookie of this kind goes with nothing that another site begins.
"""

import hmac
import re
import secrets
from urllib.parse import parse_qsl, quote

from starlette.requests import Request

from llm_audit.errors import UsageError

COOKIE = "llm_audit_form"
_TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def token_of(request: Request) -> str | None:
    """Return the token that a browser has; None if it has none yet."""
    given = request.cookies.get(COOKIE, "")
    return given if _TOKEN.fullmatch(given) else None


def new_token() -> str:
    """Return a token for a browser that has none."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def cookie_of(request: Request, token: str) -> str:
    """Return the value of `Set-Cookie` for a token."""
    path = quote(str(request.scope.get("root_path", "")), safe="/") or "/"
    cookie = f"{COOKIE}={token}; Path={path}; HttpOnly; SameSite=Strict"
    return f"{cookie}; Secure" if request.scope["scheme"] == "https" else cookie


async def sent_by(request: Request, max_bytes: int) -> dict[str, str]:
    """Return what a form says that has its browser's token.

    Args:
        request: That the form made.
        max_bytes: How much of it is read.

    Raises:
        UsageError: It is too long, or not one of ours.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise UsageError(f"That is too long: a form may have {max_bytes:,} bytes.")
    said = dict(parse_qsl(body.decode("utf-8", "replace")))
    known = token_of(request)
    given = said.pop("token", "")
    if known is None or not hmac.compare_digest(given.encode(), known.encode()):
        raise UsageError("This form is not of a page of this viewer: load the call's page again.")
    return said

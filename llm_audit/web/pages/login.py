"""Where whoever is not logged in gives the token; and where it is exchanged for a session."""

from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from llm_audit.web.guards.login import Sessions, address_of
from llm_audit.web.rendering import rendered

_FORM_MAX_BYTES = 4_096


async def login(request: Request, sessions: Sessions) -> Response:
    """Ask for the token; take it, and lead to the page that was asked for.

    Args:
        request: GET shows the form, POST is the form.
        sessions: Who is logged in.
    """
    to = request.query_params.get("to", "/")
    root = quote(request.scope["root_path"], safe="/")
    if request.method != "POST":
        return HTMLResponse(rendered("login", {"root": root, "to": to, "is_wrong": False}))
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_MAX_BYTES:
            break
    form = dict(parse_qsl(body[:_FORM_MAX_BYTES].decode("latin-1")))
    if not sessions.is_token(form.get("token", "").strip().encode()):
        return HTMLResponse(rendered("login", {"root": root, "to": to, "is_wrong": True}), 403)
    path, _, query = to.partition("?")
    answer = RedirectResponse(address_of(request.scope, path, query), 303)
    answer.raw_headers.append((b"set-cookie", sessions.begin(request.scope)))
    return answer

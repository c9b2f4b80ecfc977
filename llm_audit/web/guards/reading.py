"""Pages are read, and read by their own browser tab: nothing else may ask for them."""

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from llm_audit.web.guards.answers import refuse, values_of
from llm_audit.web.guards.hosts import host_of

_READING = ("GET", "HEAD")
_FILES = ("/export", "/media")  # a browser saves them, and shows nothing that says so
_OURS = (b"same-origin", b"none")  # "none": typed, from a bookmark, or from another program


class OnlyReading:
    """Lets GET and HEAD through, and POST to the forms, from our own pages only.

    A page of another site may lead here, but cannot fetch: what it takes to answer would tell it
    something. Nor may it have files saved, again and again.

    Args:
        app: What is guarded.
        forms: The paths that take POST, without what the app is mounted under.
    """

    def __init__(self, app: ASGIApp, forms: Collection[str]) -> None:
        self._app = app
        self._forms = frozenset(forms)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse with 403 or 405."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] in _READING:
            is_led = _is_navigation(scope) and path_of(scope) not in _FILES
            allowed = is_led or not _is_cross_site(scope)
        elif scope["method"] == "POST" and path_of(scope) in self._forms:
            allowed = _is_from_our_page(scope)
        else:
            why = "This page is only read: ask with GET."
            await refuse(send, 405, why, [(b"allow", b"GET, HEAD")])
            return
        if not allowed:
            await refuse(send, 403, "Only pages of this viewer may ask for this.")
            return
        await self._app(scope, receive, send)


def path_of(scope: Scope) -> str:
    """Return the path of a request below what the app is mounted under."""
    return str(scope["path"]).removeprefix(str(scope["root_path"]))


def _is_cross_site(scope: Scope) -> bool:
    return values_of(scope, b"sec-fetch-site") in ([b"cross-site"], [b"same-site"])


def _is_navigation(scope: Scope) -> bool:
    return values_of(scope, b"sec-fetch-mode") == [b"navigate"] and values_of(
        scope, b"sec-fetch-dest"
    ) == [b"document"]


def _is_from_our_page(scope: Scope) -> bool:
    """Tell whether a form was sent by a page of ours; browsers that say neither are too old."""
    sites = values_of(scope, b"sec-fetch-site")
    if sites:
        return len(sites) == 1 and sites[0] in _OURS
    origins = values_of(scope, b"origin")
    host, hosts = host_of(scope), values_of(scope, b"host")
    ours = [b"%b://%b" % (scheme, hosts[0]) for scheme in (b"http", b"https")] if host else []
    return len(origins) == 1 and origins[0] in ours

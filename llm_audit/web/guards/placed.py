"""Where the app is mounted: from here on, the path of a request begins with it.

That is what ASGI asks for, and what Starlette's `Mount` and uvicorn's `--root-path` do. A server
that knows the prefix which its proxy took away may leave the path without it, and an app that knows
it mounts ours below a path without it.
"""

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send


class Placed:
    """Gives every request the same shape: `path` is `root_path` and what follows it.

    Args:
        app: What is asked.
        prefix: What the app is mounted under if nothing in front says so.
    """

    def __init__(self, app: ASGIApp, prefix: str = "") -> None:
        self._app = app
        self._prefix = prefix.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on in that shape."""
        if scope["type"] in {"http", "websocket"}:
            given = str(scope.get("root_path", "")) or self._prefix
            root, outer = given.rstrip("/"), str(scope.get("app_root_path", "")).rstrip("/")
            # with all of it, also of one that ends with a slash; without the part of the app around
            below = _below((given, root, root.removeprefix(outer)), scope["path"])
            scope = {**scope, "root_path": root, "path": root + (below or "/")}
        await self._app(scope, receive, send)


def _below(prefixes: Iterable[str], path: str) -> str:
    for prefix in prefixes:
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            return path[len(prefix) :]
    return path

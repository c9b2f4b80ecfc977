"""Which names the viewer answers to.

A page of somebody else's, open in the same browser, can have its own name resolve to 127.0.0.1 and
then read what is served there (DNS rebinding). Its requests carry that name in `Host`.
"""

import re
from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from llm_audit.web.guards.answers import is_http, refuse, values_of

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{1,5})?")


class KnownHosts:
    """Answers only requests whose `Host` is known, whatever its port.

    Args:
        app: What is guarded.
        hosts: The names, without ports.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse with 400."""
        if scope["type"] == "http" and host_of(scope) not in self._hosts:
            await refuse(
                send,
                400,
                "This server is asked for by a name that it does not know. If the name is yours, "
                "start it with --allowed-host NAME.",
            )
        elif scope["type"] == "lifespan" or await is_http(scope, receive, send):
            await self._app(scope, receive, send)


def host_of(scope: Scope) -> str | None:
    """Return the name in `Host`, without its port; None if there is not exactly one that is one."""
    given = values_of(scope, b"host")
    if len(given) != 1:
        return None
    found = _HOST.fullmatch(given[0].decode("latin-1").lower())
    return None if found is None else found["v6"] or found["name"]

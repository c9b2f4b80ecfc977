"""`llm-audit ui`: the viewer as a server of its own, on this machine unless somebody says so."""

import errno
import os
import re
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import uvicorn

from llm_audit.errors import UsageError
from llm_audit.web.app import create_app
from llm_audit.web.guards.hosts import LOOPBACK
from llm_audit.web.guards.login import TOKEN_BYTES, Sessions
from llm_audit.web.guards.placed import Placed

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
SHORTEST_TOKEN = 16  # characters
STOP_SECONDS = 2.0  # that pages under way have at the end
SIGNALLED = 128  # and the signal's number, as shells do
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  (what they mean is refused without a token)


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How the viewer is served.

    Attributes:
        host: Where it listens: an address, or a name of this machine.
        port: 0 for any that is free.
        token_file: Holds the token that opens it; None for a new one, which is printed.
        allowed_hosts: Names that it answers to besides those of the loopback and `host`.
        behind_proxy: A proxy in front says how it was asked, and sees to who may ask: there is a
            token only with `token_file`.
        root_path: The path under which the proxy has it, `/llm` say; taken away by it or not.
        frames: Origins that may show pages in a frame.
        annotate: Whether the page of a call takes scores and tags.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token_file: Path | None = None
    allowed_hosts: Sequence[str] = ()
    behind_proxy: bool = False
    root_path: str = ""
    frames: Sequence[str] = ()
    annotate: bool = False


class Opened(NamedTuple):
    """A server that is about to begin.

    Attributes:
        server: To be run with the socket.
        listening: The socket.
        address: What is told to who started it: it opens the viewer.
        address_once: What opens it once.
    """

    server: uvicorn.Server
    listening: socket.socket
    address: str
    address_once: str


def serve(serving: Serving, say: Callable[[str], None], *, browse: bool = False) -> None:
    """Serve the viewer until Ctrl-C.

    Args:
        serving: Where and how.
        say: Is told the address, with the token that opens it.
        browse: Open it in the browser.

    Raises:
        UsageError: It would be open to others without a token, or the port is taken.
    """
    opened = server_of(serving)
    say(opened.address)
    if browse:  # beside the server: one that runs in the terminal waits for the page
        given = (opened.address_once,)
        threading.Thread(target=webbrowser.open, args=given, daemon=True).start()
    opened.server.run(sockets=[opened.listening])


def server_of(serving: Serving) -> Opened:
    """Return the server, the socket that it is to be run with, and the addresses that open it.

    Args:
        serving: Where and how.

    Raises:
        UsageError: It would be open to others without a token, or the port is taken.
    """
    if not is_loopback(serving.host) and not serving.token_file and not serving.behind_proxy:
        raise UsageError(
            f"--host {serving.host} lets other machines in: give them a token with --token-file, "
            "or put a proxy with a login in front and say --behind-proxy."
        )
    prefix = _prefix(serving.root_path)
    has_token = bool(serving.token_file) or not serving.behind_proxy
    token = _token(serving.token_file) if has_token else None
    listening = _listening(serving)
    port = listening.getsockname()[1]
    sessions = None if token is None else Sessions(token, f"llm_audit_{port}")
    app = create_app(
        hosts=[*LOOPBACK, *_named(serving.host), *serving.allowed_hosts],
        sessions=sessions,
        frames=serving.frames,
        annotate=serving.annotate,
    )
    config = uvicorn.Config(
        Placed(app, prefix),
        lifespan="off",
        ws="none",  # which would import what is installed for them
        access_log=False,  # which would hold the token
        log_level="warning",
        server_header=False,
        proxy_headers=serving.behind_proxy,
    )
    host = f"[{serving.host}]" if ":" in serving.host else serving.host
    address = f"http://{'127.0.0.1' if serving.host in _WILDCARDS else host}:{port}{prefix}/"
    if sessions is None or serving.token_file is not None:
        return Opened(_Server(config), listening, address, address)
    once = f"{address}?token={sessions.ticket()}"
    return Opened(_Server(config), listening, f"{address}?token={token}", once)


class _Server(uvicorn.Server):
    """Ends when it is told to, also where MongoDB lets a page or the doctor wait."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Let pages under way end for a while; nothing is lost if they do not."""
        super().handle_exit(sig, frame)
        end = threading.Timer(STOP_SECONDS, os._exit, [SIGNALLED + sig])
        end.daemon = True
        end.start()


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _prefix(root_path: str) -> str:
    prefix = root_path.rstrip("/")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise UsageError(f"--root-path {root_path!r:.50}: it is a path such as /llm or /tools/llm.")
    return prefix


def _named(host: str) -> list[str]:
    return [] if host in _WILDCARDS else [host]


def _token(file: Path | None) -> str:
    if file is None:
        return secrets.token_urlsafe(TOKEN_BYTES)
    token = file.read_bytes().decode("latin-1").strip()
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise UsageError(
            f"--token-file {file}: a token has at least {SHORTEST_TOKEN} characters, all of them "
            "printable ASCII."
        )
    return token


def _listening(serving: Serving) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in serving.host else socket.AF_INET
        return socket.create_server((serving.host, serving.port), family=family, backlog=128)
    except OSError as error:
        # create_server puts the address into strerror, too
        why = (
            error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        )
        fix = " --port 0 takes any port that is free." if error.errno == errno.EADDRINUSE else ""
        where = f"--host {serving.host} --port {serving.port}"
        raise UsageError(f"{where}: {why}.{fix}") from None

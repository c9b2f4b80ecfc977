"""A provider on loopback that answers when the test lets it: so that calls are in flight."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from waiting import PATIENCE


class SlowProvider:
    """Holds every request until `answer`; each request is a dict that says who sent it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._in_flight: list[_Handler] = []
        self._let_go = threading.Event()

    @property
    def is_asked(self) -> bool:
        """Whether `next_request` has something to return."""
        return not self.requests.empty()

    def next_request(self) -> dict[str, Any]:
        """Wait until a call is in flight, and return what was asked."""
        try:
            return self.requests.get(timeout=PATIENCE)
        except Empty:
            pytest.fail("no call is in flight")

    def answer(self) -> None:
        """Answer what is in flight, and from now on at once."""
        self._let_go.set()

    def hold(self) -> None:
        """Hold what comes from now on; what came before is answered."""
        self._let_go.set()
        self._let_go = threading.Event()
        while not self.requests.empty():
            self.requests.get()

    def wake_callers(self) -> None:
        """Send everybody who waits a `100 Continue`, after which they wait on.

        Python notices a signal that comes just before it blocks in `recv` only when that returns.
        """
        for handler in list(self._in_flight):
            with suppress(ConnectionError):  # whoever asked was killed meanwhile
                handler.handle_expect_100()

    def take(self, handler: "_Handler", request: dict[str, Any]) -> None:
        """Be asked."""
        self._in_flight.append(handler)
        self.requests.put(request)
        self._let_go.wait()
        self._in_flight.remove(handler)


class _Handler(BaseHTTPRequestHandler):
    provider: SlowProvider

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.provider.take(self, request)
        with suppress(ConnectionError):  # whoever asked was killed meanwhile
            self.send_response(200)
            self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Keep the terminal for pytest."""


@contextmanager
def serve() -> Iterator[SlowProvider]:
    """Run a provider until the block is left."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    handler.provider = provider = SlowProvider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield provider
    finally:
        provider.answer()
        server.shutdown()
        thread.join()
        server.server_close()

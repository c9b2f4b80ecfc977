"""A server on this machine that answers with what it was given to play, byte for byte."""

import gzip
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from patience import PATIENCE

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """What is answered to one request.

    Attributes:
        pieces: The body; a stream is sent in these chunks, anything else with its length.
        status: Of HTTP.
        headers: Besides the body's length and kind.
        content_type: The body's kind.
        is_stream: Whether the body is sent in chunks.
        cut_after: After so many pieces the connection is closed, without a word.
        held_after: After so many pieces the server waits until it is told to go on.
    """

    pieces: Sequence[bytes]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON
    is_stream: bool = False
    cut_after: int | None = None
    held_after: int | None = None

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces)

    def gzipped(self) -> Self:
        """Return the same, compressed."""
        body = gzip.compress(self.body)
        pieces = [body[:20], body[20:]] if self.is_stream else [body]
        return replace(self, pieces=pieces, headers={**self.headers, "content-encoding": "gzip"})


class Received(NamedTuple):
    """A request.

    Attributes:
        method: Of HTTP.
        path: With the query.
        headers: Their names in lower case.
        body: As it came.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def failure(status: int, body: Any = None, **headers: str) -> Answer:
    """Return an error of the server; no client waits before it tries again."""
    said = body or {"error": {"message": f"status {status}", "type": "test", "code": None}}
    return Answer([json.dumps(said).encode()], status, {"retry-after-ms": "1", **headers})


def redirect(path: str) -> Answer:
    """Return a redirect that keeps the request's method and body."""
    return Answer([b""], 307, {"location": path})


class ReplayServer(ThreadingHTTPServer):
    """Plays answers one after the other, the last of them again and again.

    Attributes:
        received: The requests that came since the last `play`.
        has_received: Set by the first of them.
        go_on: Set to let an answer go on that is held.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[Received] = []
        self.has_received = threading.Event()
        self.go_on = threading.Event()
        self._answers: list[Answer] = []
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self.server_port}"

    def play(self, *answers: Answer) -> None:
        """Take these for the next requests, and forget what was received."""
        with self._guard:
            self._answers = [*answers]
            self.received = []
            self.has_received = threading.Event()
            self.go_on = threading.Event()

    def next_answer(self, received: Received) -> Answer:
        """Return what is to be answered."""
        with self._guard:
            self.received.append(received)
            self.has_received.set()
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients that hang up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ReplayServer

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(self.command, self.path, headers, self._body(headers))
        answer = self.server.next_answer(received)
        self.send_response_only(answer.status)  # without the date, which would differ
        self.send_header("content-type", answer.content_type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.is_stream:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self._write(answer)

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _write(self, answer: Answer) -> None:
        for sent, piece in enumerate(answer.pieces):
            if not self._may_go_on(answer, sent):
                return
            if answer.is_stream and piece:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            elif piece:
                self.wfile.write(piece)
        if self._may_go_on(answer, len(answer.pieces)) and answer.is_stream:
            self.wfile.write(b"0\r\n\r\n")

    def _may_go_on(self, answer: Answer, sent: int) -> bool:
        if sent == answer.held_after:
            self.server.go_on.wait(PATIENCE)
        if sent == answer.cut_after:
            self.close_connection = True
            self.connection.close()
            return False
        return True

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the names that the library looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""

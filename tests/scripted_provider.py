"""A provider on loopback that answers what it is told to, byte by byte if need be."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from waiting import PATIENCE

import llm_audit

CHAT = "/v1/chat/completions"
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5-2026",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
WORDS = ("In ", "Pa", "ris.")


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    """Return one event of a streamed chat completion."""
    body = {
        "id": "chatcmpl-2",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-5-2026",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    return b"data: " + json.dumps(body).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
STREAM = (
    chunk({"role": "assistant", "content": ""}),
    *(chunk({"content": word}) for word in WORDS),
    chunk({}, "stop"),
    DONE,
)


@dataclass
class Answer:
    """What comes back: a body in one piece, or in several.

    Attributes:
        status: Of HTTP.
        body: Sent as JSON, unless it is bytes.
        pieces: Sent instead, one after the other.
        ends: False cuts the connection where more would have to come.
        wait: Is called before the last piece.
        headers: More of them.
    """

    status: int = 200
    body: Any = None
    pieces: tuple[bytes, ...] = ()
    ends: bool = True
    wait: Callable[[], object] = lambda: None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Provider:
    """What was asked, and what will be answered: the given answers in turn, then `ANSWER`."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    when_asked: Callable[[], object] = lambda: None
    let_go: threading.Event = field(default_factory=threading.Event)

    def stream(self, pieces: tuple[bytes, ...] = STREAM, **how: Any) -> None:
        """Answer the next request with a stream."""
        headers = {"content-type": "text/event-stream"}
        self.answers.append(Answer(pieces=pieces, headers=headers, **how))

    def refuse(self, status: int, **headers: str) -> None:
        """Answer the next request with an error."""
        body = {"error": {"message": "Not now.", "type": "requests", "code": "busy"}}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append(Answer(status, body, headers=named))

    def hold(self) -> None:
        """Wait until the test lets go."""
        self.let_go.wait(PATIENCE)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: Provider

    def do_POST(self) -> None:
        """Answer as the script says."""
        provider = self.provider
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        provider.asked.append({"path": self.path, "headers": dict(self.headers), "body": body})
        provider.when_asked()
        answer = provider.answers.pop(0) if provider.answers else Answer(body=ANSWER)
        with suppress(ConnectionError):
            self._send(answer)

    do_GET = do_POST  # noqa: N815

    def _send(self, answer: Answer) -> None:
        headers = {"content-type": "application/json", **answer.headers}
        if answer.pieces:
            headers["transfer-encoding"] = "chunked"
        else:
            whole = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body)
            data = whole if isinstance(whole, bytes) else whole.encode()
            headers["content-length"] = str(len(data) + (not answer.ends))
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if not answer.pieces:
            answer.wait()
            self.wfile.write(data)
        for number, piece in enumerate(answer.pieces):
            if number == len(answer.pieces) - 1:
                answer.wait()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        if not answer.ends:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
            self.close_connection = True
            self.connection.close()
        elif answer.pieces:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


@contextmanager
def scripted_provider() -> Iterator[Provider]:
    """Serve on a free port of loopback."""
    handler = type("Handler", (_Handler,), {})
    with _Server(("127.0.0.1", 0), handler) as server:
        provider = Provider(f"http://127.0.0.1:{server.server_port}")
        handler.provider = provider  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            provider.let_go.set()
            server.shutdown()
            thread.join(PATIENCE)


@contextmanager
def captured_provider() -> Iterator[Provider]:
    """Serve, and record what clients ask meanwhile."""
    llm_audit.instrument()
    try:
        with scripted_provider() as provider:
            yield provider
    finally:
        llm_audit.uninstrument()

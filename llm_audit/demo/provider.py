"""The demo's provider: a small HTTP server on loopback that speaks OpenAI's chat completions.

    with provider.serve() as url:
        client = OpenAI(base_url=url, api_key="demo")

What it answers is in the table of `replies.py`. It takes its time, like a model, so much per token.
"""

import json
import select
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from llm_audit.demo import replies
from llm_audit.embedded.server import HOST

PATH = "/v1/chat/completions"
SECONDS_PER_TOKEN = {"gpt-4": 0.01}
OTHERS_SECONDS_PER_TOKEN = 0.004
IDLE_SECONDS = 5.0
POLL_SECONDS = 0.05


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing the server waits for the answers under way

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self.stopping = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = IDLE_SECONDS  # for a client that connects and says nothing

    def do_POST(self) -> None:
        with suppress(ConnectionError):  # the client went away in the middle of its answer
            self._answer()

    def log_message(self, *_: Any) -> None:
        """Keep the terminal for the demo."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != PATH:
            message = f"Invalid URL (POST {self.path})"
            self._refuse(replies.Refusal(404, "invalid_request_error", message))
            return
        try:
            request = json.loads(body)
        except ValueError:
            message = "We could not parse the JSON body of your request."
            self._refuse(replies.Refusal(400, "invalid_request_error", message))
            return
        refused = replies.refusal(request)
        if refused is not None:
            self._refuse(refused)
        elif replies.hangs(request):
            self._wait_for_the_client_to_go()
        elif request.get("stream"):
            self._stream(request)
        else:
            answer = replies.completion(request)
            time.sleep(answer["usage"]["completion_tokens"] * _seconds_per_token(request))
            self._send(200, answer)

    def _stream(self, request: Mapping[str, Any]) -> None:
        include_usage = bool((request.get("stream_options") or {}).get("include_usage"))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        answer = replies.completion(request)
        for chunk in replies.chunks(answer, include_usage=include_usage):
            time.sleep(_seconds_per_token(request))
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def _refuse(self, refused: replies.Refusal) -> None:
        self._send(refused.status, refused.body())

    def _send(self, status: int, content: Mapping[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _wait_for_the_client_to_go(self) -> None:
        while not self.server.stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], POLL_SECONDS)
            if readable and not self.connection.recv(1):
                return


def _seconds_per_token(request: Mapping[str, Any]) -> float:
    return SECONDS_PER_TOKEN.get(str(request.get("model")), OTHERS_SECONDS_PER_TOKEN)


@contextmanager
def serve() -> Iterator[str]:
    """Run the provider in threads of this process for the length of the block.

    Yields:
        The base URL for an OpenAI client, on a free port of 127.0.0.1.
    """
    with _Server() as server:
        thread = threading.Thread(
            target=server.serve_forever, args=(POLL_SECONDS,), name="llm-audit-demo-provider"
        )
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}/v1"
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()

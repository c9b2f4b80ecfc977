"""A provider on loopback for frameworks: it asks for the first tool once, then says yes.

What is asked as JSON it answers so, and what is to be embedded as three numbers each.
"""

import base64
import json
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from threading import Event, Thread
from typing import Any

import pytest

import llm_audit
from llm_audit.capture.patches import _Patches
from llm_audit.recorder.captured import Captured

ANSWER = "yes, indeed"
WAITS = "wait for ever"  # whoever says this gets no answer before the server stops
BROKEN = "broken"  # the model that always fails, and so does any under this path
PERSON: dict[str, Any] = {
    "name": "Ada",
    "age": 36,
    "city": "Oslo",
}  # as JSON, and what each tool is given


def _given(tool: str) -> dict[str, Any]:
    """Return the arguments that a tool is called with; a class is one for a whole person."""
    return {"city": PERSON["city"]} if tool.islower() else PERSON


class _Provider(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stopping = Event()
        self.exchanged: list[tuple[dict[str, Any], dict[str, Any]]] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Provider
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if BROKEN in {request["model"], *self.path.split("/")}:
            self._send("application/json", b'{"error": {"message": "broken"}}', status=400)
            return
        if "input" in request:
            self._embed(request)
            return
        messages = request["messages"]
        if WAITS in str(messages[-1].get("content")):
            self.server.stopping.wait(60)
            return
        content = json.dumps(PERSON) if request.get("response_format") else ANSWER
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if request.get("tools") and messages[-1]["role"] != "tool":
            name = request["tools"][0]["function"]["name"]
            call = {"id": "call_1", "type": "function"}
            message = {"role": "assistant", "content": None, "tool_calls": [
                {**call, "function": {"name": name, "arguments": json.dumps(_given(name))}}
            ]}  # fmt: skip
        reason = "tool_calls" if "tool_calls" in message else "stop"
        whole = {"id": "chatcmpl-1", "created": 1, "model": request["model"]}
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        if request.get("stream"):
            deltas = [message] if "tool_calls" in message else [
                {"role": "assistant", "content": piece} for piece in ("yes, ", "indeed")
            ]  # fmt: skip
            for call in message.get("tool_calls", ()):
                call["index"] = 0
            choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
            choices.append({"index": 0, "delta": {}, "finish_reason": reason})
            whole["object"] = "chat.completion.chunk"
            lines = [f"data: {json.dumps({**whole, 'choices': [one]})}\n\n" for one in choices]
            if (request.get("stream_options") or {}).get("include_usage"):
                lines.append(f"data: {json.dumps({**whole, 'choices': [], 'usage': usage})}\n\n")
            self._send("text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode())
            return
        choice = {"index": 0, "message": message, "finish_reason": reason}
        answer = {**whole, "object": "chat.completion", "choices": [choice], "usage": usage}
        self.server.exchanged.append((request, answer))
        self._send("application/json", json.dumps(answer).encode())

    def _embed(self, request: dict[str, Any]) -> None:
        texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
        vector: Any = [0.5, 0.5, 0.5]
        if request.get("encoding_format") == "base64":
            vector = base64.b64encode(array("f", vector).tobytes()).decode()
        data = [
            {"object": "embedding", "index": number, "embedding": vector}
            for number in range(len(texts))
        ]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        answer = {"object": "list", "model": request["model"], "data": data, "usage": usage}
        self._send("application/json", json.dumps(answer).encode())

    def _send(self, kind: str, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="session")
def provider() -> Iterator[_Provider]:
    """Serve, as long as there are tests."""
    with _Provider() as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.stopping.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def provider_url(provider: _Provider) -> str:
    """Return the base URL of the provider."""
    return f"http://127.0.0.1:{provider.server_port}/v1"


@pytest.fixture
def exchanged(provider: _Provider) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return what is asked whole from now on, and answered so: JSON of both."""
    provider.exchanged.clear()
    return provider.exchanged


@pytest.fixture
def instrumented() -> Iterator[None]:
    """Record by themselves whatever calls a test makes; nothing of that may fail, or be missed."""
    missed = set(_Patches.missed)
    llm_audit.instrument()
    faults = Captured.counts.faults
    yield
    llm_audit.uninstrument()
    assert Captured.counts.faults == faults
    assert _Patches.missed == missed


# What a file of tests is about, or a test in a file of several, by the package.
_PACKAGES = {
    "a_stream_of_dspys_and_what_fails": "dspy",
    "autogen": "autogen-agentchat",
    "beside": "langfuse",
    "dspy_async": "dspy",
    "google_adk": "google-adk",
    "haystack": "haystack-ai",
    "langchain": "langchain-core",
    "langchain_chains": "langchain",
    "langchain_of_anthropic": "langchain-anthropic",
    "llama_index": "llama-index-core",
    "pydantic_ai": "pydantic-ai-slim",
    "strands": "strands-agents",
}
_OF_SEVERAL = ("test_frameworks.py", "test_more.py")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was tested: each package with its version, and how many tests passed."""
    table: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            file, _, test = report.nodeid.partition("::")
            told = test if file.endswith(_OF_SEVERAL) else file
            name = re.sub(r".*(?:test|by)_|\W.*|_on_.*|_async$", "", told)
            table.setdefault(_PACKAGES.get(name, name.replace("_", "-")), Counter())[outcome] += 1
    terminalreporter.write_line("")
    for package, outcomes in sorted([("openai", Counter()), *table.items()]):
        said = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        terminalreporter.write_line(f"{package:<20} {_version(package):<10} {said}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""

"""Print the spans that an instrumentation makes of a few calls, as JSON: `emit.py <name>`.

The files beside this one were made with it, see README.md.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Grüezi.", "refusal": None},
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 20,
        "completion_tokens": 5,
        "total_tokens": 25,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
}
TOOLS = {
    **CHAT,
    "id": "chatcmpl-2",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Chur"}'},
                    }
                ],
            },
            "finish_reason": "tool_calls",
        }
    ],
}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
EMBEDDINGS = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1700000000,
    "status": "completed",
    "model": "gpt-4o-mini-2024-07-18",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Grüezi.", "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 20,
        "output_tokens": 5,
        "total_tokens": 25,
        "input_tokens_details": {"cached_tokens": 8},
        "output_tokens_details": {"reasoning_tokens": 2},
    },
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-20250514",
    "content": [{"type": "text", "text": "Grüezi."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 4,
    },
}
MISTRAL = {
    **CHAT,
    "id": "mistral-1",
    "model": "mistral-small-latest",
    "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25},
}
ERROR = {
    "error": {
        "message": "No such model.",
        "type": "invalid_request_error",
        "code": "model_not_found",
    }
}


class Stub(BaseHTTPRequestHandler):
    """Answers as the APIs do."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one request."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = body.get("model", "")
        if model == "slow":
            threading.Event().wait(3)
        text, kind = json.dumps(self._answer(body, model)), "application/json"
        if body.get("stream"):
            text, kind = _stream(), "text/event-stream"
        raw = text.encode()
        self.send_response(400 if model == "broken" else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _answer(self, body: dict[str, Any], model: str) -> dict[str, Any]:
        if model == "broken":
            return ERROR
        for ending, answer in (
            ("/embeddings", EMBEDDINGS),
            ("/responses", RESPONSE),
            ("/messages", MESSAGE),
        ):
            if self.path.endswith(ending):
                return answer
        if "mistral" in model:
            return MISTRAL
        return TOOLS if body.get("tools") and body["messages"][-1]["role"] == "user" else CHAT

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _stream() -> str:
    chunk = {**{name: CHAT[name] for name in ("id", "created", "model")}, "choices": []}
    chunk["object"] = "chat.completion.chunk"
    deltas = {"role": "assistant", "content": "Grü"}, {"content": "ezi."}
    chunks = [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in zip(deltas, (None, "stop"), strict=True)
    ]
    chunks.append({**chunk, "usage": CHAT["usage"]})
    return "".join(f"data: {json.dumps(one)}\n\n" for one in chunks) + "data: [DONE]\n\n"


server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
URL = f"http://127.0.0.1:{server.server_port}"
HELLO = {"role": "user", "content": "Hello"}
WEATHER = {"role": "user", "content": "Weather in Chur?"}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
CONVERSATION = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": [{"type": "text", "text": "Hello"}, PICTURE]},
]
AFTER_TOOL = [
    WEATHER,
    TOOLS["choices"][0]["message"],
    {"role": "tool", "tool_call_id": "call_1", "content": "4 °C"},
]
OPENAI = {"base_url": f"{URL}/v1", "api_key": "none", "max_retries": 0, "timeout": 5}


def openai_calls(client: Any = None) -> None:
    """Make eight calls with openai's client."""
    import openai

    client = client or openai.OpenAI(**OPENAI)
    chat = client.chat.completions.create
    mini = "gpt-4o-mini"
    chat(model=mini, messages=CONVERSATION, temperature=0.5, max_tokens=50, seed=7)
    chat(model=mini, messages=[WEATHER], tools=[TOOL])
    chat(model=mini, messages=AFTER_TOOL, tools=[TOOL], tool_choice="auto")
    usage = {"include_usage": True}
    list(chat(model=mini, messages=[HELLO], stream=True, stream_options=usage))
    with suppress(openai.APIError):
        chat(model="broken", messages=[HELLO])
    with suppress(openai.APIError):
        impatient = client.with_options(timeout=0.2)
        impatient.chat.completions.create(model="slow", messages=[HELLO])
    client.embeddings.create(model="text-embedding-3-small", input=["Hello"])
    client.responses.create(model=mini, instructions="Be short.", input="Hello")


def anthropic_calls() -> None:
    """Make two calls with Anthropic's client."""
    import anthropic

    client = anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0)
    asked = {"max_tokens": 50, "messages": [HELLO]}
    client.messages.create(model="claude-sonnet-4-20250514", system="Be short.", **asked)
    with suppress(anthropic.APIError):
        client.messages.create(model="broken", **asked)


class Keep(SpanProcessor):
    """Keeps spans, and what was in them at their start."""

    def __init__(self) -> None:
        self.began: dict[int, list[str]] = {}
        self.spans: list[dict[str, Any]] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:  # noqa: ARG002
        """Note which attributes are there."""
        self.began[span.context.span_id] = sorted(span.attributes or {})

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it."""
        self.spans.append(_plain(span, self.began[span.context.span_id]))


def _plain(span: ReadableSpan, at_start: list[str]) -> dict[str, Any]:
    return {
        "name": span.name,
        "kind": span.kind.name,
        "trace_id": f"{span.context.trace_id:032x}",
        "span_id": f"{span.context.span_id:016x}",
        "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "scope": span.instrumentation_scope.name if span.instrumentation_scope else "",
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "status": span.status.status_code.name,
        "status_message": span.status.description,
        "at_start": [name for name in at_start if name not in LEFT_OUT],
        "attributes": _values(span.attributes),
        "events": [
            {"name": one.name, "time_ns": one.timestamp, "attributes": _values(one.attributes)}
            for one in span.events
        ],
    }


LEFT_OUT = ("logfire.json_schema",)


def _values(attributes: Any) -> dict[str, Any]:
    found = {
        name: list(value) if isinstance(value, tuple | list) else value
        for name, value in (attributes or {}).items()
        if name not in LEFT_OUT
    }
    if "exception.stacktrace" in found:
        found["exception.stacktrace"] = "Traceback …"
    return found


keep = Keep()
provider = TracerProvider()
provider.add_span_processor(keep)


def openinference() -> None:
    """Arize's instrumentation of openai."""
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)
    openai_calls()


def openinference_langchain() -> None:
    """Arize's instrumentations of LangChain and of openai below it."""
    from langchain_openai import ChatOpenAI
    from openinference.instrumentation.langchain import LangChainInstrumentor
    from openinference.instrumentation.openai import OpenAIInstrumentor

    LangChainInstrumentor().instrument(tracer_provider=provider)
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    model = ChatOpenAI(base_url=OPENAI["base_url"], api_key="none", model="gpt-4o-mini")
    model.invoke("Hello")


def genai_openai() -> None:
    """OpenTelemetry's own instrumentation of openai."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)
    openai_calls()


def genai_anthropic() -> None:
    """OpenTelemetry's own instrumentation of anthropic."""
    from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor

    os.environ["ANTHROPIC_OPEN_TELEMETRY"] = "false"
    AnthropicInstrumentor().instrument(tracer_provider=provider)
    anthropic_calls()


def anthropic() -> None:
    """Anthropic's SDK itself."""
    os.environ["ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE"] = "content"
    anthropic_calls()


def mistral() -> None:
    """Mistral's SDK itself."""
    from mistralai.client import Mistral
    from mistralai.client.errors import SDKError
    from mistralai.extra.observability import set_tracer_provider

    with Mistral(server_url=URL, api_key="none") as client:
        set_tracer_provider(client, provider)
        client.chat.complete(model="mistral-small-latest", temperature=0.5, messages=[HELLO])
        with suppress(SDKError):
            client.chat.complete(model="broken", messages=[HELLO])


def traceloop() -> None:
    """Traceloop's instrumentation of openai."""
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)
    openai_calls()


def logfire() -> None:
    """Logfire's instrumentation of openai."""
    import logfire

    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[keep])
    logfire.instrument_openai()
    openai_calls()


def langfuse() -> None:
    """Langfuse's client in openai's place."""
    os.environ |= {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk", "LANGFUSE_HOST": URL}
    from langfuse import Langfuse
    from langfuse.openai import OpenAI

    Langfuse(tracer_provider=provider)
    openai_calls(OpenAI(**OPENAI))


def pydantic_ai() -> None:
    """An agent of pydantic-ai, with a tool."""
    from pydantic_ai import Agent, InstrumentationSettings
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    Agent.instrument_all(InstrumentationSettings(tracer_provider=provider, include_content=True))
    openai = OpenAIProvider(base_url=OPENAI["base_url"], api_key="none")
    model = OpenAIChatModel("gpt-4o-mini", provider=openai)
    agent = Agent(model, name="forecaster", instructions="Be short.")

    @agent.tool_plain
    def weather(city: str) -> str:  # noqa: ARG001
        """Return the weather."""
        return "4 °C"

    agent.run_sync("Weather in Chur?")


INSTRUMENTATIONS: dict[str, Callable[[], None]] = {
    made.__name__.replace("_", "-"): made
    for made in (
        *(anthropic, genai_anthropic, genai_openai, langfuse, logfire, mistral, openinference),
        *(openinference_langchain, pydantic_ai, traceloop),
    )
}

if __name__ == "__main__":
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "span_only"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    name = sys.argv[1]
    if name != "logfire":  # which brings its own
        trace.set_tracer_provider(provider)
    INSTRUMENTATIONS[name]()
    sys.stdout.write(json.dumps(keep.spans, indent=1, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    os._exit(0)  # some go on exporting

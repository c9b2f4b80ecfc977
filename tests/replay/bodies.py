"""Small answers of each API, made up, and the arguments that ask for them."""

import base64
import json
from typing import Any

from replay.recordings import EVENTS, aws_frame
from replay.server import Answer
from wire_traffic import aws_message

HELLO = [{"role": "user", "content": "hello"}]
ASK = {"model": "gpt-4o", "messages": HELLO}
ASK_CLAUDE = {"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": HELLO}
ASK_BEDROCK = {
    "modelId": "amazon.nova",
    "messages": [{"role": "user", "content": [{"text": "hi"}]}],
}
ASK_TITAN = {"modelId": "amazon.titan", "body": b'{"inputText": "hi"}'}
ASK_AGENT = {"agentId": "AGENT12345", "agentAliasId": "ALIAS12345", "sessionId": "session"}
ASK_RAG = {
    "input": {"text": "hi"},
    "retrieveAndGenerateConfiguration": {
        "type": "KNOWLEDGE_BASE",
        "knowledgeBaseConfiguration": {
            "knowledgeBaseId": "BASE123456",
            "modelArn": "arn:aws:bedrock:us-east-1::foundation-model/m",
        },
    },
}
ASK_FLOW = {
    "flowIdentifier": "FLOW123456",
    "flowAliasIdentifier": "ALIAS12345",
    "inputs": [{"nodeName": "n", "nodeOutputName": "o", "content": {"document": "hi"}}],
}
ASK_GEMINI = {"model": "gemini-2.5-flash", "contents": "hello"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def whole(body: Any) -> Answer:
    """Return an answer in one piece."""
    return Answer([json.dumps(body).encode()])


def sse(*events: Any, named: bool = False, end: str = "\n\n", last: str = "") -> Answer:
    """Return a stream of server-sent events."""
    pieces = []
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        pieces.append(f"{name}data: {json.dumps(event)}{end}".encode())
    pieces += [f"data: {last}{end}".encode()] if last else []
    return Answer(pieces, content_type="text/event-stream", is_stream=True)


def ndjson(*events: Any) -> Answer:
    """Return a stream of lines of JSON."""
    pieces = [json.dumps(event).encode() + b"\n" for event in events]
    return Answer(pieces, content_type="application/x-ndjson", is_stream=True)


def aws(*events: tuple[str, Any]) -> Answer:
    """Return a stream of events as AWS sends them."""
    pieces = [aws_frame({"event_type": name, "payload": said}) for name, said in events]
    return Answer(pieces, content_type=EVENTS, is_stream=True)


def chat(content: str = "Hello!") -> dict[str, Any]:
    """Return a chat completion."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content},
        "finish_reason": "stop",
    }
    named = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-x"}
    return {**named, "choices": [choice], "usage": USAGE}


def chunk(delta: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a piece of a chat completion."""
    named = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**named, "model": "gpt-4o-x", "choices": [choice], **more}


def chat_stream(pieces: int = 3) -> Answer:
    """Return a streamed chat completion of so many words."""
    words = [chunk({"content": f"word {n} "}) for n in range(pieces)]
    start = chunk({"role": "assistant", "content": ""})
    return sse(start, *words, chunk({}, "stop", usage=USAGE), last="[DONE]")


CHAT, CHAT_STREAM = whole(chat()), chat_stream()
CHAT_JSON = whole(chat('{"name": "Ada", "age": 36}'))
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "gpt-4o-x",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "output": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": '{"name": "Ada", "age": 36}', "annotations": []}
            ],
        }
    ],
    "usage": {
        "input_tokens": 3,
        "output_tokens": 2,
        "total_tokens": 5,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    },
}
RESPONSES = whole(RESPONSE)
_PENDING = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
RESPONSES_STREAM = sse(
    {"type": "response.created", "sequence_number": 0, "response": _PENDING},
    {
        "type": "response.output_item.added",
        "sequence_number": 1,
        "output_index": 0,
        "item": {**RESPONSE["output"][0], "content": [], "status": "in_progress"},
    },
    {"type": "response.completed", "sequence_number": 2, "response": RESPONSE},
    named=True,
)
QUEUED = whole({**RESPONSE, "status": "queued", "output": [], "usage": None, "background": True})
COMPLETION = whole(
    {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "gpt-instruct",
        "choices": [{"text": "Hello!", "index": 0, "finish_reason": "stop", "logprobs": None}],
        "usage": USAGE,
    }
)
EMBEDDING = whole(
    {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.25, 0.5]}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
)
MODERATION = whole(
    {
        "id": "modr-1",
        "model": "omni-moderation",
        "results": [{"flagged": False, "categories": {}, "category_scores": {}}],
    }
)
IMAGE = whole({"created": 1, "data": [{"b64_json": base64.b64encode(b"picture").decode()}]})
SPEECH = Answer([b"\0\1" * 500], content_type="audio/mpeg")
TRANSCRIPT = whole({"text": "hello"})

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [{"type": "text", "text": "Hello!"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
MESSAGES = whole(MESSAGE)
_EVENTS: tuple[dict[str, Any], ...] = (
    {
        "type": "message_start",
        "message": {**MESSAGE, "content": [], "stop_reason": None},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    *(
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": text},
        }
        for text in ("Hel", "lo!")
    ),
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
)
MESSAGES_STREAM = sse(*_EVENTS, named=True)
BEDROCK_MESSAGES_STREAM = aws(*(("chunk", {"bytes_decoded": event}) for event in _EVENTS))
TOKENS = whole({"input_tokens": 3})

GEMINI_BODY: dict[str, Any] = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "Hello!"}]},
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
    "modelVersion": "gemini-x",
    "responseId": "g-1",
}
GEMINI = whole(GEMINI_BODY)
_BEGUN = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hel"}]}}]}
GEMINI_STREAM = sse({**GEMINI_BODY, **_BEGUN}, GEMINI_BODY, end="\r\n\r\n")
GEMINI_EMBEDDING = whole({"embeddings": [{"values": [0.25, 0.5]}]})
_STEPS = [{"type": "model_output", "content": [{"type": "text", "text": "Hello!"}]}]
_INTERACTION = {"id": "i-1", "object": "interaction", "model": "gemini-x", "status": "completed"}
_COUNTS = {"total_input_tokens": 3, "total_output_tokens": 2, "total_tokens": 5}
INTERACTION = whole({**_INTERACTION, "steps": _STEPS, "usage": _COUNTS})
INTERACTION_STREAM = sse(
    {"event_type": "interaction.created", "interaction": {**_INTERACTION, "status": "in_progress"}},
    {"event_type": "step.start", "index": 0, "step": {"type": "model_output"}},
    {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "Hello!"}},
    {"event_type": "step.stop", "index": 0},
    {"event_type": "interaction.completed", "interaction": {**_INTERACTION, "usage": _COUNTS}},
    last="[DONE]",
)

CONVERSE = whole(
    {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello!"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
        "metrics": {"latencyMs": 1},
    }
)
CONVERSE_STREAM = aws(
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hel"}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "lo!"}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}}),
)
_TITAN = {"outputText": "Hello!", "completionReason": "FINISH"}
TITAN = whole({"inputTextTokenCount": 1, "results": [{**_TITAN, "tokenCount": 2}]})
TITAN_STREAM = aws(
    ("chunk", {"bytes_decoded": {**_TITAN, "index": 0, "totalOutputTextTokenCount": 2}})
)

_SAID = {"bytes": base64.b64encode(b"Hello!").decode()}
AGENT = aws(("trace", {"sessionId": "s"}), ("chunk", _SAID))
RAG = whole({"output": {"text": "Hello!"}, "sessionId": "s", "citations": []})
RAG_STREAM = aws(("output", {"text": "Hel"}), ("output", {"text": "lo!"}))
FLOW = aws(
    (
        "flowOutputEvent",
        {"nodeName": "n", "nodeType": "FlowOutputNode", "content": {"document": "Hello!"}},
    ),
    ("flowCompletionEvent", {"completionReason": "SUCCESS"}),
)
ASK_SAGEMAKER = {
    "EndpointName": "mine",
    "ContentType": "application/json",
    "Body": json.dumps({"inputs": "hi", "parameters": {}}).encode(),
}
_TOKENS = [{"token": {"text": "Hel"}}, {"token": {"text": "lo!"}, "generated_text": "Hello!"}]
GENERATION = whole({"generated_text": "Hello!"})
_BYTES = "".join(f"data:{json.dumps(one)}\n\n" for one in _TOKENS).encode()
GENERATION_STREAM = Answer(
    [aws_message("PayloadPart", _BYTES[at : at + 9]) for at in range(0, len(_BYTES), 9)],
    content_type=EVENTS,
    is_stream=True,
)
RETRIEVED = whole({"retrievalResults": [{"content": {"text": "Hello!"}}]})

COHERE = whole(
    {
        "id": "c-1",
        "finish_reason": "COMPLETE",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "Hello!"}]},
        "usage": {"tokens": {"input_tokens": 3, "output_tokens": 2}},
    }
)
COHERE_STREAM = sse(
    {"type": "message-start", "id": "c-1", "delta": {"message": {"role": "assistant"}}},
    {
        "type": "content-start",
        "index": 0,
        "delta": {"message": {"content": {"type": "text", "text": ""}}},
    },
    {
        "type": "content-delta",
        "index": 0,
        "delta": {"message": {"content": {"text": "Hello!"}}},
    },
    {"type": "content-end", "index": 0},
    {
        "type": "message-end",
        "delta": {
            "finish_reason": "COMPLETE",
            "usage": {"tokens": {"input_tokens": 3, "output_tokens": 2}},
        },
    },
    named=True,
)
_LLAMA = {"model": "llama3", "created_at": "2026-01-01T00:00:00Z"}
_DONE = {"done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2}
OLLAMA = whole({**_LLAMA, "message": {"role": "assistant", "content": "Hello!"}, **_DONE})
OLLAMA_STREAM = ndjson(
    {**_LLAMA, "message": {"role": "assistant", "content": "Hello!"}, "done": False},
    {**_LLAMA, "message": {"role": "assistant", "content": ""}, **_DONE},
)

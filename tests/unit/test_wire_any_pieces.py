"""Whatever a server sends as the pieces of a stream, and wherever it goes: nothing raises."""

import base64
import json
from typing import Any

import bson
from properties import given, st
from wire_streams import AWS, SSE
from wire_traffic import EVENT, EXCEPTION, aws_message

from llm_audit.encoding.encode import encode
from llm_audit.wire.answers import read_answer
from llm_audit.wire.apis import ROWS, Asked, confirmed, matched

KEYS = (
    *("type", "event_type", "index", "delta", "message", "content", "choices", "candidates"),
    *("parts", "text", "usage", "error", "response", "item", "part", "output", "output_index"),
    *("tool_calls", "function", "arguments", "finish_reason", "content_block", "contentBlockIndex"),
    *("toolUse", "input", "start", "step", "interaction", "outputs", "outputText", "results"),
    *("logprobs", "id", "name", "stop_reason", "citations", "citation", "annotation", "value"),
    *("completion", "messageStart", "contentBlockDelta", "reasoningContent", "citationsContent"),
    *("object", "token", "generated_text", "tool_plan", "is_finished", "summary_index", "bytes"),
    *("citationMetadata", "promptFeedback", "thoughtSignature", "partial_json", "status", "done"),
)
WORDS = (
    *("text", "thinking", "text_delta", "input_json_delta", "citations_delta", "signature_delta"),
    *("message_start", "message_delta", "message_stop", "content_block_start", "error"),
    *("content_block_delta", "response.output_item.added", "response.output_text.delta"),
    *("response.completed", "response.output_text.annotation.added", "response.content_part.added"),
    *("response.reasoning_summary_text.delta", "step.start", "step.delta", "content.start"),
    *("thought_summary", "arguments_delta", "interaction.complete", "message.output.delta"),
    *("conversation.response.started", "conversation.response.done", "function.call.delta"),
    *("transcript.text.delta", "transcript.text.segment", "image_generation.completed"),
    *("thread.run", "thread.message.delta", "thread.run.step", "message-start", "message-end"),
    *("content-start", "content-delta", "tool-call-delta", "citation-start", "tool-plan-delta"),
    *("chunk", "metadata", "messageStop", "contentBlockStart", "{}", '{"a": ', ""),
)
LEAVES = st.sampled_from((*WORDS, None, True, 0, 1, -1, 2**70, 1.5))
PIECES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=20,
)
STREAM = st.lists(
    st.dictionaries(st.sampled_from(KEYS), PIECES, max_size=5) | PIECES, min_size=1, max_size=5
)
NAMES = st.sampled_from(WORDS)


def bodies(names: list[str], pieces: list[Any]) -> dict[str, bytes]:
    """Return a stream of these pieces in each format, by its type."""
    texts = [json.dumps(piece).encode() for piece in pieces]
    named = list(zip(names, pieces, texts, strict=True))
    inner = [{"bytes": base64.b64encode(text).decode()} for text in texts]
    return {
        SSE: b"".join(b"event: %s\ndata: %s\n\n" % (name.encode(), t) for name, _, t in named),
        "application/x-ndjson": b"\n".join(texts),
        "application/json": json.dumps(pieces).encode(),
        AWS: b"".join(
            [
                *(aws_message(name, piece) for name, piece, _ in named),
                *(aws_message("chunk", piece, EVENT) for piece in inner),
                aws_message(names[0], pieces[0], EXCEPTION),
            ]
        ),
    }


@given(st.data(), STREAM, st.sampled_from(ROWS))
def test_any_pieces(data: st.DataObject, pieces: list[Any], row: Any) -> None:
    """They are put together as something that can be stored, whole and broken off."""
    names = [data.draw(NAMES) for _ in pieces]
    for kind, body in bodies(names, pieces).items():
        for some in (body, body[: data.draw(st.integers(0, len(body)))]):
            answer = read_answer(Asked((row,), streamed=data.draw(st.booleans())), some, kind)
            bson.decode(encode({"response": answer.response}, 2**24, 2**24).raw)


@given(
    st.sampled_from(["POST", "GET", "PUT", ""]),
    st.lists(
        st.sampled_from(
            [*"/:?%@", "%3A", "model", "models", "invoke", "responses", "v1", "chat", "a", "\u2028"]
        ),
        max_size=8,
    ),
    st.binary(max_size=20) | st.none(),
)
def test_any_path(method: str, parts: list[str], body: bytes | None) -> None:
    """What an app asks for is its own; it is told as a call or not."""
    said = matched(method, "".join(parts))
    assert said is None or confirmed(said, "host", body) is None or said.rows

"""The pieces of streams that nobody recorded: what else the APIs send, and what goes wrong."""

import json
from collections.abc import Iterable
from typing import Any

from wire_streams import ROW, streamed

from llm_audit.wire.answers import Answer, read_answer
from llm_audit.wire.apis import Asked


def message(*events: tuple[int, Any, list[dict[str, Any]]], end: bool = True) -> Answer:
    """Read a stream of Anthropic's: blocks by index, each with its deltas."""
    usage = {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": 7}
    pieces: list[Any] = [
        {"type": "message_start", "message": {"id": "m", "content": [], "usage": usage}},
        {"type": "ping"},
    ]
    for index, block, deltas in events:
        pieces.append({"type": "content_block_start", "index": index, "content_block": block})
        pieces += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        pieces.append({"type": "content_block_stop", "index": index})
    if end:
        pieces += [
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "context_management": 1,
             "usage": {"input_tokens": None, "output_tokens": 9}},
            {"type": "message_stop"},
        ]  # fmt: skip
    return streamed("anthropic.messages", *pieces)


def test_blocks_of_a_message() -> None:
    """Each grows by its own deltas, and one of a kind that is not known grows as well."""
    answer = message(
        (0, {"type": "thinking", "thinking": "", "signature": ""},
         [{"type": "thinking_delta", "thinking": "a"}, {"type": "thinking_delta", "thinking": "b"},
          {"type": "signature_delta", "signature": "s"}]),
        (1, {"type": "text", "text": "", "citations": []},
         [{"type": "text_delta", "text": "c"}, {"type": "citations_delta", "citation": {"x": 1}},
          {"type": "text_delta", "text": "d"}, {"type": "citations_delta", "citation": {"x": 2}}]),
        (2, {"type": "tool_use", "id": "t", "name": "f", "input": {}},
         [{"type": "input_json_delta", "partial_json": ""},
          {"type": "input_json_delta", "partial_json": '{"a": [1'},
          {"type": "input_json_delta", "partial_json": ", 2]}"}]),
        (3, {"type": "server_tool_use", "id": "s", "name": "g", "input": {}}, []),
        (4, {"type": "web_search_tool_result", "content": [{"url": "u"}]}, []),
        (5, {"type": "compaction", "content": None},
         [{"type": "compaction_delta", "content": "summary"}]),
        (6, {"type": "novel", "song": "la"}, [{"type": "novel_delta", "song": "la"}]),
    )  # fmt: skip
    assert answer.complete
    assert answer.response == {
        "id": "m", "stop_reason": "end_turn", "context_management": 1,
        "usage": {"input_tokens": 3, "output_tokens": 9, "cache_read_input_tokens": 7},
        "content": [
            {"type": "thinking", "thinking": "ab", "signature": "s"},
            {"type": "text", "text": "cd", "citations": [{"x": 1}, {"x": 2}]},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1, 2]}},
            {"type": "server_tool_use", "id": "s", "name": "g", "input": {}},
            {"type": "web_search_tool_result", "content": [{"url": "u"}]},
            {"type": "compaction", "content": "summary"},
            {"type": "novel", "song": "lala"},
        ],
    }  # fmt: skip


def test_a_message_broken_off() -> None:
    """What a tool is given stays the text that came of it; an error in the stream is told."""
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    cut = message((0, block, [{"type": "input_json_delta", "partial_json": '{"a": '}]), end=False)
    assert (cut.complete, cut.response["content"][0]["input"]) == (False, '{"a": ')
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    answer = streamed("anthropic.messages", {"type": "ping"}, error)
    assert (answer.error, answer.complete) == (error["error"], False)
    legacy = streamed(
        "anthropic.complete",
        {"type": "completion", "completion": " Hel", "stop_reason": None, "model": "c"},
        {"type": "completion", "completion": "lo", "stop_reason": "stop_sequence", "model": "c"},
    )
    assert (legacy.response["completion"], legacy.complete) == (" Hello", True)


def gemini(*parts: Iterable[dict[str, Any]], **ending: Any) -> Answer:
    """Read a stream of Gemini's that is one JSON array."""
    pieces: list[Any] = [
        {"candidates": [{"content": {"parts": list(some), "role": "model"}, "index": 0}],
         "usageMetadata": {"totalTokenCount": number}}
        for number, some in enumerate(parts)
    ]  # fmt: skip
    pieces[-1]["candidates"][0].update(ending)
    asked = Asked((ROW["google.generate_content"],), streamed=True)
    return read_answer(asked, json.dumps(pieces, indent=1).encode(), "application/json")


def test_parts_of_gemini() -> None:
    """Texts of one kind follow each other up to where one is signed; all else stays apart."""
    call_part = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "t"}
    image = {"inlineData": {"mimeType": "image/png", "data": "QQ=="}}
    answer = gemini(
        [{"text": "hm", "thought": True}, {"text": "m", "thought": True}],
        [{"text": "He"}], [{"text": "llo"}, {"text": "", "thoughtSignature": "s"}],
        [{"text": "more"}, call_part, image, {"text": "end"}],
        finishReason="STOP", groundingMetadata={"x": 1},
    )  # fmt: skip
    [candidate] = answer.response["candidates"]
    assert candidate["content"] == {
        "role": "model",
        "parts": [
            *({"text": "hmm", "thought": True}, {"text": "Hello", "thoughtSignature": "s"}),
            *({"text": "more"}, call_part, image, {"text": "end"}),
        ],
    }
    assert (candidate["finishReason"], candidate["groundingMetadata"]) == ("STOP", {"x": 1})
    grounded = [{"candidates": [{"groundingMetadata": {key: [key]}}]} for key in "ab"]
    [candidate] = streamed("google.generate_content", *grounded).response["candidates"]
    assert candidate == {"groundingMetadata": {"a": ["a"], "b": ["b"]}}
    assert answer.response["usageMetadata"] == {"totalTokenCount": 3}
    assert (answer.complete, answer.streamed) == (True, True)

    cut = gemini([{"text": "He"}])
    assert (cut.complete, cut.response["candidates"][0]["content"]["parts"]) == (
        False,
        [{"text": "He"}],
    )
    blocked = streamed("google.generate_content", {"promptFeedback": {"blockReason": "SAFETY"}})
    assert blocked.complete
    error = {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}
    failed = streamed("google.generate_content", {"error": error})
    assert (failed.error, failed.response, failed.complete) == (error, {"error": error}, False)


def test_cohere() -> None:
    """Both versions' events, with citations, tool calls and thoughts, whole and broken off."""

    def event(kind: str, index: int | None = None, **said: Any) -> dict[str, Any]:
        placed = {} if index is None else {"index": index}
        return {"type": kind, **placed, "delta": {"message": said}}

    pieces = [
        {"id": "c", **event("message-start", role="assistant", content=[], tool_plan="")},
        event("content-start", 0, content={"type": "thinking", "thinking": ""}),
        event("content-delta", 0, content={"thinking": "hm"}),
        event("content-delta", 0, content={"thinking": "m"}),
        event("content-start", 1, content={"type": "text", "text": ""}),
        event("content-delta", 1, content={"text": "Hello"}),
        event("citation-start", 0, citations={"start": 0, "text": "He"}),
        event("citation-start", 1, citations={"start": 2, "text": "llo"}),
    ]
    content = [{"type": "thinking", "thinking": "hmm"}, {"type": "text", "text": "Hello"}]
    citations = [{"start": 0, "text": "He"}, {"start": 2, "text": "llo"}]
    said = {"role": "assistant", "content": content, "citations": citations}
    end = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {"tokens": {}}}}
    answer = streamed("cohere.chat", *pieces, end)
    assert answer.response == {"id": "c", "message": said, **end["delta"]}
    assert (answer.complete, streamed("cohere.chat", *pieces).complete) == (True, False)

    lines = [
        {"event_type": "stream-start", "is_finished": False, "generation_id": "g"},
        {"event_type": "text-generation", "is_finished": False, "text": "He"},
        {"event_type": "citation-generation", "is_finished": False, "citations": [{"start": 0}]},
        {"event_type": "citation-generation", "is_finished": False, "citations": [{"start": 1}]},
        {"event_type": "text-generation", "is_finished": False, "text": "llo"},
    ]
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    cut = read_answer(Asked((ROW["cohere.v1"],)), body, "application/stream+json")
    assert cut.response == {
        "generation_id": "g",
        "text": "Hello",
        "citations": [{"start": 0}, {"start": 1}],
    }
    assert not cut.complete


def test_ollama() -> None:
    """Lines of JSON, whatever they are said to be."""
    lines = [
        {"model": "m", "message": {"role": "assistant", "content": "", "thinking": "h"}},
        {"model": "m", "message": {"role": "assistant", "content": "He", "thinking": "m"}},
        {"model": "m", "message": {"content": "llo", "tool_calls": [{"function": {"name": "f"}}]}},
        {"model": "m", "message": {"content": ""}, "done": True, "eval_count": 3},
    ]  # fmt: skip
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    for kind in ("application/x-ndjson", "application/json", None):
        answer = read_answer(Asked((ROW["ollama.chat"],)), body, kind)
        calls = [{"function": {"name": "f"}}]
        said = {"role": "assistant", "content": "Hello", "thinking": "hm", "tool_calls": calls}
        assert answer.response == {"model": "m", "message": said, "done": True, "eval_count": 3}
        assert answer.complete
    failed = read_answer(Asked((ROW["ollama.chat"],)), body[:200] + b'\n{"error": "no"}', None)
    assert (failed.error, failed.complete) == ("no", False)


def test_what_else_is_streamed() -> None:
    """Conversations, interactions, images, sound and text generation."""
    for api, pieces, response in (
        ("mistral.conversations",
         [{"type": "conversation.response.started", "conversation_id": "c"},
          {"type": "message.output.delta", "output_index": 0, "id": "m", "role": "assistant",
           "content": "He"},
          {"type": "message.output.delta", "output_index": 0, "id": "m", "content": "llo"},
          {"type": "function.call.delta", "output_index": 1, "id": "f", "name": "g",
           "tool_call_id": "t", "arguments": "{"},
          {"type": "function.call.delta", "output_index": 1, "id": "f", "name": "g",
           "tool_call_id": "t", "arguments": "}"},
          {"type": "conversation.response.done", "usage": {"total_tokens": 5}}],
         {"object": "conversation.response", "conversation_id": "c", "usage": {"total_tokens": 5},
          "outputs": [
              {"object": "entry", "type": "message.output", "id": "m", "role": "assistant",
               "content": "Hello"},
              {"object": "entry", "type": "function.call", "id": "f", "name": "g",
               "tool_call_id": "t", "arguments": "{}"}]}),
        ("google.interactions",
         [{"event_type": "interaction.created", "interaction": {"id": "i", "status": "x"}},
          {"event_type": "step.start", "index": 0, "step": {"type": "thought"}},
          {"event_type": "step.delta", "index": 0,
           "delta": {"type": "thought_summary", "content": {"type": "text", "text": "hm"}}},
          {"event_type": "step.delta", "index": 0,
           "delta": {"type": "thought_signature", "signature": "s"}},
          {"event_type": "step.start", "index": 1, "step": {"type": "model_output"}},
          {"event_type": "step.delta", "index": 1, "delta": {"type": "text", "text": "He"}},
          {"event_type": "step.delta", "index": 1, "delta": {"type": "text", "text": "llo"}},
          {"event_type": "step.start", "index": 2,
           "step": {"type": "function_call", "id": "f", "name": "g", "arguments": {}}},
          {"event_type": "step.delta", "index": 2,
           "delta": {"type": "arguments_delta", "arguments": '{"a": 1}'}},
          {"event_type": "step.stop", "index": 2},
          {"event_type": "interaction.completed",
           "interaction": {"id": "i", "status": "completed", "steps": [], "usage": {"x": 1}}}],
         {"id": "i", "status": "completed", "usage": {"x": 1}, "steps": [
             {"type": "thought", "summary": [{"type": "text", "text": "hm"}], "signature": "s"},
             {"type": "model_output", "content": [{"type": "text", "text": "Hello"}]},
             {"type": "function_call", "id": "f", "name": "g", "arguments": {"a": 1}}]}),
        ("google.interactions",
         [{"event_type": "interaction.start", "interaction": {"id": "i"}},
          {"event_type": "content.start", "index": 0, "content": {"type": "text"}},
          {"event_type": "content.delta", "index": 0, "delta": {"type": "text", "text": "He"}},
          {"event_type": "content.delta", "index": 0, "delta": {"type": "text", "text": "llo"}},
          {"event_type": "interaction.complete", "interaction": {"id": "i", "usage": {"x": 1}}}],
         {"id": "i", "usage": {"x": 1}, "outputs": [{"type": "text", "text": "Hello"}]}),
        ("openai.images",
         [{"type": "image_generation.partial_image", "b64_json": "QQ", "partial_image_index": 0},
          {"type": "image_generation.completed", "b64_json": "QUE=", "created_at": 5,
           "usage": {"total_tokens": 9}}],
         {"created": 5, "data": [{"b64_json": "QUE="}], "usage": {"total_tokens": 9}}),
        ("openai.transcription",
         [{"type": "transcript.text.delta", "delta": "He"},
          {"type": "transcript.text.done", "text": "Hello", "usage": {"total_tokens": 9}}],
         {"text": "Hello", "usage": {"total_tokens": 9}}),
        ("openai.speech",
         [{"type": "speech.audio.delta", "audio": "QQ=="},
          {"type": "speech.audio.done", "usage": {"total_tokens": 9}}],
         {"usage": {"total_tokens": 9}}),
        ("huggingface.generation",
         [{"token": {"text": "He"}, "generated_text": None},
          {"token": {"text": "llo"}, "generated_text": "Hello", "details": {"x": 1}}],
         {"generated_text": "Hello", "details": {"x": 1}}),
        ("watsonx.generation",
         [{"model_id": "m", "results": [{"generated_text": "He", "generated_token_count": 1,
                                         "stop_reason": "not_finished"}]},
          {"model_id": "m", "results": [{"generated_text": "llo", "generated_token_count": 2,
                                         "stop_reason": "eos_token"}]}],
         {"model_id": "m", "results": [{"generated_text": "Hello", "generated_token_count": 2,
                                        "stop_reason": "eos_token"}]}),
    ):  # fmt: skip
        answer = streamed(api, *pieces)
        assert answer.response == response, api
        assert answer.complete, api
        assert not streamed(api, *pieces[:-1]).complete, api

"""Streams of APIs that nobody recorded, as their providers document them."""

import base64
import json
from typing import Any

import pytest
from wire_streams import AWS, ROW, SSE, streamed
from wire_traffic import EXCEPTION, aws_message

from llm_audit.given import received
from llm_audit.providers.messages import read_answers
from llm_audit.providers.response import read_response
from llm_audit.providers.shapes import SHAPE_BY_API
from llm_audit.providers.tool_calls import tools_asked_for
from llm_audit.wire.answers import Answer, read_answer
from llm_audit.wire.apis import ROWS, Asked

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
COUNTS = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
LLAMA = {"model": "m", "tokens_predicted": 2, "tokens_evaluated": 1, "stop_type": "eos"}
LMSTUDIO = {
    "model_instance_id": "m",
    "output": [
        {"type": "reasoning", "content": "hm"},
        {"type": "tool_call", "tool": "f", "arguments": {"a": 1}, "output": "5"},
        {"type": "message", "content": "Hello"},
    ],
}
STATS = {"input_tokens": 1, "total_output_tokens": 2}
META = {"id": "x", "prompt_tokens": 1, "completion_tokens": 2}
STOPPED = {"type": "stop", "matched": 5}
CITED = {"content": {"text": "a source"}}
CALL = {"name": "f", "arguments": {"a": 1}}


def dashscope(*said: Any) -> list[dict[str, Any]]:
    """Return pieces of DashScope's; only the last is finished."""
    messages = [one if isinstance(one, dict) else {"content": one} for one in said]
    return [
        {"output": {"choices": [
            {"message": {"role": "assistant", **message},
             "finish_reason": "stop" if place == len(said) else "null"}]},
         "usage": COUNTS, "request_id": "r"}
        for place, message in enumerate(messages, start=1)
    ]  # fmt: skip


def of_dashscope(**message: Any) -> dict[str, Any]:
    """Return what such pieces make."""
    choice = {"message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return {"output": {"choices": [choice]}, "usage": COUNTS, "request_id": "r"}


def tool_call(arguments: str, name: str = "") -> dict[str, Any]:
    """Return a piece of a message that is one of a tool call."""
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return {"content": "", "tool_calls": [{"index": 0, "type": "function", "function": function}]}


# API, pieces, whether [DONE] follows, what they make, and whether an end is marked.
STREAMS: list[tuple[str, list[Any], bool, dict[str, Any], bool]] = [
    ("alephalpha.complete",
     [{"type": "stream_chunk", "index": 0, "completion": "Hel", "log_probs": [{"Hel": -1}]},
      {"type": "stream_chunk", "index": 1, "completion": "Yo"},
      {"type": "stream_chunk", "index": 0, "completion": "lo", "log_probs": [{"lo": -1}]},
      {"type": "stream_summary", "index": 0, "finish_reason": "eos", "model_version": "v"},
      {"type": "stream_summary", "index": 1, "finish_reason": "eos", "model_version": "v"},
      {"type": "completion_summary", "num_tokens_prompt_total": 1, "num_tokens_generated": 2}],
     False,
     {"model_version": "v", "num_tokens_prompt_total": 1, "num_tokens_generated": 2,
      "completions": [
          {"completion": "Hello", "log_probs": [{"Hel": -1}, {"lo": -1}], "finish_reason": "eos"},
          {"completion": "Yo", "finish_reason": "eos"}]},
     True),
    ("cloudflare.run",
     [{"response": "Hel", "p": "abc"}, {"response": "lo", "p": "d"}, {"tool_calls": [CALL]},
      {"response": "", "usage": USAGE}],
     True,
     {"result": {"response": "Hello", "tool_calls": [CALL], "usage": USAGE}},
     True),
    ("cloudflare.run",  # as some models answer
     [{"id": "c", "choices": [{"index": 0, "delta": {"content": "Hel"}, "finish_reason": None}]},
      {"id": "c", "choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]}],
     True,
     {"id": "c",
      "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]},
     True),
    ("llama_cpp.completion",
     [{"content": "Hel", "tokens": [1], "stop": False}, {"content": "lo", "tokens": [2]},
      {"content": "", "tokens": [], "stop": True, **LLAMA}],
     False,
     {"content": "Hello", "tokens": [1, 2], "stop": True, **LLAMA},
     True),
    ("triton.generate",
     [{"model_name": "m", "model_version": "1", "text_output": "Hel"},
      {"model_name": "m", "model_version": "1", "text_output": "lo"}],
     False,
     {"model_name": "m", "model_version": "1", "text_output": "Hello"},
     False),
    ("sglang.generate",
     [{"text": "Hel", "meta_info": {**META, "finish_reason": None}},
      {"text": "Hello", "meta_info": {**META, "finish_reason": STOPPED}}],
     True,
     {"text": "Hello", "meta_info": {**META, "finish_reason": STOPPED}},
     True),
    ("sglang.generate",  # with incremental output
     [{"text": "Hel", "meta_info": META},
      {"text": "lo", "meta_info": {**META, "finish_reason": STOPPED}}],
     True,
     {"text": "Hello", "meta_info": {**META, "finish_reason": STOPPED}},
     True),
    ("vllm.generate", [{"text": ["Hel"]}, {"text": ["Hello"]}], False, {"text": ["Hello"]}, False),
    ("lmstudio.chat",
     [{"type": "chat.start", "model_instance_id": "m"},
      {"type": "prompt_processing.progress", "progress": 0.5},
      {"type": "message.start"}, {"type": "message.delta", "content": "Hello"},
      {"type": "chat.end", "result": {**LMSTUDIO, "stats": STATS, "response_id": "r"}}],
     False,
     {**LMSTUDIO, "stats": STATS, "response_id": "r"},
     True),
    ("dashscope.generation", dashscope("Hel", "lo", ""), False,
     of_dashscope(content="Hello"), True),
    ("dashscope.generation", dashscope("Hel", "Hello", "Hello"), False,
     of_dashscope(content="Hello"), True),
    ("dashscope.generation",
     dashscope({"content": "", "reasoning_content": "h"}, {"content": "", "reasoning_content": "m"},
               {"content": "Hel", "reasoning_content": ""}, {"content": "lo"}),
     False,
     of_dashscope(content="Hello", reasoning_content="hm"),
     True),
    ("dashscope.generation",
     dashscope([{"text": "Hel"}], [{"text": "lo"}], [{"image": "i"}], []),
     False,
     of_dashscope(content=[{"text": "Hello"}, {"image": "i"}]),
     True),
    ("dashscope.generation",
     dashscope(tool_call("", "f"), tool_call('{"a"'), tool_call(": 1}")),
     False,
     of_dashscope(**tool_call('{"a": 1}', "f")),
     True),
    ("dashscope.generation",  # in the words of its first version
     [{"output": {"text": "Hel", "finish_reason": "null"}, "request_id": "r"},
      {"output": {"text": "Hello", "finish_reason": "stop"}, "request_id": "r"}],
     False,
     {"output": {"text": "Hello", "finish_reason": "stop"}, "request_id": "r"},
     True),
    ("google.interactions",
     [{"event_type": "interaction.created", "interaction": {"id": "i", "status": "in_progress"}},
      {"event_type": "interaction.status_update", "interaction_id": "i", "status": "in_progress"},
      {"event_type": "step.start", "index": 0, "step": {"type": "model_output"}},
      {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "Hel"}},
      {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "lo"}},
      {"event_type": "step.delta", "index": 0,
       "delta": {"type": "text_annotation_delta", "annotations": [{"type": "url_citation"}]}},
      {"event_type": "step.start", "index": 1,
       "step": {"type": "function_call", "id": "t", "name": "f", "arguments": {}}},
      {"event_type": "step.delta", "index": 1,
       "delta": {"type": "arguments_delta", "arguments": '{"a": 1}'}},
      {"event_type": "novelty", "index": 1, "x": 1},
      {"event_type": "interaction.completed", "interaction": {
          "id": "i", "status": "requires_action", "usage": {"total_input_tokens": 1}}}],
     True,
     {"id": "i", "status": "requires_action", "usage": {"total_input_tokens": 1}, "steps": [
         {"type": "model_output", "content": [
             {"type": "text", "text": "Hello", "annotations": [{"type": "url_citation"}]}]},
         {"type": "function_call", "id": "t", "name": "f", "arguments": {"a": 1}}]},
     True),
]  # fmt: skip


def chunk(text: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """Return an event of an agent's that says something."""
    return "chunk", {"bytes": base64.b64encode(text.encode()).decode(), **more}


def aws(api: str, *events: tuple[str, Any], error: tuple[str, Any] | None = None) -> Answer:
    """Read an AWS event stream of these events."""
    body = b"".join(aws_message(*event) for event in events)
    if error:
        body += aws_message(*error, EXCEPTION)
    return read_answer(Asked((ROW[api],), streamed=True), body, AWS)


OUTPUT = {"nodeName": "out", "content": {"document": "Hello"}}
CONTROL = {"invocationId": "i", "invocationInputs": [{"functionInvocationInput": {}}]}
AGENTS: list[tuple[str, list[tuple[str, Any]], dict[str, Any], bool]] = [
    ("bedrock.agent",
     [("trace", {"sessionId": "s"}), chunk('{"a":', attribution={"citations": [CITED]}),
      chunk(" 1}", attribution={"citations": [CITED]}), ("returnControl", CONTROL),
      ("files", {"files": [{"name": "x"}]})],
     {"trace": [{"sessionId": "s"}], "completion": '{"a": 1}', "returnControl": CONTROL,
      "attribution": {"citations": [CITED, CITED]}, "files": [{"name": "x"}]},
     False),
    ("bedrock.agent", [chunk("42")], {"completion": "42"}, False),
    ("bedrock.rag",
     [("output", {"text": "Hel"}), ("output", {"text": "lo"}),
      ("citation", {"generatedResponsePart": {}, "retrievedReferences": [CITED]}),
      ("guardrail", {"action": "NONE"})],
     {"output": {"text": "Hello"}, "guardrailAction": "NONE",
      "citations": [{"generatedResponsePart": {}, "retrievedReferences": [CITED]}]},
     False),
    ("bedrock.flow",
     [("flowTraceEvent", {"trace": {}}), ("flowOutputEvent", OUTPUT),
      ("flowCompletionEvent", {"completionReason": "SUCCESS"})],
     {"flowTraceEvent": [{"trace": {}}], "flowOutputEvent": [OUTPUT],
      "flowCompletionEvent": {"completionReason": "SUCCESS"}},
     True),
]  # fmt: skip


@pytest.mark.parametrize(("api", "pieces", "done", "whole", "marked"), STREAMS)
def test_pieces_make_a_whole(
    api: str, pieces: list[Any], done: bool, whole: dict[str, Any], marked: bool
) -> None:
    """In one piece it would read the same; broken off it is not whole, unless nothing marks it."""
    answer = streamed(api, *pieces, done=done)
    assert answer.response == whole
    assert (answer.complete, answer.finished, answer.error) == (marked, True, None)
    cut = streamed(api, *pieces[:-1])
    assert not cut.complete
    assert cut.finished == (not marked)


@pytest.mark.parametrize(("api", "events", "whole", "marked"), AGENTS)
def test_events_of_aws_make_a_whole(
    api: str, events: list[tuple[str, Any]], whole: dict[str, Any], marked: bool
) -> None:
    """A text stays one, also if it is JSON; an exception among the events is the error."""
    answer = aws(api, *events)
    assert answer.response == whole
    assert (answer.complete, answer.finished) == (marked, True)
    failed = aws(api, *events[:-1], error=("throttlingException", {"message": "slow"}))
    assert failed.error == {"type": "throttlingException", "message": "slow"}
    assert (failed.complete, failed.finished) == (False, False)


def test_what_they_make_is_read() -> None:
    """As what its API says: its text, the tools it asks for, and its counts."""
    for api, _, _, whole, _ in STREAMS:
        fields = read_response(whole)
        expected = api if "choices" not in whole else "openai.chat"
        if SHAPE_BY_API[expected].known_by:
            assert fields["api"] == expected, whole
            said = [part.content for part in read_answers(fields)[0] if part.type == "text"]
            assert said == ["Hello"] or tools_asked_for(fields["response_message"])[0], whole
    for api, _, whole, _ in AGENTS:
        assert read_response(whole)["api"] == api
    told = {"api": "vllm.generate", "status": 200, "content_type": "application/json"}
    fields = received.fields_of(told, b'{"text": ["Hello", "Yo"]}', (None, None))
    assert [part.content for part in read_answers(fields)[0]] == ["HelloYo"]
    assert (fields["api"], fields["status"]) == ("vllm.generate", "SUCCESS")


def test_answers_that_are_lists() -> None:
    """What they say is the message; vectors are counted and left out, as of other APIs."""
    said = [{"generated_text": "Hello"}]
    vectors = [{"index": 0, "embedding": [[0.1, 0.2]]}]
    for api, body, message, extra in (
        ("huggingface.generation", said, said[0], {"value": said}),
        ("huggingface.embed", [[0.1, 0.2]], None, {"vectors": {"count": 1, "dimensions": 2}}),
        ("huggingface.embed", [0.1, 0.2], None, {"vectors": {"count": 1, "dimensions": 2}}),
        ("llama_cpp.embedding", vectors, None, {"vectors": {"count": 1, "dimensions": 2}}),
        ("huggingface.generation", [], None, {"value": []}),
        ("huggingface.generation", ["x", {}], None, {"value": ["x", {}]}),
    ):
        told = {"api": api, "status": 200}
        fields = received.fields_of(told, json.dumps(body).encode(), (None, None))
        assert fields.get("response_message") == message, body
        assert fields["response_extra"]["llm_audit"] == extra, body
        kept = received.fields_of(
            {**told, "vectors": True}, json.dumps(body).encode(), (None, None)
        )
        assert kept["response_extra"]["llm_audit"] == {"value": body}


def test_a_stream_that_was_broken_off_by_lm_studio() -> None:
    """It is put together of what came."""
    pieces = [
        {"type": "chat.start", "model_instance_id": "m"},
        *({"type": "reasoning.start"}, {"type": "reasoning.delta", "content": "h"}),
        *({"type": "reasoning.delta", "content": "m"}, {"type": "reasoning.end"}),
        {"type": "tool_call.start", "tool": "f"},
        {"type": "tool_call.success", "tool": "f", "arguments": {"a": 1}, "output": "5"},
        *({"type": "message.start"}, {"type": "message.delta", "content": "Hel"}),
        {"type": "message.delta", "content": "lo"},
    ]
    cut = streamed("lmstudio.chat", *pieces)
    assert (cut.response, cut.complete) == (LMSTUDIO, False)
    error = {"type": "model_load_error", "message": "no"}
    assert streamed("lmstudio.chat", *pieces, {"type": "error", "error": error}).error == error


def test_errors_in_streams() -> None:
    """Whatever each API calls it, it is told."""
    for api, piece, message in (
        ("alephalpha.complete", {"error": "no"}, "no"),
        ("cloudflare.run", {"errors": [{"code": 5, "message": "no"}]}, "no"),
        ("llama_cpp.completion", {"error": {"code": 500, "message": "no"}}, "no"),
        ("triton.generate", {"error": "no"}, "no"),
        ("sglang.generate", {"error": {"message": "no"}}, "no"),
        ("vllm.generate", {"error": "no"}, "no"),
        ("lmstudio.chat", {"type": "error", "error": {"message": "no"}}, "no"),
        ("dashscope.generation", {"code": "Throttling", "message": "no", "request_id": "r"}, "no"),
        ("google.interactions", {"event_type": "error", "error": {"message": "no"}}, "no"),
    ):
        body = f"data: {json.dumps(piece)}\n\n".encode()
        told = {"api": api, "status": 200, "content_type": SSE, "streamed": True}
        fields = received.fields_of(told, body, (None, None))
        assert (fields["status"], fields["error_message"]) == ("ERROR", message), api


def test_what_sagemaker_passes_on() -> None:
    """The pieces of its container's stream end anywhere, in the middle of a character, too."""
    whole = [
        {"token": {"text": "H\u00e9"}},
        {"token": {"text": "llo"}, "generated_text": "H\u00e9llo"},
    ]
    for form in ("data: {}\n\n", "{}\n"):
        body = "".join(form.format(json.dumps(one, ensure_ascii=False)) for one in whole).encode()
        for size in (1, 7, 1_000):
            parts = [body[at : at + size] for at in range(0, len(body), size)]
            stream = b"".join(aws_message("PayloadPart", part) for part in parts)
            asked = Asked((ROW["huggingface.generation"],), streamed=True)
            answer = read_answer(asked, stream, AWS)
            assert answer.response == {"generated_text": "H\u00e9llo"}, (form, size)
            assert answer.complete


ODD = (None, 5, "x", [], {}, [1], {"text": 5}, {"choices": 5}, {"output": {"choices": [5]}})
ODD += ({"delta": 5, "event_type": "step.delta"}, {"type": "stream_chunk"}, {"result": 5})
ODD += ({"error": {}}, {"output": [5]}, {"content": {}}, {"type": "message.delta", "content": 5})
ODD += ({"index": -1, "type": "stream_chunk", "completion": {}}, {"output": {"choices": {}}})


def test_odd_pieces_and_none() -> None:
    """Of no API do they make the reading raise; an empty stream says nothing."""
    for row in ROWS:
        if row.assemble:
            for pieces in (*((one,) for one in ODD), ODD, ODD[::-1]):
                answer = streamed(row.api, *pieces)
                received.fields_of(
                    {"api": row.api, "status": 200, "streamed": True}, b"", (None, None)
                )
                json.dumps(answer.response)
                aws(row.api, *((name, piece) for name in ("chunk", "output") for piece in pieces))
            empty = read_answer(Asked((row,), streamed=True), b"", SSE)
            assert (empty.response, empty.complete) == (None, False), row.api

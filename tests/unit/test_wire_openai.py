"""The pieces of OpenAI's streams that nobody recorded: what else is sent, and what goes wrong."""

from typing import Any

from wire_streams import ROW, SSE, streamed

from llm_audit.wire.answers import Answer, read_answer
from llm_audit.wire.apis import Asked


def chat(*deltas: dict[str, Any], **ending: Any) -> dict[str, Any]:
    """Return the message of a chat completion of these deltas."""
    pieces = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    answer = streamed("openai.chat", *pieces, {"choices": [{"index": 0, "delta": {}, **ending}]})
    message: dict[str, Any] = answer.response["choices"][0].get("message")
    return message


def test_deltas_of_a_chat() -> None:
    """Each kind of field grows as it should, and what is not known is kept."""
    reasoning = {"type": "reasoning.text", "index": 0}
    for deltas, message in (
        ([{"role": "assistant", "content": ""}, {"role": "assistant", "content": "Hi"}],
         {"role": "assistant", "content": "Hi"}),
        ([{"content": "ha"}, {"content": "ha"}, {"content": "ha"}], {"content": "hahaha"}),
        ([{"content": None}, {"refusal": "I "}, {"refusal": "can't"}],
         {"content": None, "refusal": "I can't"}),
        ([{"reasoning": "a", "x_vendor": "b"}, {"reasoning": "c", "x_vendor": "d"}],
         {"reasoning": "ac", "x_vendor": "bd"}),
        ([{"function_call": {"name": "f", "arguments": "{"}},
          {"function_call": {"arguments": "}"}}],
         {"function_call": {"name": "f", "arguments": "{}"}}),
        ([{"audio": {"id": "a", "data": "QQ", "transcript": "H"}},
          {"audio": {"data": "QQ", "transcript": "i", "expires_at": 9}}],
         {"audio": {"id": "a", "data": "QQQQ", "transcript": "Hi", "expires_at": 9}}),
        ([{"annotations": [{"type": "url_citation", "url": "a"}]},
          {"annotations": [{"type": "url_citation", "url": "b"}]}],
         {"annotations": [{"type": "url_citation", "url": "a"},
                          {"type": "url_citation", "url": "b"}]}),
        ([{"reasoning_details": [{**reasoning, "text": "a", "format": "f"}]},
          {"reasoning_details": [{**reasoning, "text": "b", "format": "f"}]},
          {"reasoning_details": [{"type": "reasoning.encrypted", "index": 0, "data": "x"}]}],
         {"reasoning_details": [
             {**reasoning, "text": "ab", "format": "f"},
             {"type": "reasoning.encrypted", "index": 0, "data": "x"}]}),
        # Mistral's: parts, then a text
        ([{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]},
          {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "b"}]}]},
          {"content": ""}, {"content": "c"}, {"content": "d"}],
         {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "ab"}]},
                      {"type": "text", "text": "cd"}]}),
        ([{"content": "a"}, {"content": [{"type": "image", "x": 1}]}],
         {"content": [{"type": "text", "text": "a"}, {"type": "image", "x": 1}]}),
    ):  # fmt: skip
        assert chat(*deltas) == message


def call(
    index: int | None, call_id: str | None, name: str | None, arguments: str
) -> dict[str, Any]:
    """Return a piece of a tool call."""
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    piece: dict[str, Any] = {"function": function}
    if index is not None:
        piece["index"] = index
    return piece | ({"id": call_id, "type": "function"} if call_id else {})


def test_tool_calls_of_a_chat() -> None:
    """By index, in order; who gives each the same index tells them apart by their ids."""
    for pieces, calls in (
        ([call(0, "a", "f", ""), call(1, "b", "g", ""), call(0, None, None, "{}"),
          call(1, None, None, "[]")], [("a", "f", "{}"), ("b", "g", "[]")]),
        ([call(1, "b", "g", "1"), call(0, "a", "f", "2")], [("a", "f", "2"), ("b", "g", "1")]),
        ([call(0, "a", "f", "1"), call(0, "b", "g", "2")], [("a", "f", "1"), ("b", "g", "2")]),
        ([call(0, "a", "f", "1"), call(0, "a", "f", "2")], [("a", "f", "12")]),
        ([call(0, "a", "f", "1"), call(0, "", "", "2")], [("a", "f", "12")]),
        ([call(None, "a", "f", "1"), call(None, "b", "g", "2")],
         [("a", "f", "1"), ("b", "g", "2")]),
    ):  # fmt: skip
        found = chat(*({"tool_calls": [piece]} for piece in pieces))["tool_calls"]
        assert [
            (one["id"], one["function"]["name"], one["function"]["arguments"]) for one in found
        ] == calls
        assert not any("index" in one for one in found)


def test_what_is_beside_the_deltas_of_a_chat() -> None:
    """Choices apart, log probabilities one after the other, the usage as it was last."""
    logprobs = [{"content": [{"token": token, "logprob": 0.5}]} for token in "ab"]
    answer = streamed(
        "openai.chat",
        {"id": "", "object": "", "choices": [], "prompt_filter_results": [{"x": 1}]},  # Azure
        {"id": "c", "object": "chat.completion.chunk", "model": "m", "usage": {"total_tokens": 1},
         "x_groq": {"id": "r"}, "obfuscation": "xyz",
         "choices": [{"index": 1, "delta": {"content": "b"}, "logprobs": None}]},
        {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": logprobs[0]}]},
        {"choices": [{"index": 0, "delta": {}, "logprobs": logprobs[1], "finish_reason": "stop"}]},
        {"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}], "usage": None},
        {"choices": [], "usage": {"total_tokens": 2}, "x_groq": {"usage": {"y": 1}}},
        done=True,
    )  # fmt: skip
    assert answer == Answer(
        {
            "id": "c", "object": "chat.completion", "model": "m", "usage": {"total_tokens": 2},
            "x_groq": {"id": "r", "usage": {"y": 1}}, "prompt_filter_results": [{"x": 1}],
            "choices": [
                {"index": 0, "message": {"content": "a"}, "finish_reason": "stop",
                 "logprobs": {"content": [logprobs[0]["content"][0], logprobs[1]["content"][0]]}},
                {"index": 1, "message": {"content": "b"}, "logprobs": None,
                 "finish_reason": "length"},
            ],
        },
        complete=True, finished=True, streamed=True,
    )  # fmt: skip


def test_how_a_chat_ends() -> None:
    """By its mark; without it by a finish reason, or by an error in the stream."""
    begun = {"choices": [{"index": 0, "delta": {"content": "a"}}]}
    ended = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    error = {"message": "overloaded", "code": 502}
    for pieces, facts in (
        ([begun], (False, False, None)),
        ([begun, ended], (False, True, None)),
        ([begun, ended, "[DONE]"], (True, True, None)),
        ([begun, {"error": error}], (False, False, error)),
        ([begun, {"error": error, "choices": []}, "[DONE]"], (True, True, error)),
        ([begun, '{"choices": [{"ind'], (False, False, None)),
    ):
        answer = streamed("openai.chat", *pieces)
        assert (answer.complete, answer.finished, answer.error) == facts
        assert answer.response.get("error") == facts[2]
    vllm = {"object": "error", "message": "too long", "code": 400}
    failed = streamed("openai.chat", begun, vllm)
    assert (failed.error, failed.response["error"]) == (vllm, vllm)
    named = read_answer(
        Asked((ROW["openai.chat"],)), b'event: error\ndata: {"message":"x"}\n\n', SSE
    )
    assert named.error == {"message": "x"}


def test_legacy_completions() -> None:
    """Their texts are joined, and so are all lists of their log probabilities."""
    answer = streamed(
        "openai.completions",
        {"object": "text_completion", "choices": [{"index": 0, "text": "a", "logprobs":
         {"tokens": ["a"], "token_logprobs": [-1.5], "text_offset": [0]}}]},
        {"choices": [{"index": 0, "text": "b", "finish_reason": "stop", "logprobs":
         {"tokens": ["b"], "token_logprobs": [-2.5], "text_offset": [1]}}]},
        done=True,
    )  # fmt: skip
    [choice] = answer.response["choices"]
    assert choice == {
        "index": 0, "text": "ab", "finish_reason": "stop",
        "logprobs": {"tokens": ["a", "b"], "token_logprobs": [-1.5, -2.5], "text_offset": [0, 1]},
    }  # fmt: skip


def test_responses_broken_off() -> None:
    """Without the last event, which has it whole, a response is put together from its pieces."""

    def event(kind: str, **said: Any) -> dict[str, Any]:
        return {"type": f"response.{kind}", **said}

    text = {"output_index": 1, "content_index": 0}
    tool = {"output_index": 2}
    pieces = [
        event("created", response={"id": "r", "status": "in_progress", "output": []}),
        event("output_item.added", output_index=0, item={"type": "reasoning", "summary": []}),
        event("reasoning_summary_part.added", output_index=0, summary_index=0,
              part={"type": "summary_text", "text": ""}),
        event("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="Thi"),
        event("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="nk"),
        event("output_item.added", output_index=1, item={"type": "message", "content": []}),
        event("content_part.added", **text, part={"type": "output_text", "text": ""}),
        event("output_text.delta", **text, delta="Hel"),
        event("output_text.delta", **text, delta="lo"),
        event("output_text.annotation.added", **text, annotation={"url": "u"}),
        event("output_item.added", **tool, item={"type": "function_call", "arguments": ""}),
        event("function_call_arguments.delta", **tool, delta='{"a"'),
        event("web_search_call.searching", output_index=3),
    ]  # fmt: skip
    answer = streamed("openai.responses", *pieces)
    assert (answer.complete, answer.finished) == (False, False)
    assert answer.response == {
        "id": "r", "status": "in_progress",
        "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Think"}]},
            {"type": "message", "content": [
                {"type": "output_text", "text": "Hello", "annotations": [{"url": "u"}]}]},
            {"type": "function_call", "arguments": '{"a"'},
        ],
    }  # fmt: skip

    whole = {"type": "function_call", "arguments": '{"a": 1}', "status": "completed"}
    done = [*pieces, event("output_item.done", **tool, item=whole)]
    assert streamed("openai.responses", *done).response["output"][2] == whole
    last = {"id": "r", "status": "incomplete", "output": [whole]}
    answer = streamed("openai.responses", *done, event("incomplete", response=last))
    assert (answer.response, answer.complete) == (last, True)
    error = {"type": "error", "code": "rate_limit", "message": "slow"}
    answer = streamed("openai.responses", *pieces, error)
    assert (answer.error, answer.response["error"], answer.complete) == (error, error, False)
    failed = {"id": "r", "status": "failed", "error": {"code": "x", "message": "y"}, "output": []}
    answer = streamed("openai.responses", pieces[0], event("failed", response=failed))
    assert (answer.response, answer.complete) == (failed, True)


def test_what_is_no_stream_of_its_api() -> None:
    """An error instead of one, pieces of a strange shape, sound and nothing are told apart."""
    asked = Asked((ROW["openai.chat"],))
    note = "response: audio/mpeg of 2 bytes, not stored"
    for body, kind, response, facts in (
        (b'{"error": {"message": "no"}}', SSE, {"error": {"message": "no"}}, (True, True, False)),
        (b"[1, 2]", "application/json", [1, 2], (True, True, False)),
        (b'{"choices": [{"mess', "application/json", '{"choices": [{"mess', (False,) * 3),
        (b"<html>502</html>", "text/html", "<html>502</html>", (False, True, False)),
        (b"1\n00:00 --> 00:01\nHi", "text/plain", "1\n00:00 --> 00:01\nHi", (False, True, False)),
        (b'"half', "application/json", '"half', (False,) * 3),
        (b"", "application/json", None, (False,) * 3),
        (b": ping\n\n", SSE, None, (False, False, True)),
        (b'data: ["odd"]\n\n', SSE, [["odd"]], (False, False, True)),
        (b"\x00\x01", "audio/mpeg", None, (False, True, False)),
        (b'{"error": "x"}', "application/octet-stream", {"error": "x"}, (True, True, False)),
    ):
        answer = read_answer(asked, body, kind)
        assert answer.response == response, body
        assert (answer.complete, answer.finished, answer.streamed) == facts, body
        assert answer.notes == ((note,) if kind == "audio/mpeg" else ())

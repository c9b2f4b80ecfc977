"""The pieces of Bedrock's streams that nobody recorded."""

import base64
import json
from typing import Any

from wire_streams import AWS, ROW
from wire_traffic import EXCEPTION, aws_message

from llm_audit.wire.answers import Answer, read_answer
from llm_audit.wire.apis import Asked


def converse(*events: tuple[str, dict[str, Any]], exception: str = "") -> Answer:
    """Read a stream of ConverseStream's."""
    body = b"".join(aws_message(name, {**said, "p": "abc"}) for name, said in events)
    if exception:
        body += aws_message(exception, {"message": "no"}, EXCEPTION)
    return read_answer(Asked((ROW["bedrock.converse"],), streamed=True), body, AWS)


def delta(index: int, **said: Any) -> tuple[str, dict[str, Any]]:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": said}


def test_blocks_of_converse() -> None:
    """Text, reasoning, tools and citations are as Converse has them; exceptions are told."""
    start = ("messageStart", {"role": "assistant"})
    tool = {"start": {"toolUse": {"toolUseId": "t", "name": "f"}}, "contentBlockIndex": 1}
    events = [
        start,
        delta(0, reasoningContent={"text": "a"}), delta(0, reasoningContent={"text": "b"}),
        delta(0, reasoningContent={"signature": "s"}),
        ("contentBlockStart", tool),
        delta(1, toolUse={"input": '{"a"'}), delta(1, toolUse={"input": ": 1}"}),
        delta(2, text="He"), delta(2, text="llo"), delta(2, citation={"title": "x"}),
        delta(3, reasoningContent={"redactedContent": "QQ=="}),
    ]  # fmt: skip
    ending = [
        ("messageStop", {"stopReason": "tool_use"}),
        ("metadata", {"usage": {"totalTokens": 5}, "metrics": {"latencyMs": 9}}),
    ]
    answer = converse(*events, *ending)
    content = [
        {"reasoningContent": {"reasoningText": {"text": "ab", "signature": "s"}}},
        {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}},
        {"citationsContent": {"content": [{"text": "Hello"}], "citations": [{"title": "x"}]}},
        {"reasoningContent": {"redactedContent": "QQ=="}},
    ]
    assert answer == Answer(
        {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": "tool_use",
            **ending[1][1],
        },
        complete=True,
        finished=True,
        streamed=True,
    )
    assert not converse(*events, ending[0]).complete
    cut = converse(*events[:6])
    assert cut.response["output"]["message"]["content"][1]["toolUse"]["input"] == '{"a"'
    failed = converse(start, exception="throttlingException")
    assert failed.error == {"type": "throttlingException", "message": "no"}
    assert failed.response["error"] == failed.error


def test_streams_of_invoke_model() -> None:
    """Each family's own; the counts of the invocation end them."""
    metrics = {"amazon-bedrock-invocationMetrics": {"outputTokenCount": 2}}
    for pieces, response in (
        ([{"generation": "He", "stop_reason": None, "prompt_token_count": 5},
          {"generation": "llo", "stop_reason": "stop", "generation_token_count": 2, **metrics}],
         {"generation": "Hello", "stop_reason": "stop", "prompt_token_count": 5,
          "generation_token_count": 2}),
        ([{"outputs": [{"text": "He", "stop_reason": None}]},
          {"outputs": [{"text": "llo", "stop_reason": "stop"}], **metrics}],
         {"outputs": [{"text": "Hello", "stop_reason": "stop"}]}),
        ([{"messageStart": {"role": "assistant"}},
          {"contentBlockDelta": {"delta": {"text": "Hello"}, "contentBlockIndex": 0}},
          {"messageStop": {"stopReason": "end_turn"}},
          {"metadata": {"usage": {"inputTokens": 1}}, **metrics}],
         {"output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
          "stopReason": "end_turn", "usage": {"inputTokens": 1}}),
        ([{"choices": [{"index": 0, "delta": {"content": "Hello"}}]},
          {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **metrics}],
         {"choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]}),
        ([{"outputText": "He", "index": 0, "inputTextTokenCount": 5, "completionReason": None},
          {"outputText": "llo", "index": 0, "totalOutputTextTokenCount": 2,
           "completionReason": "FINISH", **metrics}],
         {"inputTextTokenCount": 5, "results": [
             {"outputText": "Hello", "tokenCount": 2, "completionReason": "FINISH"}]}),
        ([{"type": "message_start", "message": {"id": "m", "content": []}},
          {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
          {"type": "message_stop", **metrics}],
         {"id": "m", "content": [{"type": "text", "text": "a"}]}),
        ([{"text": "He", "is_finished": False}, {"text": "llo", "is_finished": False},
          {"is_finished": True, "finish_reason": "COMPLETE", **metrics}],
         {"text": "Hello", "finish_reason": "COMPLETE"}),
    ):  # fmt: skip
        chunks = [
            {"bytes": base64.b64encode(json.dumps(piece).encode()).decode()} for piece in pieces
        ]
        body = b"".join(aws_message("chunk", chunk) for chunk in chunks)
        answer = read_answer(Asked((ROW["bedrock.invoke"],), streamed=True), body, AWS)
        assert answer.response == {**response, **metrics}
        assert answer.complete
        cut = read_answer(Asked((ROW["bedrock.invoke"],), streamed=True), body[:-9], AWS)
        assert not cut.complete
        broken = body[: -len(aws_message("chunk", chunks[-1]))]
        broken += aws_message("modelStreamErrorException", {"message": "no"}, EXCEPTION)
        failed = read_answer(Asked((ROW["bedrock.invoke"],), streamed=True), broken, AWS)
        assert failed.error == {"type": "modelStreamErrorException", "message": "no"}


def test_an_exception_in_anthropics_stream() -> None:
    """On Bedrock it is a message of its own kind, with or without an object."""
    begun = {"bytes": base64.b64encode(b'{"type": "message_start", "message": {}}').decode()}
    for payload in ({"message": "slow down"}, "slow down"):
        body = aws_message("chunk", begun) + aws_message("throttlingException", payload, EXCEPTION)
        answer = read_answer(Asked((ROW["anthropic.messages"],), streamed=True), body, AWS)
        assert answer.error == {"type": "throttlingException", "message": "slow down"}
        assert not answer.complete

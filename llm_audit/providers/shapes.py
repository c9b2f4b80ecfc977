"""The table of APIs: where each of them puts what is recorded of an answer.

All reading of answers and messages goes by this table, so an API is added by adding a row. Which
API a message comes from is not stored with it: messages are read by all rows together, `ANY`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from llm_audit.providers.fields import first_at

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How one API spells its answers.

    A path has a dot for each level down; a list on the way stands for its first item.

    Attributes:
        api: Its name.
        known_by: Paths in a body; where one of them leads to something, it is this API's.
        answers: Lists of a body that hold the answers; without one, the body is the answer.
        message: Paths from the answer to its message, or to the list that is its content; "" is
            the answer itself. Without one, its texts and tool calls are the message.
        finish_reason: Paths from the answer, else from the body.
        id: Paths in the body.
        model: Paths in the body.
        usage: Paths in the body; without one, the counts lie openly in body or answer.
        contents: Names in a message of what holds its blocks, or its text.
        texts: Names of a text in a message or block.
        thoughts: Names in a message of what the model thought before.
        calls: Names in a message of what holds nothing but tool calls.
        call_keys: Names in a block of the tool call that it is.
        call_types: Ends of the `type` of a block that is a tool call.
        result_keys: Names in a block of the tool's result that it is.
        result_types: Ends of the `type` of a block that is a tool's result.
        text_types: The `type` of a block that is text.
        thought_types: The `type` of a block that is what the model thought.
    """

    api: str = ""
    known_by: Names = ()
    answers: Names = ()
    message: Names = ()
    finish_reason: Names = ()
    id: Names = ()
    model: Names = ()
    usage: Names = ()
    contents: Names = ()
    texts: Names = ()
    thoughts: Names = ()
    calls: Names = ()
    call_keys: Names = ()
    call_types: Names = ()
    result_keys: Names = ()
    result_types: Names = ()
    text_types: Names = ()
    thought_types: Names = ()


SHAPES = (
    Shape(  # and all who speak it: Azure, DeepSeek, Groq, Mistral, OpenRouter, Snowflake, vLLM …
        api="openai.chat",
        known_by=("choices.message",),
        answers=("choices",),
        message=("message",),
        finish_reason=("finish_reason",),
        id=("id",),
        model=("model",),
        usage=("usage",),
        contents=("content",),
        texts=("refusal",),
        thoughts=("reasoning_content", "reasoning"),
        calls=("tool_calls", "function_call", "executed_tools"),
        call_keys=("function", "custom"),
        text_types=("text", "refusal"),
    ),
    Shape(
        api="openai.responses",
        known_by=("output.type",),
        message=("output",),
        finish_reason=("incomplete_details.reason", "status"),
        id=("id",),
        model=("model",),
        usage=("usage",),
        contents=("output",),
        call_types=("_call",),
        result_types=("_output",),
        text_types=("input_text", "output_text", "summary_text", "reasoning_text"),
        thought_types=("reasoning",),
    ),
    Shape(
        api="openai.completions",
        known_by=("choices.text",),
        answers=("choices",),
        message=("",),
        finish_reason=("finish_reason",),
        id=("id",),
        model=("model",),
        usage=("usage",),
        texts=("text",),
    ),
    Shape(
        api="google.generate_content",
        known_by=("candidates", "promptFeedback", "prompt_feedback"),
        answers=("candidates",),
        message=("content",),
        finish_reason=(
            *("finishReason", "finish_reason"),
            *("promptFeedback.blockReason", "prompt_feedback.block_reason"),
        ),
        id=("responseId", "response_id"),
        model=("modelVersion", "model_version"),
        usage=("usageMetadata", "usage_metadata"),
        contents=("parts",),
        texts=("text",),
        call_keys=(
            *("functionCall", "function_call", "toolCall", "tool_call"),
            *("executableCode", "executable_code"),
        ),
        result_keys=(
            *("functionResponse", "function_response", "toolResponse", "tool_response"),
            *("codeExecutionResult", "code_execution_result"),
        ),
    ),
    Shape(
        api="bedrock.converse",
        known_by=("output.message", "stopReason"),
        message=("output.message",),
        finish_reason=("stopReason",),
        id=("ResponseMetadata.RequestId",),
        usage=("usage",),
        contents=("content",),
        texts=("text",),
        call_keys=("toolUse",),
        result_keys=("toolResult",),
    ),
    Shape(
        api="bedrock.titan",
        known_by=("results.outputText",),
        answers=("results",),
        message=("",),
        finish_reason=("completionReason",),
        texts=("outputText",),
    ),
    Shape(
        api="bedrock.llama",
        known_by=("generation",),
        finish_reason=("stop_reason",),
        texts=("generation",),
    ),
    Shape(
        api="watsonx.generation",
        known_by=("results.generated_text",),
        answers=("results",),
        message=("",),
        finish_reason=("stop_reason",),
        model=("model_id",),
        texts=("generated_text",),
    ),
    Shape(
        api="alephalpha.complete",
        known_by=("completions.completion",),
        answers=("completions",),
        message=("",),
        finish_reason=("finish_reason",),
        model=("model_version",),
        texts=("completion",),
    ),
    Shape(
        api="ai21.complete",
        known_by=("completions.data",),
        answers=("completions",),
        message=("data",),
        finish_reason=("finishReason",),
        id=("id",),
        texts=("text",),
    ),
    Shape(
        api="ollama.chat",
        known_by=("done",),
        message=("message",),
        finish_reason=("done_reason",),
        model=("model",),
        texts=("response",),
    ),
    Shape(
        api="cohere.generate",
        known_by=("generations",),
        answers=("generations",),
        message=("",),
        finish_reason=("finish_reason",),
        id=("id",),
        usage=("meta",),
        texts=("text",),
    ),
    Shape(  # Chat, and what has nothing to say: Rerank, Embed
        api="cohere.v1",
        known_by=("generation_id", "meta.billed_units", "meta.tokens"),
        finish_reason=("finish_reason",),
        id=("response_id", "generation_id", "id"),
        usage=("meta",),
        contents=("message",),
        texts=("text",),
        calls=("tool_calls",),
    ),
    Shape(
        api="cohere.chat",
        known_by=("message.content", "message.tool_calls"),
        message=("message",),
        finish_reason=("finish_reason",),
        id=("id",),
        usage=("usage",),
        contents=("content",),
        calls=("tool_calls",),
        call_keys=("function",),
    ),
    Shape(  # neither this nor the next is an API, but messages are recorded in their shape
        api="langchain",
        known_by=("response_metadata",),
        message=("",),
        finish_reason=(
            *("response_metadata.finish_reason", "response_metadata.stop_reason"),
            *("response_metadata.stopReason", "response_metadata.done_reason"),
        ),
        id=("response_metadata.id", "id"),
        model=("response_metadata.model_name", "response_metadata.model"),
        usage=("usage_metadata",),
        contents=("content",),
        calls=("tool_calls", "invalid_tool_calls"),
        call_types=("_call",),
        result_types=("tool_result",),
        text_types=("text",),
        thought_types=("reasoning",),
    ),
    Shape(
        api="opentelemetry",
        contents=("parts",),
        call_types=("tool_call",),
        result_types=("tool_call_response",),
        text_types=("text",),
        thought_types=("reasoning",),
    ),
    Shape(  # Messages, and what Bedrock and Vertex make of them
        api="anthropic.messages",
        known_by=("stop_reason",),
        message=("content",),
        finish_reason=("stop_reason",),
        id=("id",),
        model=("model",),
        usage=("usage",),
        contents=("content",),
        texts=("completion",),
        call_types=("tool_use",),
        result_types=("tool_result",),
        text_types=("text",),
        thought_types=("thinking", "redacted_thinking"),
    ),
)


def _all_together() -> dict[str, Any]:
    """Return what all rows say in each column, each name once."""
    columns = (column.name for column in fields(Shape) if column.name != "api")
    said = {name: [word for shape in SHAPES for word in getattr(shape, name)] for name in columns}
    return {name: tuple(dict.fromkeys(words)) for name, words in said.items()}


# What is read as if any of them had sent it; what it calls "data" may be embeddings.
ANY = Shape(
    **_all_together()
    | {"known_by": (), "message": ("message", "output.message", "output", "content")}
)
_MARKS = [(path.partition(".")[0], (path,), shape) for shape in SHAPES for path in shape.known_by]


def shape_of(body: Mapping[str, Any]) -> Shape:
    """Return the row of the API that a response comes from; `ANY` if it is none of these.

    Args:
        body: The fields of the response.
    """
    for name, path, shape in _MARKS:
        if name in body and first_at(body, path) is not None:
            return shape
    return ANY

"""The table of APIs: where each of them puts what is recorded of an answer.

All reading of answers and messages goes by this table, so an API is added by adding a row. Which
API a message comes from is not stored with it: messages are read by all rows together, `ANY`.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from llm_audit.providers.fields import first_at
from llm_audit.providers.shape import Shape

SHAPES = (
    Shape(  # and all who speak it: Azure, DeepSeek, Groq, Mistral, OpenRouter, Snowflake, vLLM …
        api="openai.chat",
        known_by=("choices.message", "object=chat.completion", "object=chat.completion.chunk"),
        answers=("choices",),
        message=("message",),
        finish_reason=("choices.finish_reason",),
        id=("id",),
        model=("model",),
        error=("error", "choices.error"),
        usage=("usage", "x_groq.usage"),
        contents=("content",),
        texts=("refusal",),
        thoughts=("reasoning_content", "reasoning"),
        calls=("tool_calls", "function_call", "executed_tools"),
        call_keys=("function", "custom"),
        text_types=("text", "refusal"),
    ),
    Shape(
        api="openai.responses",
        known_by=("output.type", "object=response"),
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
        finish_reason=("choices.finish_reason",),
        id=("id",),
        model=("model",),
        usage=("usage",),
        texts=("text",),
    ),
    Shape(
        api="xai.chat",  # over gRPC
        known_by=("outputs.message",),
        answers=("outputs",),
        message=("message",),
        finish_reason=("outputs.finish_reason",),
        id=("id",),
        model=("model",),
        usage=("usage",),
        contents=("content",),
        thoughts=("reasoning_content",),
        calls=("tool_calls",),
        call_keys=("function",),
    ),
    Shape(
        api="google.generate_content",
        known_by=("candidates", "promptFeedback", "prompt_feedback"),
        answers=("candidates",),
        message=("content",),
        finish_reason=(
            *("candidates.finishReason", "candidates.finish_reason"),
            *("promptFeedback.blockReason", "prompt_feedback.block_reason"),
        ),
        id=("responseId", "response_id"),
        model=("modelVersion", "model_version"),
        error=("error", "promptFeedback.blockReason", "prompt_feedback.block_reason"),
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
        error=(
            *("internalServerException", "modelStreamErrorException", "modelTimeoutException"),
            *("serviceUnavailableException", "throttlingException", "validationException"),
            "__type",
        ),
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
        finish_reason=("results.completionReason",),
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
        finish_reason=("results.stop_reason",),
        model=("model_id",),
        texts=("generated_text",),
    ),
    Shape(
        api="alephalpha.complete",
        known_by=("completions.completion",),
        answers=("completions",),
        message=("",),
        finish_reason=("completions.finish_reason",),
        model=("model_version",),
        texts=("completion",),
    ),
    Shape(
        api="ai21.complete",
        known_by=("completions.data",),
        answers=("completions",),
        message=("data",),
        finish_reason=("completions.finishReason",),
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
        thoughts=("thinking",),
    ),
    Shape(
        api="langchain.result",  # LLMResult, ChatResult
        known_by=("type=LLMResult", "generations.message"),
        answers=("generations",),
        message=("message",),
        finish_reason=(
            *("generations.message.response_metadata.finish_reason",),
            *("generations.message.response_metadata.stop_reason",),
            *("generations.generation_info.finish_reason",),
        ),
        id=("generations.message.response_metadata.id", "generations.message.id"),
        model=("generations.message.response_metadata.model_name", "llm_output.model_name"),
        usage=("generations.message.usage_metadata", "llm_output.token_usage"),
        texts=("text",),
    ),
    Shape(
        api="cohere.generate",
        known_by=("generations",),
        answers=("generations",),
        message=("",),
        finish_reason=("generations.finish_reason",),
        id=("id",),
        usage=("meta",),
        texts=("text",),
    ),
    Shape(  # all that have nothing to say
        api="openai.embeddings",  # Azure, Mistral, Voyage, vLLM …
        known_by=("data.embedding",),
        id=("id",),
        model=("model",),
        usage=("usage",),
        vectors=("data.embedding",),
    ),
    Shape(
        api="google.embed_content",  # and Vertex' predict
        known_by=("embeddings.values", "embedding.values", "predictions.embeddings.values"),
        usage=("usageMetadata", "usage_metadata"),
        vectors=("embeddings.values", "embedding.values", "predictions.embeddings.values"),
    ),
    Shape(
        api="cohere.embed",
        known_by=("response_type=embeddings_floats", "response_type=embeddings_by_type"),
        id=("id",),
        usage=("meta",),
        vectors=("embeddings",),
    ),
    Shape(
        api="embeddings",  # Bedrock's Titan and Nova, Ollama, Hugging Face …
        known_by=("embedding", "embeddings"),
        model=("model",),
        vectors=("embeddings.embedding", "embeddings", "embedding", "embeddingsByType"),
    ),
    Shape(
        api="openai.moderation",
        known_by=("results.flagged",),
        id=("id",),
        model=("model",),
    ),
    Shape(
        api="openai.images",
        known_by=("data.b64_json", "data.url"),
        usage=("usage",),
    ),
    Shape(  # Jina, vLLM …
        api="cohere.rerank",
        known_by=("results.relevance_score",),
        id=("id",),
        usage=("meta",),
    ),
    Shape(
        api="voyage.rerank",
        known_by=("data.relevance_score",),
        model=("model",),
        usage=("usage",),
    ),
    Shape(  # of an assistant: what it says is in messages of their own
        api="openai.runs",
        known_by=("object=thread.run",),
        finish_reason=("status",),
        id=("id",),
        model=("model",),
        error=("last_error",),
        usage=("usage",),
    ),
    Shape(
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
        api="pydantic_ai",
        known_by=("kind=response",),
        message=("parts",),
        finish_reason=("finish_reason",),
        id=("provider_response_id",),
        model=("model_name",),
        usage=("usage",),
        contents=("parts",),
        call_types=("tool-call",),
        result_types=("tool-return",),
        text_types=("text",),
        thought_types=("thinking",),
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


_TOGETHER = _all_together()
# What is read as if any of them had sent it; what it calls "data" may be embeddings.
ANY = Shape(
    **_TOGETHER
    | {"known_by": (), "vectors": (), "message": ("message", "output.message", "output", "content")}
    | {"error": (*_TOGETHER["error"], "errors", "error_code", "type=error", "object=error")}
)
_MARKS = [
    (path.partition(".")[0], (path,), text or None, shape)
    for shape in SHAPES
    for path, _, text in (mark.partition("=") for mark in shape.known_by)
]
SHAPE_BY_API = {shape.api: shape for shape in SHAPES}


def shape_of(body: Mapping[str, Any]) -> Shape:
    """Return the row of the API that a response comes from; `ANY` if it is none of these.

    Args:
        body: The fields of the response.
    """
    for name, path, text, shape in _MARKS:
        if name in body:
            found = first_at(body, path)
            if found is not None and text in (None, found):
                return shape
    return ANY

"""OpenAI's APIs, and all who speak them under whatever prefix."""

from llm_audit.call import LLMCallTypeEnum
from llm_audit.wire.api import Api

ROWS = (
    Api(
        api="openai.chat",
        paths=(
            "/chat/completions",
            *("/deployments/{model}/chat/completions", "/engines/{model}/chat/completions"),
            "/agents/completions",  # Mistral
            *("/text/chat", "/serving-endpoints/{model}/invocations"),  # watsonx, Databricks
            "/v1/chat",  # Writer
        ),
        stream_paths=("/text/chat_stream",),
        needs=("messages",),
        messages=("messages",),
        tools=("tools", "functions"),
        tool_choice=("tool_choice", "function_call"),
        temperature=("temperature",),
        max_tokens=("max_tokens", "max_completion_tokens"),
    ),
    Api(
        api="openai.responses",
        paths=("/responses", "/responses/compact"),
        results=("/responses/{id}",),
        needs=("model input", "model prompt", "model previous_response_id", "prompt variables"),
        input=("input",),
        system_prompt=("instructions",),
        tools=("tools",),
        tool_choice=("tool_choice",),
        temperature=("temperature",),
        max_tokens=("max_output_tokens",),
    ),
    Api(
        api="openai.completions",
        paths=(
            "/completions",
            *("/deployments/{model}/completions", "/engines/{model}/completions"),
            "/serving-endpoints/{model}/invocations",
        ),
        call_type=LLMCallTypeEnum.COMPLETION,
        needs=("prompt",),
        input=("prompt",),
        temperature=("temperature",),
        max_tokens=("max_tokens",),
    ),
    Api(
        api="openai.embeddings",
        paths=("/embeddings", "/deployments/{model}/embeddings", "/engines/{model}/embeddings"),
        call_type=LLMCallTypeEnum.EMBEDDING,
        needs=("input",),
        input=("input",),
    ),
)

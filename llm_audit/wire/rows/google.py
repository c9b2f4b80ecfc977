"""Google's APIs: Gemini's and those of Vertex."""

from llm_audit.call import LLMCallTypeEnum
from llm_audit.wire.api import Api

ROWS = (
    Api(
        api="google.generate_content",
        paths=("/{model}:generateContent",),
        stream_paths=("/{model}:streamGenerateContent",),
        needs=("contents",),
        messages=("contents",),
        system_prompt=("systemInstruction", "system_instruction"),
        tools=("tools",),
        tool_choice=("toolConfig", "tool_config"),
        temperature=("generationConfig.temperature", "generation_config.temperature"),
        max_tokens=("generationConfig.maxOutputTokens", "generation_config.max_output_tokens"),
    ),
    Api(
        api="google.embed_content",
        paths=("/{model}:embedContent", "/{model}:batchEmbedContents"),
        call_type=LLMCallTypeEnum.EMBEDDING,
        needs=("content", "requests"),
        input=("content", "requests"),
    ),
)

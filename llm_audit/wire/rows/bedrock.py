"""The APIs of AWS Bedrock's runtime."""

from llm_audit.wire.api import Api

ROWS = (
    Api(
        api="bedrock.converse",
        paths=("/model/{model}/converse",),
        stream_paths=("/model/{model}/converse-stream",),
        needs=("messages",),
        messages=("messages",),
        system_prompt=("system",),
        tools=("toolConfig.tools",),
        tool_choice=("toolConfig.toolChoice",),
        temperature=("inferenceConfig.temperature",),
        max_tokens=("inferenceConfig.maxTokens",),
    ),
)

"""Anthropic's APIs."""

from llm_audit.wire.api import Api

ROWS = (
    Api(
        api="anthropic.messages",
        paths=("/messages", "/models/{model}:rawPredict"),
        stream_paths=("/models/{model}:streamRawPredict",),
        needs=("messages max_tokens",),
        messages=("messages",),
        system_prompt=("system",),
        tools=("tools",),
        tool_choice=("tool_choice",),
        temperature=("temperature",),
        max_tokens=("max_tokens",),
    ),
)

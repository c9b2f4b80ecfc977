"""Anthropic's APIs, at home, on Bedrock, on Vertex and at whoever else speaks them."""

from dataclasses import replace

from llm_audit.call import LLMCallTypeEnum
from llm_audit.wire.api import Api
from llm_audit.wire.assembly import anthropic

_HOSTS = ("anthropic.com",)

_MESSAGES = Api(
    api="anthropic.messages",
    paths=("/messages",),
    needs=("messages max_tokens",),
    hosts=_HOSTS,
    messages=("messages",),
    system_prompt=("system",),
    tools=("tools",),
    tool_choice=("tool_choice",),
    temperature=("temperature",),
    max_tokens=("max_tokens",),
    assemble=anthropic.assemble,
)

ROWS = (
    _MESSAGES,
    replace(
        _MESSAGES,
        paths=("/model/{model:path}/invoke", "/{model}:rawPredict"),
        stream_paths=(
            "/model/{model:path}/invoke-with-response-stream",
            "/{model}:streamRawPredict",
        ),
        needs=("anthropic_version messages",),
        hosts=(),
    ),
    Api(
        api="anthropic.complete",
        paths=("/complete",),
        call_type=LLMCallTypeEnum.COMPLETION,
        needs=("prompt max_tokens_to_sample",),
        hosts=_HOSTS,
        input=("prompt",),
        temperature=("temperature",),
        max_tokens=("max_tokens_to_sample",),
        assemble=anthropic.assemble,
    ),
    Api(
        api="anthropic.batch",
        paths=("/messages/batches",),
        results=("/messages/batches/{result}",),
        call_type=LLMCallTypeEnum.OTHER,
        needs=("requests params",),
        hosts=_HOSTS,
        input=("requests",),
    ),
)

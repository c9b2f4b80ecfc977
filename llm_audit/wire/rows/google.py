"""Google's APIs: Gemini's and those of Vertex."""

from llm_audit.call import LLMCallTypeEnum
from llm_audit.wire.api import Api
from llm_audit.wire.assembly import google, steps

_CONFIG = ("generationConfig", "generation_config")

ROWS = (
    Api(
        api="google.generate_content",
        paths=("/{model}:generateContent",),
        stream_paths=("/{model}:streamGenerateContent",),
        model=(),
        messages=("contents",),
        system_prompt=("systemInstruction", "system_instruction"),
        tools=("tools",),
        tool_choice=("toolConfig", "tool_config"),
        temperature=tuple(f"{config}.temperature" for config in _CONFIG),
        max_tokens=("generationConfig.maxOutputTokens", "generation_config.max_output_tokens"),
        assemble=google.assemble,
    ),
    Api(
        api="google.embed_content",
        paths=(
            *("/{model}:embedContent", "/{model}:batchEmbedContents"),
            "/publishers/google/models/{model}:predict",
        ),
        call_type=LLMCallTypeEnum.EMBEDDING,
        needs=("content", "requests"),
        model=(),
        input=("content", "requests", "instances"),
    ),
    Api(  # images and videos
        api="google.predict",
        paths=(
            *("/models/{model}:predict", "/models/{model}:predictLongRunning"),
            *("/publishers/google/models/{model}:predict", "/endpoints/{model}:predict"),
        ),
        call_type=LLMCallTypeEnum.OTHER,
        needs=("instances prompt", "instances messages"),  # TensorFlow's servers have such paths
        hosts=("generativelanguage.googleapis.com",),
        model=(),
        input=("instances",),
    ),
    Api(
        api="google.interactions",
        paths=("/interactions",),
        results=("/interactions/{result}",),
        needs=("input model", "input agent"),
        hosts=("googleapis.com",),
        model=("model", "agent"),
        input=("input",),
        system_prompt=("system_instruction",),
        tools=("tools",),
        tool_choice=("generation_config.tool_choice",),
        temperature=("generation_config.temperature",),
        max_tokens=("generation_config.max_output_tokens",),
        assemble=steps.assemble_interaction,
    ),
    Api(
        api="google.batch",
        paths=("/{model}:batchGenerateContent", "/{model}:asyncBatchEmbedContent"),
        call_type=LLMCallTypeEnum.OTHER,
        needs=("batch",),
        model=(),
        input=("batch",),
    ),
)

"""The APIs of AWS Bedrock's runtime; what its models take by InvokeModel is each family's own."""

from llm_audit.wire.api import Api
from llm_audit.wire.assembly import bedrock

ROWS = (
    Api(
        api="bedrock.converse",
        paths=("/model/{model:path}/converse",),
        stream_paths=("/model/{model:path}/converse-stream",),
        model=(),
        messages=("messages",),
        system_prompt=("system",),
        tools=("toolConfig.tools",),
        tool_choice=("toolConfig.toolChoice",),
        temperature=("inferenceConfig.temperature",),
        max_tokens=("inferenceConfig.maxTokens",),
        assemble=bedrock.assemble_converse,
    ),
    Api(
        api="bedrock.invoke",
        paths=("/model/{model:path}/invoke",),
        stream_paths=("/model/{model:path}/invoke-with-response-stream",),
        model=(),
        messages=("messages",),
        input=("prompt", "inputText", "inputs", "texts", "message", "singleEmbeddingParams"),
        system_prompt=("system",),
        tools=("tools", "toolConfig.tools"),
        tool_choice=("tool_choice", "toolConfig.toolChoice"),
        temperature=(
            *("temperature", "textGenerationConfig.temperature"),
            *("inferenceConfig.temperature", "parameters.temperature"),
        ),
        max_tokens=(
            *("max_tokens", "textGenerationConfig.maxTokenCount", "max_gen_len"),
            *("maxTokens", "inferenceConfig.maxTokens", "inferenceConfig.max_new_tokens"),
            *("max_tokens_to_sample", "max_completion_tokens", "parameters.max_new_tokens"),
        ),
        assemble=bedrock.assemble_invoke,
    ),
)

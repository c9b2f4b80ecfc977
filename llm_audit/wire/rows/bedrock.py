"""The APIs of AWS Bedrock's runtime; what its models take by InvokeModel is each family's own."""

from dataclasses import replace

from llm_audit.call import LLMCallTypeEnum
from llm_audit.wire.api import Api
from llm_audit.wire.assembly import agents, bedrock

_HOSTS = ("bedrock",)
_RAG = "retrieveAndGenerateConfiguration"

_AGENT = Api(
    api="bedrock.agent",
    stream_paths=("/agents/{id}/agentAliases/{id}/sessions/{id}/text",),
    call_type=LLMCallTypeEnum.AGENT,
    model=("foundationModel",),
    input=("inputText",),
    texts_in_base64=True,
    assemble=agents.assemble_agent,
)

ROWS = (
    Api(
        api="bedrock.converse",
        paths=("/model/{model:path}/converse",),
        stream_paths=("/model/{model:path}/converse-stream",),
        needs=("messages", "promptVariables"),
        hosts=_HOSTS,
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
        needs=(
            *("messages", "prompt", "inputText", "inputs parameters", "texts", "message"),
            *("singleEmbeddingParams", "inputImage", "text_prompts", "taskType"),
        ),
        hosts=_HOSTS,
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
    Api(  # Nova Reel and others that take long
        api="bedrock.async_invoke",
        paths=("/async-invoke",),
        call_type=LLMCallTypeEnum.OTHER,
        needs=("modelId modelInput",),
        model=("modelId",),
        input=("modelInput",),
    ),
    _AGENT,
    replace(  # an agent that is described in the request, asked in a session of that id
        _AGENT,
        stream_paths=("/agents/{id}",),
        needs=("foundationModel instruction",),
    ),
    Api(
        api="bedrock.flow",
        stream_paths=("/flows/{id}/aliases/{id}",),
        call_type=LLMCallTypeEnum.AGENT,
        needs=("inputs nodeName",),
        model=(),
        input=("inputs",),
        assemble=agents.assemble_flow,
    ),
    Api(
        api="bedrock.rag",
        paths=("/retrieveAndGenerate",),
        stream_paths=("/retrieveAndGenerateStream",),
        call_type=LLMCallTypeEnum.RAG_SYNTHESIS,
        needs=("input",),
        model=(
            f"{_RAG}.knowledgeBaseConfiguration.modelArn",
            f"{_RAG}.externalSourcesConfiguration.modelArn",
        ),
        input=("input",),
        assemble=agents.assemble_rag,
    ),
    Api(
        api="bedrock.retrieve",
        paths=("/knowledgebases/{id}/retrieve",),
        call_type=LLMCallTypeEnum.RAG_QUERY,
        needs=("retrievalQuery",),
        model=(),
        input=("retrievalQuery",),
    ),
    Api(
        api="bedrock.rerank",
        paths=("/rerank",),
        call_type=LLMCallTypeEnum.OTHER,
        needs=("queries sources rerankingConfiguration",),
        model=("rerankingConfiguration.bedrockRerankingConfiguration.modelConfiguration.modelArn",),
        input=("queries",),
    ),
)

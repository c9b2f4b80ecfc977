"""OpenAI's APIs, and all who speak them under whatever prefix."""

from dataclasses import replace

from llm_audit.call import LLMCallTypeEnum
from llm_audit.wire.api import Api
from llm_audit.wire.assembly import openai_chat, openai_others, responses

_HOSTS = ("openai.com", "openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com")

_CHAT = Api(
    api="openai.chat",
    paths=(
        "/chat/completions",
        *("/deployments/{model}/chat/completions", "/engines/{model}/chat/completions"),
        "/deployments/{model}/extensions/chat/completions",  # Azure, on data of one's own
        "/agents/completions",  # Mistral
        *("/serving-endpoints/{model}/invocations", "/endpoints/{model}/invocations"),
        "/cortex/inference:complete",  # Snowflake
        "/text/chatcompletion_v2",  # Minimax
        "/deployments/{id}/text/chat",  # watsonx
        "/{model}:rawPredict",  # Mistral on Vertex
    ),
    stream_paths=(
        *("/endpoints/{model}/invocations-response-stream", "/{model}:streamRawPredict"),
        "/deployments/{id}/text/chat_stream",
    ),
    needs=("messages",),
    hosts=_HOSTS,
    model=("model", "model_id"),
    messages=("messages",),
    tools=("tools", "functions"),
    tool_choice=("tool_choice", "function_call"),
    temperature=("temperature",),
    max_tokens=("max_tokens", "max_completion_tokens"),
    assemble=openai_chat.assemble,
)
_RESPONSES = Api(
    api="openai.responses",
    paths=("/responses", "/responses/compact"),
    results=("/responses/{result}",),
    needs=("model input", "model prompt", "model previous_response_id", "prompt variables"),
    hosts=_HOSTS,
    input=("input",),
    system_prompt=("instructions",),
    tools=("tools",),
    tool_choice=("tool_choice",),
    temperature=("temperature",),
    max_tokens=("max_output_tokens",),
    assemble=responses.assemble,
)

ROWS = (
    _CHAT,
    replace(  # Writer and watsonx
        _CHAT,
        paths=("/v1/chat", "/text/chat"),
        stream_paths=("/text/chat_stream",),
        needs=("model messages", "model_id messages"),
        hosts=("writer.com",),
    ),
    _RESPONSES,
    replace(  # an agent on Databricks
        _RESPONSES,
        paths=("/serving-endpoints/{model}/invocations",),
        results=(),
        needs=("input role",),
        hosts=(),
    ),
    Api(
        api="openai.completions",
        paths=(
            "/completions",
            *("/deployments/{model}/completions", "/engines/{model}/completions"),
            *("/serving-endpoints/{model}/invocations", "/endpoints/{model}/invocations"),
            "/fim/completions",  # Mistral, which answers in chat's shape
        ),
        call_type=LLMCallTypeEnum.COMPLETION,
        needs=("prompt",),
        hosts=_HOSTS,
        input=("prompt",),
        temperature=("temperature",),
        max_tokens=("max_tokens",),
        assemble=openai_chat.assemble,
    ),
    Api(
        api="openai.embeddings",
        paths=(
            *("/embeddings", "/deployments/{model}/embeddings", "/engines/{model}/embeddings"),
            "/serving-endpoints/{model}/invocations",
            *("/multimodalembeddings", "/contextualizedembeddings"),  # Voyage
            "/text/embeddings",  # watsonx
            "/cortex/inference:embed",  # Snowflake
        ),
        call_type=LLMCallTypeEnum.EMBEDDING,
        needs=("input", "model inputs", "model_id inputs", "model text"),
        hosts=_HOSTS,
        model=("model", "model_id"),
        input=("input", "inputs", "text"),
    ),
    Api(
        api="openai.moderation",
        paths=("/moderations", "/chat/moderations"),
        call_type=LLMCallTypeEnum.MODERATION,
        needs=("input",),
        hosts=_HOSTS,
        input=("input",),
    ),
    Api(
        api="mistral.classification",
        paths=("/classifications", "/chat/classifications", "/classify"),  # Cohere, Jina, vLLM
        call_type=LLMCallTypeEnum.CLASSIFICATION,
        needs=("model input", "model inputs"),
        input=("input", "inputs"),
    ),
    Api(
        api="openai.images",
        paths=(
            *("/images/generations", "/images/edits", "/images/variations"),
            *("/deployments/{model}/images/generations", "/deployments/{model}/images/edits"),
        ),
        call_type=LLMCallTypeEnum.OTHER,
        needs=("prompt", "image"),
        hosts=_HOSTS,
        is_form=True,
        input=("prompt",),
        assemble=openai_others.assemble_images,
    ),
    Api(
        api="openai.speech",
        paths=("/audio/speech", "/deployments/{model}/audio/speech"),
        call_type=LLMCallTypeEnum.OTHER,
        needs=("input",),
        hosts=_HOSTS,
        input=("input",),
        assemble=openai_others.assemble_audio,
    ),
    Api(
        api="openai.transcription",
        paths=(
            *("/audio/transcriptions", "/audio/translations"),
            *(
                "/deployments/{model}/audio/transcriptions",
                "/deployments/{model}/audio/translations",
            ),
        ),
        call_type=LLMCallTypeEnum.OTHER,
        needs=("file", "file_url", "file_id", "url"),
        hosts=_HOSTS,
        is_form=True,
        input=("prompt",),
        temperature=("temperature",),
        assemble=openai_others.assemble_audio,
    ),
    Api(
        api="openai.videos",
        paths=("/videos",),
        results=("/videos/{result}",),
        call_type=LLMCallTypeEnum.OTHER,
        needs=("model prompt",),
        hosts=_HOSTS,
        input=("prompt",),
    ),
    Api(
        api="openai.decisions",
        paths=("/decisions",),
        call_type=LLMCallTypeEnum.CLASSIFICATION,
        needs=("model input questions",),
        hosts=_HOSTS,
        input=("input",),
    ),
    Api(
        api="openai.runs",
        paths=("/threads/{id}/runs", "/threads/runs", "/runs/{id}/submit_tool_outputs"),
        results=("/runs/{result}",),
        call_type=LLMCallTypeEnum.AGENT,
        needs=("assistant_id", "tool_outputs"),
        hosts=_HOSTS,
        messages=("additional_messages", "thread.messages"),
        input=("tool_outputs",),
        system_prompt=("instructions",),
        tools=("tools",),
        tool_choice=("tool_choice",),
        temperature=("temperature",),
        max_tokens=("max_completion_tokens",),
        assemble=openai_others.assemble_run,
    ),
    Api(
        api="openai.batch",
        paths=("/batches",),
        results=("/batches/{result}",),
        call_type=LLMCallTypeEnum.OTHER,
        needs=("input_file_id endpoint",),
        hosts=_HOSTS,
        input=("input_file_id",),
    ),
)

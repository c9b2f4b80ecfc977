"""The APIs of servers of one's own, beside those of others that they speak, too."""

from dataclasses import replace

from llm_audit.call import LLMCallTypeEnum
from llm_audit.wire.api import Api
from llm_audit.wire.assembly import ollama, servers, texts

_GENERATION = Api(  # Hugging Face's, at home, in its container and in SageMaker's
    api="huggingface.generation",
    paths=("/generate", "/models/{model:hub}", "/endpoints/{model}/invocations"),
    stream_paths=("/endpoints/{model}/invocations-response-stream",),
    call_type=LLMCallTypeEnum.COMPLETION,
    needs=("inputs parameters",),
    hosts=("huggingface.co",),
    input=("inputs",),
    temperature=("parameters.temperature",),
    max_tokens=("parameters.max_new_tokens",),
    assemble=texts.assemble_generation,
)

ROWS = (
    Api(
        api="ollama.chat",
        paths=("/api/chat",),
        needs=("model messages",),
        messages=("messages",),
        tools=("tools",),
        temperature=("options.temperature",),
        max_tokens=("options.num_predict",),
        assemble=ollama.assemble,
    ),
    Api(
        api="ollama.generate",
        paths=("/api/generate",),
        call_type=LLMCallTypeEnum.COMPLETION,
        needs=("model prompt",),
        input=("prompt",),
        system_prompt=("system",),
        temperature=("options.temperature",),
        max_tokens=("options.num_predict",),
        assemble=ollama.assemble,
    ),
    Api(
        api="ollama.embed",
        paths=("/api/embed", "/api/embeddings"),
        call_type=LLMCallTypeEnum.EMBEDDING,
        needs=("model input", "model prompt"),
        input=("input", "prompt"),
    ),
    Api(
        api="lmstudio.chat",
        paths=("/api/v1/chat",),
        needs=("model input",),
        input=("input",),
        system_prompt=("system_prompt",),
        tools=("integrations",),
        temperature=("temperature",),
        max_tokens=("max_output_tokens",),
        assemble=servers.assemble_lmstudio,
    ),
    Api(
        api="llama_cpp.completion",
        paths=("/completion", "/infill"),
        call_type=LLMCallTypeEnum.COMPLETION,
        needs=("prompt", "input_prefix input_suffix"),
        input=("prompt", "input_prefix"),
        temperature=("temperature",),
        max_tokens=("n_predict",),
        assemble=servers.assemble_llama_cpp,
    ),
    Api(
        api="llama_cpp.embedding",
        paths=("/embedding",),
        call_type=LLMCallTypeEnum.EMBEDDING,
        needs=("content",),
        input=("content",),
    ),
    Api(
        api="triton.generate",
        paths=("/models/{model}/generate", "/models/{model}/versions/{id}/generate"),
        stream_paths=(
            *("/models/{model}/generate_stream", "/models/{model}/versions/{id}/generate_stream"),
        ),
        call_type=LLMCallTypeEnum.COMPLETION,
        needs=("text_input",),
        model=(),
        input=("text_input",),
        temperature=("parameters.temperature", "temperature"),
        max_tokens=("parameters.max_tokens", "max_tokens"),
        assemble=servers.assemble_triton,
    ),
    Api(
        api="sglang.generate",
        paths=("/generate",),
        call_type=LLMCallTypeEnum.COMPLETION,
        needs=("text sampling_params", "input_ids sampling_params"),
        input=("text", "input_ids"),
        temperature=("sampling_params.temperature",),
        max_tokens=("sampling_params.max_new_tokens",),
        assemble=servers.assemble_sglang,
    ),
    Api(
        api="vllm.generate",
        paths=("/generate",),
        call_type=LLMCallTypeEnum.COMPLETION,
        needs=("prompt max_tokens",),
        input=("prompt",),
        temperature=("temperature",),
        max_tokens=("max_tokens",),
        assemble=servers.assemble_vllm,
    ),
    _GENERATION,
    replace(_GENERATION, paths=(), stream_paths=("/generate_stream",), needs=("inputs",)),
    Api(
        api="huggingface.embed",
        paths=("/embed", "/models/{model:hub}/pipeline/feature-extraction"),
        call_type=LLMCallTypeEnum.EMBEDDING,
        needs=("inputs",),
        input=("inputs",),
    ),
)

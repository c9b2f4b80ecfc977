"""Which requests of an app are calls of an API: by method and path, then by the body."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from llm_audit.providers.shapes import SHAPE_BY_API
from llm_audit.wire.apis import _BY_MARK, ROWS, _has_mark, confirmed, matched
from llm_audit.wire.provider import provider_of

CHAT = {"model": "m", "messages": []}
MESSAGES = {**CHAT, "max_tokens": 5}
CONTENTS: dict[str, Any] = {"contents": []}
PROMPT = {"model": "m", "prompt": "Hi"}
INPUT = {"model": "m", "input": "Hi"}
TEXT: dict[str, Any] = {"inputText": "Hi"}
INSTANCES = {"instances": [{"content": "Hi"}]}
GENERATE: dict[str, Any] = {"inputs": "Hi", "parameters": {}}
DASHSCOPE: dict[str, Any] = {"model": "m", "input": {"messages": []}, "parameters": {}}
RUN = {"assistant_id": "a"}
OUTPUTS: dict[str, Any] = {"tool_outputs": []}
AWS_AGENT = "/agents/a/agentAliases/b"
AT_VERTEX = "/v1/projects/p/locations/l/publishers"
# Path, body of the request, the API, and what the path says of the model.
CALLS: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("/v1/chat/completions", CHAT, "openai.chat", None),
    ("/chat/completions", CHAT, "openai.chat", None),
    ("/v1/chat/completions/", CHAT, "openai.chat", None),
    ("/v1/chat/completions?api-version=1", CHAT, "openai.chat", None),
    ("/api/v1/chat/completions", CHAT, "openai.chat", None),
    ("/openai/v1/chat/completions", CHAT, "openai.chat", None),
    ("/inference/v1/chat/completions", CHAT, "openai.chat", None),
    ("/models/chat/completions", CHAT, "openai.chat", None),
    ("/v1beta/openai/chat/completions", CHAT, "openai.chat", None),
    ("/openai/deployments/d%20e/chat/completions", {"messages": []}, "openai.chat", "d e"),
    ("/serving-endpoints/dbrx/invocations", {"messages": []}, "openai.chat", "dbrx"),
    ("/v1/agents/completions", {"agent_id": "a", "messages": []}, "openai.chat", None),
    (f"{AT_VERTEX}/mistralai/models/m:rawPredict", CHAT, "openai.chat", "m"),
    ("/v1/responses", INPUT, "openai.responses", None),
    ("/v1/responses?beta=true", INPUT, "openai.responses", None),
    ("/openai/responses", INPUT, "openai.responses", None),
    ("/v1/responses/compact", INPUT, "openai.responses", None),
    ("/v1/completions", PROMPT, "openai.completions", None),
    ("/v1/fim/completions", {**PROMPT, "suffix": "x"}, "openai.completions", None),
    ("/openai/deployments/d/completions", {"prompt": "Hi"}, "openai.completions", "d"),
    ("/serving-endpoints/x/invocations", {"prompt": "Hi"}, "openai.completions", "x"),
    ("/v1/embeddings", INPUT, "openai.embeddings", None),
    ("/openai/deployments/d/embeddings", {"input": "Hi"}, "openai.embeddings", "d"),
    ("/v1/multimodalembeddings", {"model": "m", "inputs": []}, "openai.embeddings", None),
    ("/v1/moderations", {"input": "Hi"}, "openai.moderation", None),
    ("/v1/chat/moderations", INPUT, "openai.moderation", None),
    ("/v1/classifications", INPUT, "mistral.classification", None),
    ("/v1/images/generations", PROMPT, "openai.images", None),
    ("/v1/audio/speech", INPUT, "openai.speech", None),
    ("/v1/videos", PROMPT, "openai.videos", None),
    ("/v1/decisions", {**INPUT, "questions": []}, "openai.decisions", None),
    ("/v1/threads/thread_1/runs", RUN, "openai.runs", None),
    ("/v1/threads/runs", RUN, "openai.runs", None),
    ("/v1/threads/t/runs/r/submit_tool_outputs", OUTPUTS, "openai.runs", None),
    ("/v1/batches", {"input_file_id": "f", "endpoint": "/v1/x"}, "openai.batch", None),
    ("/v1/messages", MESSAGES, "anthropic.messages", None),
    ("/v1/messages?beta=true", MESSAGES, "anthropic.messages", None),
    ("/anthropic/v1/messages", MESSAGES, "anthropic.messages", None),
    ("/v1/messages/batches", {"requests": [{"params": {}}]}, "anthropic.batch", None),
    ("/v1/complete", {**PROMPT, "max_tokens_to_sample": 5}, "anthropic.complete", None),
    (
        *("/model/eu.anthropic.claude-v1%3A0/invoke", {"anthropic_version": "", **MESSAGES}),
        *("anthropic.messages", "eu.anthropic.claude-v1:0"),
    ),
    (
        *(f"{AT_VERTEX}/anthropic/models/claude@1:streamRawPredict",),
        *({"anthropic_version": "", **MESSAGES}, "anthropic.messages", "claude@1"),
    ),
    ("/v1beta/models/g-2.5:generateContent", CONTENTS, "google.generate_content", "g-2.5"),
    ("/v1beta/models/g:streamGenerateContent", CONTENTS, "google.generate_content", "g"),
    ("/v1beta/models/g%3AgenerateContent", CONTENTS, "google.generate_content", "g"),
    (f"{AT_VERTEX}/google/models/g:generateContent", CONTENTS, "google.generate_content", "g"),
    ("/v1beta/tunedModels/t:generateContent", CONTENTS, "google.generate_content", "t"),
    ("/v1beta/models/g:batchEmbedContents", {"requests": []}, "google.embed_content", "g"),
    ("/v1beta/models/g:embedContent", {"content": {}}, "google.embed_content", "g"),
    (f"{AT_VERTEX}/google/models/g:predict", INSTANCES, "google.embed_content", "g"),
    ("/v1beta/models/imagen:predict", {"instances": [{"prompt": ""}]}, "google.predict", "imagen"),
    ("/v1beta/models/g:batchGenerateContent", {"batch": {}}, "google.batch", "g"),
    ("/v1beta/interactions", INPUT, "google.interactions", None),
    ("/model/amazon.nova/converse", {"messages": []}, "bedrock.converse", "amazon.nova"),
    ("/model/nova/converse-stream", {"messages": []}, "bedrock.converse", "nova"),
    ("/model/arn:aws:x/y/converse", {"messages": []}, "bedrock.converse", "arn:aws:x/y"),
    ("/model/titan/invoke", TEXT, "bedrock.invoke", "titan"),
    ("/model/titan/invoke-with-response-stream", TEXT, "bedrock.invoke", "titan"),
    ("/v2/chat", CHAT, "cohere.chat", None),
    ("/v1/chat", {"model": "m", "message": "Hi"}, "cohere.v1", None),
    ("/v1/chat", CHAT, "openai.chat", None),
    ("/v1/generate", PROMPT, "cohere.generate", None),
    ("/v2/embed", {"model": "m", "texts": ["Hi"]}, "cohere.embed", None),
    ("/v1/rerank", {"query": "q", "documents": []}, "cohere.rerank", None),
    ("/v1/rerank", {"query": "", "documents": [], "truncation": 1}, "voyage.rerank", None),
    ("/v1/conversations", {"model": "m", "inputs": "Hi"}, "mistral.conversations", None),
    ("/v1/conversations/c", {"inputs": "Hi", "store": True}, "mistral.conversations", None),
    ("/v1/ocr", {"model": "m", "document": {}}, "mistral.ocr", None),
    ("/api/chat", CHAT, "ollama.chat", None),
    ("/api/generate", PROMPT, "ollama.generate", None),
    ("/api/embed", INPUT, "ollama.embed", None),
    ("/api/embeddings", PROMPT, "ollama.embed", None),
    ("/ml/v1/text/generation", {"model_id": "m", "input": ""}, "watsonx.generation", None),
    ("/ml/v1/deployments/d/text/generation", {"input": "Hi"}, "watsonx.generation", None),
    ("/ml/v1/text/chat", {"model_id": "m", "messages": []}, "openai.chat", None),
    ("/complete", {**PROMPT, "maximum_tokens": 5}, "alephalpha.complete", None),
    ("/studio/v1/j2-mid/complete", {"prompt": "Hi"}, "ai21.complete", "j2-mid"),
    ("/models/o/gpt2", {"inputs": "Hi", "parameters": {}}, "huggingface.generation", "o/gpt2"),
    ("/generate_stream", {"inputs": "", "parameters": {}}, "huggingface.generation", None),
    ("/v1/models/o/m/predictions", {"input": {}}, "replicate.predictions", "o/m"),
    ("/v1/predictions", {"version": "v", "input": {}}, "replicate.predictions", None),
    ("/accounts/a/ai/run/@cf/meta/llama", {"prompt": ""}, "cloudflare.run", "@cf/meta/llama"),
    ("/cortex/inference:embed", {"model": "m", "text": ["Hi"]}, "openai.embeddings", None),
    ("/v1/text/chatcompletion_v2", CHAT, "openai.chat", None),
    ("/ml/v1/deployments/d/text/chat_stream", {"messages": []}, "openai.chat", None),
    ("/serving-endpoints/x/invocations", {"input": [{"role": ""}]}, "openai.responses", "x"),
    ("/serving-endpoints/x/invocations", {"input": ["Hi"]}, "openai.embeddings", "x"),
    ("/endpoints/x/invocations", GENERATE, "huggingface.generation", "x"),
    ("/endpoints/x/invocations-response-stream", GENERATE, "huggingface.generation", "x"),
    ("/v1/classify", {"model": "m", "inputs": [], "examples": []}, "mistral.classification", None),
    ("/ml/v1/text/rerank", {"model_id": "m", "query": "", "inputs": []}, "cohere.rerank", None),
    ("/v1/p/endpoints/5:predict", {"instances": [{"prompt": ""}]}, "google.predict", "5"),
    (f"{AWS_AGENT}/sessions/s/text", {"inputText": "Hi"}, "bedrock.agent", None),
    ("/agents/s", {"foundationModel": "f", "instruction": ""}, "bedrock.agent", None),
    ("/flows/f/aliases/a", {"inputs": [{"nodeName": "n"}]}, "bedrock.flow", None),
    ("/retrieveAndGenerate", {"input": {"text": ""}}, "bedrock.rag", None),
    ("/retrieveAndGenerateStream", {"input": {"text": ""}}, "bedrock.rag", None),
    ("/knowledgebases/k/retrieve", {"retrievalQuery": {}}, "bedrock.retrieve", None),
    ("/async-invoke", {"modelId": "m", "modelInput": {}}, "bedrock.async_invoke", None),
    (
        *("/rerank", {"queries": [], "sources": [], "rerankingConfiguration": {}}),
        *("bedrock.rerank", None),
    ),
    ("/api/v1/services/aigc/text-generation/generation", DASHSCOPE, "dashscope.generation", None),
    ("/aigc/multimodal-generation/generation", DASHSCOPE, "dashscope.generation", None),
    ("/api/v1/apps/a/completion", DASHSCOPE, "dashscope.generation", None),
    ("/embeddings/text-embedding/text-embedding", INPUT, "dashscope.embeddings", None),
    ("/rerank/text-rerank/text-rerank", INPUT, "dashscope.rerank", None),
    ("/api/v1/chat", INPUT, "lmstudio.chat", None),
    ("/completion", {"prompt": "Hi"}, "llama_cpp.completion", None),
    ("/infill", {"input_prefix": "", "input_suffix": ""}, "llama_cpp.completion", None),
    ("/embedding", {"content": "Hi"}, "llama_cpp.embedding", None),
    ("/v2/models/m/generate", {"text_input": "Hi"}, "triton.generate", "m"),
    ("/v2/models/m/versions/1/generate_stream", {"text_input": "Hi"}, "triton.generate", "m"),
    ("/generate", {"text": "Hi", "sampling_params": {}}, "sglang.generate", None),
    ("/generate", {"prompt": "Hi", "max_tokens": 5}, "vllm.generate", None),
    ("/generate", GENERATE, "huggingface.generation", None),
    ("/embed", {"inputs": "Hi"}, "huggingface.embed", None),
    (
        *("/hf-inference/models/o/m/pipeline/feature-extraction", {"inputs": "Hi"}),
        *("huggingface.embed", "o/m"),
    ),
]
# Paths that other apps have, and what they send there.
ORDINARY: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat", {"room": 1, "text": "Hi"}),
    ("/api/v1/chat", {"input": "Hi", "user": 5}),
    ("/api/chat", {"messages": ["Hi"]}),
    ("/generate", {"template": "invoice", "format": "pdf"}),
    ("/generate", {"prompt": "a title"}),
    ("/generate", {"text": "Hi", "size": 200}),  # a QR code
    ("/generate", {"inputs": [1, 2]}),
    ("/api/generate", {"report": 5, "input": {}}),
    ("/api/reports/generate", {"parameters": {"year": 2026}}),
    ("/completions", {"course": 5, "user": 1}),
    ("/completion", {"order": 5}),
    ("/complete", {"task": 5}),
    ("/complete", {"prompt": "pyth", "limit": 5}),
    ("/search/rerank", {"query": "shoes", "items": []}),
    ("/embed", {"url": "https://host/video"}),
    ("/embedding", {"text": "Hi"}),
    ("/messages", {"to": "me", "text": "Hi", "max_tokens": 1}),
    ("/v1/messages", {"messages": [{"to": "me"}]}),
    ("/responses", {"survey": 5, "answers": []}),
    ("/responses", {"model": "survey", "answers": []}),
    ("/interactions", {"input": "click", "page": "/"}),
    ("/moderations", {"comment": 5}),
    ("/classify", {"image": "x"}),
    ("/classify", {"inputs": [1, 2]}),
    ("/videos", {"title": "cats"}),
    ("/batches", {"orders": []}),
    ("/runs", {"distance": 5}),
    ("/threads/5/runs", {"job": 1}),
    ("/conversations", {"subject": "Hi", "to": 5}),
    ("/conversations/5", {"inputs": {"subject": "Hi"}}),
    ("/conversations/5/restart", {"reason": "none"}),
    ("/predictions", {"input": [1, 2]}),
    ("/models/churn/predictions", {"input": [1, 2]}),
    ("/v1/models/half_plus_two:predict", {"instances": [1.0, 2.0]}),
    ("/v1/endpoints/5:predict", {"instances": [[1.0, 2.0]]}),
    ("/v2/models/resnet/infer", {"inputs": [{"name": "x"}], "parameters": {}}),
    ("/v2/models/resnet/versions/1/infer", {"inputs": [{"name": "x"}], "parameters": {}}),
    ("/models/cars/5", {"inputs": [1]}),
    ("/model/car/invoke", {"speed": 5}),
    ("/model/car/converse", {"speed": 5}),
    ("/endpoints/e/invocations", {"instances": [1, 2]}),
    ("/invocations", {"dataframe_split": {}}),
    ("/agents/5", {"name": "Bond", "instruction": "none"}),
    ("/agents/5", {"name": "Bond"}),
    ("/flows/5/aliases/6", {"inputs": [1]}),
    ("/knowledgebases/k/retrieve", {"id": 5}),
    ("/retrieveAndGenerate", {"report": 5}),
    ("/decisions", {"model": "m", "input": "Hi"}),
    ("/ocr", {"document": "x"}),
    ("/audio/speech", {"text": "Hi"}),
    ("/text/embeddings", {"text": "Hi"}),
    ("/energy/generation", {"model": "solar", "year": 5}),
    ("/text-generation/generation", {"input": "x"}),
]
FORMS = [
    ("/v1/audio/transcriptions", "openai.transcription"),
    ("/v1/audio/translations", "openai.transcription"),
    ("/v1/images/edits", "openai.images"),
    ("/v1/images/variations", "openai.images"),
]
OTHERS: list[tuple[str, str, dict[str, Any] | list[Any] | None]] = [
    *(
        ("POST", path, {"text": "Hi"})
        for path, *_ in CALLS
        if not path.startswith((AWS_AGENT, "/accounts/a/ai/run/", "/v1/classify"))
    ),
    *(("POST", path, body) for path, body in ORDINARY),
    ("POST", "/v1/messages/count_tokens", CHAT),
    ("POST", "/v1/responses/input_tokens", INPUT),
    ("POST", "/v1beta/models/g:countTokens", CONTENTS),
    ("POST", "/model/m/count-tokens", CHAT),
    ("POST", "/v1/threads/t/messages", {"role": "user", "content": "Hi"}),
    ("POST", "/v1/messages", {"channel": 1, "messages": ["Hi"]}),
    ("POST", "/v1/messages", ["model", "messages"]),
    ("POST", "/v1/chat", {"message": "Hi"}),
    ("POST", "/v1/chat", {"messages": ["Hi"]}),
    ("POST", "/v1/classifications", {"input": "Hi"}),
    ("POST", "/ai/run/job", {"model": "m", "input": "Hi", "prompt": ""}),
    ("POST", "/responses", {"survey": 1, "input": "Hi"}),
    ("POST", "/api/generate", {"prompt": "Hi"}),
    ("POST", "/v1/conversations", {"items": []}),
    ("POST", "/v1/conversations/c/items", {"items": []}),
    ("POST", "/v1/evals/e/runs", {"name": "x"}),
    ("POST", "/v1/embeddings", None),
    ("POST", "/", {}),
    ("POST", "", {}),
    ("POST", "//", {}),
    ("POST", "/users", CHAT),
    ("GET", "/v1/chat/completions", CHAT),
    ("GET", "/v1/models", None),
    ("GET", "/v1/responses/resp_1/input_items", None),
    ("GET", "/", None),
    ("GET", "", None),
    ("DELETE", "/v1/responses/resp_1", None),
    ("PUT", "/v1/messages", MESSAGES),
]


def api_of(method: str, path: str, body: object, host: str = "localhost") -> str | None:
    found = matched(method, path)
    if found is None or found.result_of is not None:
        return None
    sent = None if body is None else json.dumps(body).encode()
    read = confirmed(found, host, sent)
    return None if read is None else read.api.api


@pytest.mark.parametrize(("path", "body", "api", "model"), CALLS)
def test_what_is_a_call(path: str, body: dict[str, Any], api: str, model: str | None) -> None:
    """A path under any prefix, with the keys that the API needs, is that API's."""
    found = matched("POST", path)

    assert found is not None
    assert (api_of("POST", path, body), found.model) == (api, model)
    assert api_of("POST", f"/any/prefix{path}", body) == api


def test_what_only_looks_like_one() -> None:
    """Other methods, other ends of a path and bodies without the keys are no calls."""
    generates = ("GenerateContent", "generateContent")  # such a path is enough
    for method, path, body in OTHERS:
        if not path.partition("?")[0].endswith(generates):
            assert api_of(method, path, body) is None, (method, path, body)


def test_a_known_host_is_enough() -> None:
    """What its provider will refuse is a call all the same; and forms are told by their path."""
    assert api_of("POST", "/v1/messages", {"model": "m"}, "api.anthropic.com")
    assert api_of("POST", "/v1/chat", {"message": "Hi"}, "api.cohere.com") == "cohere.v1"
    assert api_of("POST", "/v1/chat/completions", None, "api.openai.com") == "openai.chat"
    for path, api in FORMS:
        assert api_of("POST", path, None) == api
        key = "image[]" if "images" in path else "file"
        for name, found in ((key, api), ("picture", None)):
            form = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="a"'.encode()
            said = matched("POST", path)
            assert said is not None
            read = confirmed(said, "localhost", form)
            assert (read and read.api.api) == found, (path, name)


ALWAYS = ("bedrock.agent", "bedrock.flow")


def test_a_path_that_is_always_streamed() -> None:
    """It says so; others leave it to the body."""
    for path, _, api, _ in CALLS:
        found = matched("POST", path)
        assert found is not None
        assert found.streamed == ("stream" in path.lower() or api in ALWAYS), path


def test_the_result_of_what_was_asked_before() -> None:
    """A GET that fetches it is no call, and names what it is of."""
    for path, api, result in (
        ("/v1/responses/resp_1?stream=false", "openai.responses", "resp_1"),
        ("/v1/threads/t/runs/run_1", "openai.runs", "run_1"),
        ("/v1/messages/batches/b", "anthropic.batch", "b"),
        ("/v1/batches/b", "openai.batch", "b"),
        ("/v1/videos/v", "openai.videos", "v"),
        ("/v1/predictions/p", "replicate.predictions", "p"),
        ("/v1beta/interactions/i", "google.interactions", "i"),
    ):
        found = matched("GET", path)
        assert found is not None, path
        assert (found.api.api, found.result_of) == (api, result)


def test_rows_are_named_as_shapes_are() -> None:
    """Where an answer has a shape of its own, its API's name is that."""
    without = {row.api for row in ROWS} - SHAPE_BY_API.keys()

    assert without == {
        *("openai.speech", "openai.transcription", "openai.videos", "openai.decisions"),
        *("openai.batch", "anthropic.complete", "anthropic.batch"),
        *("google.predict", "google.batch", "bedrock.invoke", "bedrock.async_invoke"),
        *("mistral.classification", "mistral.ocr"),
        *("ollama.generate", "ollama.embed", "llama_cpp.embedding", "huggingface.embed"),
    }
    assert {row.api for row in ROWS} == {
        *(api for _, _, api, _ in CALLS),
        *(api for _, api in FORMS),
    }


def test_what_is_looked_for_before_a_look_at_the_table() -> None:
    """The quick look knows every path that ends with a name."""
    assert all(_has_mark(f"/v1{mark}x") for mark in _BY_MARK)


def test_rows_of_one_name_read_alike() -> None:
    """By its name a row is found again, whichever of its paths was asked."""
    own = dict.fromkeys(("paths", "stream_paths", "results", "needs", "hosts"), ())
    for row in ROWS:
        first = next(one for one in ROWS if one.api == row.api)
        assert asdict(replace(row, **own)) == asdict(replace(first, **own))


def test_whose_server_it_is() -> None:
    """The host says it; of an unknown one the client that asks, or else it is the host."""
    for host, provider in (
        ("api.openai.com", "openai"),
        ("EU.api.openai.com", "openai"),
        ("me.openai.azure.com", "azure"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "bedrock"),
        ("bedrock-runtime-fips.us-east-1.amazonaws.com", "bedrock"),
        ("bedrock-mantle.us-east-1.api.aws", "bedrock"),
        ("vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com", "bedrock"),
        ("europe-west4-aiplatform.googleapis.com", "vertex"),
        ("aiplatform.us.rep.googleapis.com", "vertex"),
        ("generativelanguage.googleapis.com", "gemini"),
        ("my.gateway", "my.gateway"),
        ("notopenai.com", "notopenai.com"),
        ("127.0.0.1", "127.0.0.1"),
    ):
        assert provider_of(host, {}) == provider, host
    for header, said, provider in (
        ("user-agent", "AsyncOpenAI/Python 3.57.0", "openai"),
        ("user-agent", "AsyncAzureOpenAI/Python 3.57.0", "azure"),
        ("user-agent", "AnthropicBedrock/Python 2.14.0", "bedrock"),
        ("user-agent", "google-genai-sdk/3.6.1 gl-python/3.11.7", "gemini"),
        ("x-goog-api-client", "google-genai-sdk/3.6.1 gl-python/3.11.7", "gemini"),
        ("user-agent", "Boto3/1.44.8", "bedrock"),
        ("user-agent", "python-httpx/0.28.1", "my.gateway"),
    ):
        assert provider_of("my.gateway", {header: said}) == provider, said

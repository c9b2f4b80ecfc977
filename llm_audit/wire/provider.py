"""Whose server was asked: told by its host, then by the client that asks."""

import re
from collections.abc import Mapping
from functools import lru_cache

# By the end of a host's name.
_BY_HOST = {
    "openai.com": "openai",
    **dict.fromkeys(("openai.azure.com", "cognitiveservices.azure.com"), "azure"),
    **dict.fromkeys(("services.ai.azure.com", "models.ai.azure.com"), "azure"),
    **dict.fromkeys(("inference.ai.azure.com", "azure-api.net"), "azure"),
    "anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gemini",
    "aiplatform.googleapis.com": "vertex",
    "mistral.ai": "mistral",
    **dict.fromkeys(("cohere.com", "cohere.ai"), "cohere"),
    "groq.com": "groq",
    "openrouter.ai": "openrouter",
    "deepseek.com": "deepseek",
    **dict.fromkeys(("together.xyz", "together.ai"), "together"),
    "fireworks.ai": "fireworks",
    "perplexity.ai": "perplexity",
    "x.ai": "xai",
    "z.ai": "zai",
    "bigmodel.cn": "zhipuai",
    "cerebras.ai": "cerebras",
    "huggingface.co": "huggingface",
    "voyageai.com": "voyage",
    "jina.ai": "jina",
    "deepinfra.com": "deepinfra",
    "novita.ai": "novita",
    "nebius.com": "nebius",
    "sambanova.ai": "sambanova",
    "hyperbolic.xyz": "hyperbolic",
    "baseten.co": "baseten",
    "replicate.com": "replicate",
    "writer.com": "writer",
    "ai21.com": "ai21",
    "aleph-alpha.com": "alephalpha",
    "ml.cloud.ibm.com": "watsonx",
    "snowflakecomputing.com": "snowflake",
    **dict.fromkeys(("cloud.databricks.com", "azuredatabricks.net"), "databricks"),
    "gcp.databricks.com": "databricks",
    "crusoecloud.com": "crusoe",
    "heroku.com": "heroku",
    "ollama.com": "ollama",
    **dict.fromkeys(("moonshot.ai", "moonshot.cn"), "moonshotai"),
    **dict.fromkeys(("minimax.io", "minimaxi.com", "minimax.chat"), "minimax"),
    **dict.fromkeys(("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"), "dashscope"),
    "integrate.api.nvidia.com": "nvidia",
    "models.github.ai": "github",
    "githubcopilot.com": "github-copilot",
    "cloudflare.com": "cloudflare",
    "pydantic.dev": "pydantic-gateway",
}
_IN_HOST = (
    (re.compile(r"\bbedrock(-[a-z]+)*\..*(amazonaws\.com|api\.aws)"), "bedrock"),
    (re.compile(r"\bsagemaker\..*amazonaws\.com"), "sagemaker"),
    (re.compile(r"\baiplatform\..*googleapis\.com$|-aiplatform\.googleapis\.com$"), "vertex"),
)
# By how a client's name for itself begins, in small letters; the longer before the shorter.
_BY_CLIENT = (
    *(
        ("anthropicbedrock", "bedrock"),
        ("anthropicvertex", "vertex"),
        ("anthropicfoundry", "azure"),
    ),
    *(("anthropic", "anthropic"), ("azureopenai", "azure"), ("openai", "openai")),
    *(("google-genai", "gemini"), ("mistral", "mistral"), ("cohere", "cohere"), ("groq", "groq")),
    *(
        ("together", "together"),
        ("ollama", "ollama"),
        ("boto", "bedrock"),
        ("aiobotocore", "bedrock"),
    ),
    ("litellm", "litellm"),
)
_SAY_CLIENT = ("user-agent", "x-goog-api-client", "x-fern-sdk-name")


def provider_of(host: str, headers: Mapping[str, str]) -> str:
    """Return the name of a provider.

    Args:
        host: The URL's.
        headers: Of the request, their names in small letters.

    Returns:
        The name as the price list and other tools spell it. A host that is not known, such as a
        gateway of one's own, is taken for the one whose client asks; else it is the host itself.
    """
    return _by_host(host.lower()) or _by_client(headers) or host


@lru_cache(maxsize=256)
def _by_host(host: str) -> str | None:
    end = host
    while end:
        if found := _BY_HOST.get(end):
            return found
        end = end.partition(".")[2]
    return next((name for pattern, name in _IN_HOST if pattern.search(host)), None)


def _by_client(headers: Mapping[str, str]) -> str | None:
    for header in _SAY_CLIENT:
        said = headers.get(header, "").lower().removeprefix("async")
        for client, name in _BY_CLIENT:
            if said.startswith(client):
                return name
    return None

"""The clients whose calls are recorded, and how a request tells which of them has sent it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from llm_audit.errors import UsageError
from llm_audit.spelling import did_you_mean, nearest


class Client(NamedTuple):
    """One client.

    Attributes:
        agents: Any of these is part of its `User-Agent`, in small letters.
        headers: Or it sends one of these.
        modules: Through whose classes it sends.
    """

    agents: tuple[str, ...]
    headers: tuple[str, ...] = ()
    modules: tuple[str, ...] = ("httpx", "httpx2")


_AIOHTTP = ("aiohttp.client", "aiohttp.payload", "vcr.stubs.aiohttp_stubs")
_HTTPX_OR_AIOHTTP = ("httpx", "httpx2", *_AIOHTTP)
CLIENTS = {
    "anthropic": Client(("anthropic",), ("anthropic-version",)),
    # boto3, and aiobotocore, which asks through aiohttp
    "bedrock": Client(("boto",), modules=("botocore.endpoint", *_AIOHTTP)),
    "cohere": Client(("cohere",)),
    "google-genai": Client(("google-genai-sdk",), modules=_HTTPX_OR_AIOHTTP),
    "groq": Client(("groq",)),
    "litellm": Client(("litellm",), modules=_HTTPX_OR_AIOHTTP),
    "mistralai": Client(("mistral",)),
    "ollama": Client(("ollama",)),
    "openai": Client(("openai",)),
    "together": Client(("together",)),
}
_NAMING = ("user-agent", "x-goog-api-client", "x-fern-sdk-name", "x-client-name")
# Clients that Stainless makes say so, whatever a framework has put into `User-Agent`.
_STAINLESS, _OF_STAINLESS = "x-stainless-lang", "openai"


def known(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of clients as they are spelled here.

    Raises:
        UsageError: There is no such client.
    """
    found = []
    for name in names:
        spelled = str(name).strip().lower().replace("_", "-")
        if spelled not in CLIENTS:
            meant = did_you_mean(nearest(spelled, CLIENTS))
            raise UsageError(
                f"instrument() knows no client {spelled!r}.{meant} It knows {', '.join(CLIENTS)}; "
                "without a name it records all calls to LLMs, whatever sends them."
            )
        found.append(spelled)
    return tuple(found)


def is_of(names: Iterable[str], headers: Mapping[str, str]) -> bool:
    """Tell whether one of these clients has sent a request.

    Args:
        names: Of clients.
        headers: The request's; asked in small letters.
    """
    agent = " ".join(filter(None, map(headers.get, _NAMING))).lower()
    sent_by = {name for name, client in CLIENTS.items() if _is_one(client, agent, headers)}
    if not sent_by and headers.get(_STAINLESS):
        sent_by = {_OF_STAINLESS}
    return not sent_by.isdisjoint(names)


def _is_one(client: Client, agent: str, headers: Mapping[str, str]) -> bool:
    return any(name in agent for name in client.agents) or any(map(headers.get, client.headers))

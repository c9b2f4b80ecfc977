"""For each recorded call, the client that sends it: the one of its API, else plain HTTP.

The arguments of a method are made from the recorded body; what a client does not take goes through
its own `extra_body`, where it has one.
"""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from operator import attrgetter
from typing import Any
from urllib.parse import unquote

import anthropic
import boto3
import cohere
import groq
import httpx
import httpx2
import mistralai.client as mistral
import ollama
import openai
from botocore.config import Config
from cohere.base_client import BaseCohere
from cohere.v2.client import V2Client
from google import genai
from google.oauth2.credentials import Credentials
from replay.recordings import Recording

TIMEOUT = 60.0
KEY = "sk-none"  # of no account
OPENAI = {  # what the client puts behind its base URL, and by which method
    "POST /chat/completions": "chat.completions.create",
    "POST /completions": "completions.create",
    "POST /responses/compact": "responses.compact",
    "POST /responses/input_tokens": "responses.input_tokens.count",
    "GET /responses/{response_id}": "responses.retrieve",
    "POST /responses": "responses.create",
    "POST /embeddings": "embeddings.create",
    "POST /images/generations": "images.generate",
    "POST /audio/speech": "audio.speech.create",
    "POST /audio/transcriptions": "audio.transcriptions.create",
    "POST /assistants": "beta.assistants.create",
    "GET /assistants/{assistant_id}": "beta.assistants.retrieve",
    "POST /threads": "beta.threads.create",
    "POST /threads/{thread_id}/messages": "beta.threads.messages.create",
    "POST /threads/{thread_id}/runs": "beta.threads.runs.create",
    "GET /threads/{thread_id}/runs/{run_id}": "beta.threads.runs.retrieve",
    "POST /threads/{thread_id}/runs/{run_id}/submit_tool_outputs": (
        "beta.threads.runs.submit_tool_outputs"
    ),
}
ANTHROPIC = {
    "POST /v1/messages": "messages.create",
    "POST /v1/messages/count_tokens": "messages.count_tokens",
}
GROQ = {"POST /openai/v1/chat/completions": "chat.completions.create"}


@dataclass(frozen=True)
class Driver:
    """How one client sends what was recorded of one API.

    Attributes:
        client: Its name.
        send: Takes a recording, the server's URL, and whether to be asynchronous; returns what the
            user's code gets, or an awaitable of it.
        has_async: Whether it has an asynchronous twin.
    """

    client: str
    send: Callable[[Recording, str, bool], Any]
    has_async: bool = True


def driver_for(recording: Recording) -> Driver:
    """Return who sends this call."""
    if recording.call.get("request_text"):  # it is no JSON, which no client of an API sends
        return PLAIN
    for providers, endpoints, driver in DRIVERS:
        if re.search(providers, recording.provider) and re.search(endpoints, recording.endpoint):
            return driver
    return PLAIN


def forget_clients() -> None:
    """Forget the clients that are kept: their connections belong to a loop that has ended."""
    for kept in (_stainless, _google, _mistral, _cohere, _ollama, _bedrock, _plain):
        kept.cache_clear()


def _split(method: Callable[..., Any], body: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return what of a body a method takes, and the rest."""
    known = inspect.signature(method).parameters
    rest = {key: value for key, value in body.items() if key not in known}
    return {key: value for key, value in body.items() if key in known}, rest


@cache
def _stainless(client: type[Any], query: str) -> Any:
    more: dict[str, Any] = {}
    if client in {openai.AzureOpenAI, openai.AsyncAzureOpenAI}:
        more["api_version"] = query.removeprefix("api-version=")
    elif query:
        more["default_query"] = dict(pair.split("=", 1) for pair in query.split("&"))
    return client(api_key=KEY, base_url="http://nobody", max_retries=0, timeout=TIMEOUT, **more)


def _own_path(table: Mapping[str, str], recording: Recording) -> tuple[re.Match[str], str]:
    for row, name in table.items():
        verb, own_path = row.split()
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", own_path)
        if verb == recording.method and (found := re.search(f"{pattern}$", recording.path)):
            return found, name
    raise LookupError(f"{recording.method} {recording.path}")


def _send_stainless(
    clients: tuple[type[Any], type[Any]],
    table: Mapping[str, str],
    recording: Recording,
    url: str,
    is_async: bool,
) -> Any:
    """Send by a client that Stainless has generated: openai, anthropic, groq."""
    found, name = _own_path(table, recording)
    base_url = url + recording.path[: found.start()]
    client = _stainless(clients[is_async], recording.query)
    method = attrgetter(name)(client.with_options(base_url=base_url))
    body = recording.request or {}
    if name == "audio.transcriptions.create":
        body = {"file": ("speech.wav", b"RIFF" * 1280), "model": "gpt-4o-transcribe"}
    given, rest = _split(method, body)
    return method(**given, **found.groupdict(), **({"extra_body": rest} if rest else {}))


@cache
def _google(url: str, is_vertex: bool, version: str) -> Any:
    more: dict[str, Any] = {"api_key": KEY}
    if is_vertex:
        more = {"vertexai": True, "project": "project", "location": "location"}
        more["credentials"] = Credentials("a token")
    options = {"base_url": url, "api_version": version, "timeout": int(TIMEOUT * 1000)}
    return genai.Client(http_options=options, **more)


def _send_google(recording: Recording, url: str, is_async: bool) -> Any:
    """Send by google-genai; the body goes through `extra_body`, so that it is sent as recorded."""
    version, _, place = recording.path.strip("/").partition("/")
    model, _, verb = place.partition(":")
    model = model[model.index("models/" if model.startswith("models/") else "publishers/") :]
    names = {
        "generateContent": "generate_content",
        "streamGenerateContent": "generate_content_stream",
        "countTokens": "count_tokens",
        "batchEmbedContents": "embed_content",
        "embedContent": "embed_content",
    }
    client = _google(url, recording.provider == "vertex", version)
    method = getattr((client.aio if is_async else client).models, names[verb])
    config = {"http_options": {"extra_body": recording.request}}
    return method(model=unquote(model), contents="nothing", config=config)


@cache
def _mistral(url: str) -> Any:
    return mistral.Mistral(api_key=KEY, server_url=url, timeout_ms=int(TIMEOUT * 1000))


def _send_mistral(recording: Recording, url: str, is_async: bool) -> Any:
    name = "stream" if recording.is_stream else "complete"
    if recording.endpoint.endswith("/embeddings"):
        name = "create"
    client = _mistral(url)
    resource = client.embeddings if name == "create" else client.chat
    method = getattr(resource, name + ("_async" if is_async else ""))
    body = {"inputs" if key == "input" else key: item for key, item in recording.request.items()}
    given, _ = _split(method, body)
    return method(**given)


@cache
def _cohere(client: type[Any], url: str) -> Any:
    return client(KEY, base_url=url, timeout=TIMEOUT, log_warning_experimental_features=False)


def _send_cohere(recording: Recording, url: str, is_async: bool) -> Any:
    _, version, name = recording.endpoint.split("/")
    clients, plain = {
        "v1": ((cohere.Client, cohere.AsyncClient), BaseCohere),
        "v2": ((cohere.ClientV2, cohere.AsyncClientV2), V2Client),
    }[version]
    name += "_stream" if recording.is_stream else ""
    method = getattr(_cohere(clients[is_async], url), name)
    body = {key: item for key, item in recording.request.items() if key != "stream"}
    given, rest = _split(getattr(plain, name), body)  # its own clients hide what the methods take
    options = {"additional_body_parameters": rest, "max_retries": 0}
    return method(**given, request_options=options)


@cache
def _ollama(client: type[Any], url: str) -> Any:
    return client(url, timeout=TIMEOUT)


def _send_ollama(recording: Recording, url: str, is_async: bool) -> Any:
    client = _ollama(ollama.AsyncClient if is_async else ollama.Client, url)
    method = getattr(client, recording.endpoint.rpartition("/")[2])
    given, _ = _split(method, recording.request)
    return method(**{"stream": True, **given})  # the API's default, not the client's


@cache
def _bedrock(url: str) -> Any:
    config = Config(retries={"total_max_attempts": 1}, read_timeout=TIMEOUT)
    session = boto3.Session("key", "secret", region_name="us-east-1")
    return session.client("bedrock-runtime", endpoint_url=url, config=config)


def _send_bedrock(recording: Recording, url: str, is_async: bool) -> Any:
    assert not is_async
    prefix, model, verb = re.match("(.*)/model/([^/]+)/([^/]+)$", recording.path).groups()  # type: ignore[union-attr]
    name = re.sub("^invoke", "invoke_model", verb).replace("-", "_")
    method = getattr(_bedrock(url + prefix), name)
    if "invoke" in verb:
        body = json.dumps(recording.request)
        return method(modelId=unquote(model), body=body, contentType="application/json")
    return method(modelId=unquote(model), **recording.request)


@cache
def _plain(client: type[Any]) -> Any:
    return client(timeout=TIMEOUT)


def _send_plain(recording: Recording, url: str, is_async: bool) -> Any:
    """Send as an app does that has no client: by httpx2, or every other time by httpx."""
    modules = (httpx, httpx2)
    module = modules[int(recording.id, 16) % 2]
    client = _plain(module.AsyncClient if is_async else module.Client)
    target = f"{url}{recording.path}?{recording.query}".rstrip("?")
    body: dict[str, Any] = {"json": recording.request}
    if text := recording.call.get("request_text"):
        body = {"content": text, "headers": {"content-type": "application/json"}}
    request = client.build_request(recording.method, target, **body)
    return client.send(request, stream=recording.is_stream)


_OPENAI = partial(_send_stainless, (openai.OpenAI, openai.AsyncOpenAI), OPENAI)
_AZURE = partial(_send_stainless, (openai.AzureOpenAI, openai.AsyncAzureOpenAI), OPENAI)
_ANTHROPIC = partial(_send_stainless, (anthropic.Anthropic, anthropic.AsyncAnthropic), ANTHROPIC)
_GROQ = partial(_send_stainless, (groq.Groq, groq.AsyncGroq), GROQ)
_OF_OPENAI = (
    "/(chat/)?completions$|/responses(/|$)|/embeddings$|/images/generations$"
    "|/audio/(speech|transcriptions)$|/assistants|/threads"
)
PLAIN = Driver("plain httpx", _send_plain)
DRIVERS = (
    ("azure", "/deployments/", Driver("openai azure", _AZURE)),
    ("groq|local", "/openai/v1/chat/completions$", Driver("groq", _GROQ)),
    ("mistral", "", Driver("mistralai", _send_mistral)),
    ("voyage|writer", "", PLAIN),
    ("", _OF_OPENAI, Driver("openai", _OPENAI)),
    ("", "/v1/messages", Driver("anthropic", _ANTHROPIC)),
    ("gemini|vertex", ":(?!predict)", Driver("google-genai", _send_google)),
    ("", "/model/", Driver("boto3", _send_bedrock, has_async=False)),
    ("cohere", "", Driver("cohere", _send_cohere)),
    ("ollama", "", Driver("ollama", _send_ollama)),
)

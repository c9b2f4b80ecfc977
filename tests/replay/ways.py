"""The ways of calling: every client's methods, plain, streamed, raw, by helpers, sync and async.

A way is a function of the server's URL, which asks once and reads what comes to its end, unless its
name says otherwise.
"""

import asyncio
import inspect
import io
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import anthropic
import boto3
import cohere
import groq
import httpx
import httpx2
import litellm
import mistralai.client as mistral
import ollama
import openai
from botocore.config import Config
from google import genai
from google.oauth2.credentials import Credentials
from pydantic import BaseModel
from replay import bodies as b
from replay.server import Answer

KEY = "sk-none"


@dataclass(frozen=True)
class Way:
    """One way of calling.

    Attributes:
        name: What the table shows.
        ask: Takes the server's URL; may be a coroutine function.
        answers: What the server plays.
        api: That the record has.
        streamed: Whether the answer is a stream.
    """

    name: str
    ask: Callable[[str], Any]
    answers: tuple[Answer, ...]
    api: str | None
    streamed: bool

    def go(self, url: str) -> Any:
        """Ask."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the clients
            if inspect.iscoroutinefunction(self.ask):
                return asyncio.run(self.ask(url))
            return self.ask(url)


WAYS: list[Way] = []
Asker = Callable[[str], Any]


def way(name: str, *answers: Answer, api: str | None) -> Callable[[Asker], Asker]:
    """Add a function to the ways of calling."""

    def add(ask: Asker) -> Asker:
        WAYS.append(Way(name, ask, answers, api, answers[-1].is_stream))
        return ask

    return add


class Person(BaseModel):
    """What a model is asked to fill in."""

    name: str
    age: int


def gpt(url: str, **options: Any) -> openai.OpenAI:
    """Return a client that does not try again."""
    return openai.OpenAI(**{"base_url": url + "/v1", "api_key": KEY, "max_retries": 0} | options)


def async_gpt(url: str, **options: Any) -> openai.AsyncOpenAI:
    """Return the same, asynchronous."""
    given = {"base_url": url + "/v1", "api_key": KEY, "max_retries": 0} | options
    return openai.AsyncOpenAI(**given)


def claude(url: str) -> anthropic.Anthropic:
    """Return a client of Anthropic's."""
    return anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0)


def async_claude(url: str) -> anthropic.AsyncAnthropic:
    """Return the same, asynchronous."""
    return anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0)


def gemini(url: str, **options: Any) -> genai.Client:
    """Return a client of Google's."""
    return genai.Client(api_key=KEY, http_options={"base_url": url, **options})


def bedrock(url: str, attempts: int = 1) -> Any:
    """Return a client of AWS Bedrock's runtime."""
    session = boto3.Session("key", "secret", region_name="us-east-1")
    retries = {"total_max_attempts": attempts, "mode": "standard"}
    config = Config(retries=retries, read_timeout=60)  # type: ignore[arg-type]
    return session.client("bedrock-runtime", endpoint_url=url, config=config)


def read(pieces: Iterable[Any]) -> None:
    """Iterate to the end."""
    for _ in pieces:
        pass


async def aread(pieces: Any) -> None:
    """Iterate to the end."""
    async for _ in pieces:
        pass


# OpenAI's chat completions


@way("openai chat create", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    gpt(url).chat.completions.create(**b.ASK)


@way("openai chat create, stream", b.CHAT_STREAM, api="openai.chat")
def _(url: str) -> None:
    read(gpt(url).chat.completions.create(**b.ASK, stream=True))


@way("openai chat create, stream in a with block", b.CHAT_STREAM, api="openai.chat")
def _(url: str) -> None:
    with gpt(url).chat.completions.create(**b.ASK, stream=True) as stream:
        read(stream)


@way("openai chat with_raw_response", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    gpt(url).chat.completions.with_raw_response.create(**b.ASK).parse()


@way("openai chat with_raw_response, stream", b.CHAT_STREAM, api="openai.chat")
def _(url: str) -> None:
    read(gpt(url).chat.completions.with_raw_response.create(**b.ASK, stream=True).parse())


@way("openai chat with_streaming_response, parse", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    with gpt(url).chat.completions.with_streaming_response.create(**b.ASK) as response:
        response.parse()


@way("openai chat with_streaming_response, read", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    with gpt(url).chat.completions.with_streaming_response.create(**b.ASK) as response:
        response.read()


@way("openai chat with_streaming_response, iter_lines", b.CHAT_STREAM, api="openai.chat")
def _(url: str) -> None:
    ask = gpt(url).chat.completions.with_streaming_response.create
    with ask(**b.ASK, stream=True) as response:
        read(response.iter_lines())


@way("openai chat with_streaming_response, iter_bytes", b.CHAT_STREAM, api="openai.chat")
def _(url: str) -> None:
    ask = gpt(url).chat.completions.with_streaming_response.create
    with ask(**b.ASK, stream=True) as response:
        read(response.iter_bytes(7))


@way("openai chat parse", b.CHAT_JSON, api="openai.chat")
def _(url: str) -> None:
    gpt(url).chat.completions.parse(**b.ASK, response_format=Person)


@way("openai chat stream helper", b.CHAT_STREAM, api="openai.chat")
def _(url: str) -> None:
    with gpt(url).chat.completions.stream(**b.ASK) as stream:
        stream.get_final_completion()


@way("openai chat with_options", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    gpt(url).with_options(timeout=5).chat.completions.create(**b.ASK)


@way("openai chat extra_headers, extra_query, extra_body", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    more: dict[str, Any] = {"extra_query": {"v": "1"}, "extra_body": {"top_k": 3}}
    gpt(url).chat.completions.create(**b.ASK, extra_headers={"x-app": "1"}, **more)


@way("openai chat of another's base_url", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    gpt(url, base_url=url + "/some/proxy/v2").chat.completions.create(**b.ASK)


@way("openai chat by a legacy httpx client", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    gpt(url, http_client=httpx.Client()).chat.completions.create(**b.ASK)


@way("openai chat by a legacy httpx client, stream", b.CHAT_STREAM, api="openai.chat")
def _(url: str) -> None:
    client = gpt(url, http_client=httpx.Client())
    read(client.chat.completions.create(**b.ASK, stream=True))


@way("openai chat by a transport of the user's", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    client = httpx2.Client(transport=httpx2.HTTPTransport())
    gpt(url, http_client=client).chat.completions.create(**b.ASK)


@way("openai chat of the module's own client", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    openai.api_key, openai.base_url = KEY, url + "/v1/"
    openai.chat.completions.create(**b.ASK)


@way("openai client.post", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    gpt(url).post("/chat/completions", body=b.ASK, cast_to=dict[str, Any])


@way("openai chat, compressed", b.CHAT.gzipped(), api="openai.chat")
def _(url: str) -> None:
    gpt(url).chat.completions.create(**b.ASK)


@way("openai chat stream, compressed", b.CHAT_STREAM.gzipped(), api="openai.chat")
def _(url: str) -> None:
    read(gpt(url).chat.completions.create(**b.ASK, stream=True))


@way("azure chat", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    client = openai.AzureOpenAI(azure_endpoint=url, api_key=KEY, api_version="2024-10-21")
    client.chat.completions.create(**b.ASK)


@way("azure responses", b.RESPONSES, api="openai.responses")
def _(url: str) -> None:
    client = openai.AzureOpenAI(azure_endpoint=url, api_key=KEY, api_version="2025-04-01")
    client.responses.create(model="gpt-4o", input="hello")


# OpenAI, asynchronous


@way("openai async chat create", b.CHAT, api="openai.chat")
async def _(url: str) -> None:
    await async_gpt(url).chat.completions.create(**b.ASK)


@way("openai async chat create, stream", b.CHAT_STREAM, api="openai.chat")
async def _(url: str) -> None:
    await aread(await async_gpt(url).chat.completions.create(**b.ASK, stream=True))


@way("openai async chat with_raw_response", b.CHAT, api="openai.chat")
async def _(url: str) -> None:
    (await async_gpt(url).chat.completions.with_raw_response.create(**b.ASK)).parse()


@way("openai async chat with_streaming_response, iter_lines", b.CHAT_STREAM, api="openai.chat")
async def _(url: str) -> None:
    ask = async_gpt(url).chat.completions.with_streaming_response.create
    async with ask(**b.ASK, stream=True) as response:
        await aread(response.iter_lines())


@way("openai async chat parse", b.CHAT_JSON, api="openai.chat")
async def _(url: str) -> None:
    await async_gpt(url).chat.completions.parse(**b.ASK, response_format=Person)


@way("openai async chat stream helper", b.CHAT_STREAM, api="openai.chat")
async def _(url: str) -> None:
    async with async_gpt(url).chat.completions.stream(**b.ASK) as stream:
        await stream.get_final_completion()


@way("openai async chat by aiohttp", b.CHAT, api="openai.chat")
async def _(url: str) -> None:
    async with openai.DefaultAioHttpClient() as client:
        await async_gpt(url, http_client=client).chat.completions.create(**b.ASK)


@way("openai async chat by aiohttp, stream", b.CHAT_STREAM, api="openai.chat")
async def _(url: str) -> None:
    async with openai.DefaultAioHttpClient() as client:
        asked = async_gpt(url, http_client=client).chat.completions.create(**b.ASK, stream=True)
        await aread(await asked)


@way("openai async responses create, stream", b.RESPONSES_STREAM, api="openai.responses")
async def _(url: str) -> None:
    client = async_gpt(url)
    await aread(await client.responses.create(model="gpt-4o", input="hello", stream=True))


@way("openai async embeddings", b.EMBEDDING, api="openai.embeddings")
async def _(url: str) -> None:
    await async_gpt(url).embeddings.create(model="text-embedding-3-small", input="hello")


# OpenAI's other APIs


@way("openai responses create", b.RESPONSES, api="openai.responses")
def _(url: str) -> None:
    gpt(url).responses.create(model="gpt-4o", input="hello")


@way("openai responses create, stream", b.RESPONSES_STREAM, api="openai.responses")
def _(url: str) -> None:
    read(gpt(url).responses.create(model="gpt-4o", input="hello", stream=True))


@way("openai responses parse", b.RESPONSES, api="openai.responses")
def _(url: str) -> None:
    gpt(url).responses.parse(model="gpt-4o", input="hello", text_format=Person)


@way("openai responses stream helper", b.RESPONSES_STREAM, api="openai.responses")
def _(url: str) -> None:
    with gpt(url).responses.stream(model="gpt-4o", input="hello") as stream:
        stream.get_final_response()


@way("openai responses with_raw_response", b.RESPONSES, api="openai.responses")
def _(url: str) -> None:
    gpt(url).responses.with_raw_response.create(model="gpt-4o", input="hello").parse()


@way("openai responses in the background, fetched", b.QUEUED, b.RESPONSES, api="openai.responses")
def _(url: str) -> None:
    client = gpt(url)
    queued = client.responses.create(model="gpt-4o", input="hello", background=True)
    client.responses.retrieve(queued.id)


@way("openai completions", b.COMPLETION, api="openai.completions")
def _(url: str) -> None:
    gpt(url).completions.create(model="gpt-3.5-turbo-instruct", prompt="hello")


@way("openai embeddings", b.EMBEDDING, api="openai.embeddings")
def _(url: str) -> None:
    gpt(url).embeddings.create(model="text-embedding-3-small", input=["hello"])


@way("openai moderations", b.MODERATION, api="openai.moderations")
def _(url: str) -> None:
    gpt(url).moderations.create(model="omni-moderation-latest", input="hello")


@way("openai images generate", b.IMAGE, api="openai.images")
def _(url: str) -> None:
    gpt(url).images.generate(model="gpt-image-1", prompt="a cat")


@way("openai images edit", b.IMAGE, api="openai.images")
def _(url: str) -> None:
    gpt(url).images.edit(model="gpt-image-1", prompt="a cat", image=("cat.png", b"png" * 400))


@way("openai audio speech", b.SPEECH, api="openai.audio.speech")
def _(url: str) -> None:
    gpt(url).audio.speech.create(model="tts-1", voice="alloy", input="hello").read()


@way("openai audio transcriptions", b.TRANSCRIPT, api="openai.audio.transcriptions")
def _(url: str) -> None:
    sound = io.BytesIO(b"RIFF" * 1000)
    gpt(url).audio.transcriptions.create(model="whisper-1", file=("speech.wav", sound))


# Anthropic


@way("anthropic messages create", b.MESSAGES, api="anthropic.messages")
def _(url: str) -> None:
    claude(url).messages.create(**b.ASK_CLAUDE)


@way("anthropic messages create, stream", b.MESSAGES_STREAM, api="anthropic.messages")
def _(url: str) -> None:
    read(claude(url).messages.create(**b.ASK_CLAUDE, stream=True))


@way("anthropic messages stream helper", b.MESSAGES_STREAM, api="anthropic.messages")
def _(url: str) -> None:
    with claude(url).messages.stream(**b.ASK_CLAUDE) as stream:
        stream.get_final_message()


@way("anthropic messages with_raw_response", b.MESSAGES, api="anthropic.messages")
def _(url: str) -> None:
    claude(url).messages.with_raw_response.create(**b.ASK_CLAUDE).parse()


@way("anthropic messages with_streaming_response", b.MESSAGES_STREAM, api="anthropic.messages")
def _(url: str) -> None:
    ask = claude(url).messages.with_streaming_response.create
    with ask(**b.ASK_CLAUDE, stream=True) as response:
        read(response.iter_lines())


@way("anthropic beta messages", b.MESSAGES, api="anthropic.messages")
def _(url: str) -> None:
    claude(url).beta.messages.create(**b.ASK_CLAUDE, betas=["files-api-2025-04-14"])


@way("anthropic async messages create", b.MESSAGES, api="anthropic.messages")
async def _(url: str) -> None:
    await async_claude(url).messages.create(**b.ASK_CLAUDE)


@way("anthropic async messages create, stream", b.MESSAGES_STREAM, api="anthropic.messages")
async def _(url: str) -> None:
    await aread(await async_claude(url).messages.create(**b.ASK_CLAUDE, stream=True))


@way("anthropic async messages stream helper", b.MESSAGES_STREAM, api="anthropic.messages")
async def _(url: str) -> None:
    async with async_claude(url).messages.stream(**b.ASK_CLAUDE) as stream:
        await stream.get_final_message()


def _claude_of_aws(url: str) -> Any:
    given = {"aws_access_key": "key", "aws_secret_key": "secret", "aws_region": "us-east-1"}
    return anthropic.AnthropicBedrock(base_url=url, max_retries=0, **given)


@way("anthropic bedrock", b.MESSAGES, api="anthropic.messages")
def _(url: str) -> None:
    _claude_of_aws(url).messages.create(**b.ASK_CLAUDE)


@way("anthropic bedrock, stream", b.BEDROCK_MESSAGES_STREAM, api="anthropic.messages")
def _(url: str) -> None:
    read(_claude_of_aws(url).messages.create(**b.ASK_CLAUDE, stream=True))


def _claude_of_google(url: str) -> Any:
    given = {"region": "us-east5", "project_id": "project", "access_token": "a token"}
    return anthropic.AnthropicVertex(base_url=url, max_retries=0, **given)


@way("anthropic vertex", b.MESSAGES, api="anthropic.messages")
def _(url: str) -> None:
    _claude_of_google(url).messages.create(**b.ASK_CLAUDE)


@way("anthropic vertex, stream", b.MESSAGES_STREAM, api="anthropic.messages")
def _(url: str) -> None:
    read(_claude_of_google(url).messages.create(**b.ASK_CLAUDE, stream=True))


# Google


@way("gemini generate_content", b.GEMINI, api="google.generate_content")
def _(url: str) -> None:
    gemini(url).models.generate_content(**b.ASK_GEMINI)


@way("gemini generate_content_stream", b.GEMINI_STREAM, api="google.generate_content")
def _(url: str) -> None:
    read(gemini(url).models.generate_content_stream(**b.ASK_GEMINI))


@way("gemini chats", b.GEMINI, api="google.generate_content")
def _(url: str) -> None:
    gemini(url).chats.create(model="gemini-2.5-flash").send_message("hello")


@way("gemini embed_content", b.GEMINI_EMBEDDING, api="google.embed_content")
def _(url: str) -> None:
    gemini(url).models.embed_content(model="gemini-embedding-001", contents="hello")


@way("gemini interactions", b.INTERACTION, api="google.interactions")
def _(url: str) -> None:
    gemini(url).interactions.create(model="gemini-2.5-flash", input="hello")


@way("gemini async by aiohttp", b.GEMINI, api="google.generate_content")
async def _(url: str) -> None:
    async with gemini(url).aio as client:
        await client.models.generate_content(**b.ASK_GEMINI)


@way("gemini async by aiohttp, stream", b.GEMINI_STREAM, api="google.generate_content")
async def _(url: str) -> None:
    async with gemini(url).aio as client:
        await aread(await client.models.generate_content_stream(**b.ASK_GEMINI))


@way("gemini async by httpx2", b.GEMINI, api="google.generate_content")
async def _(url: str) -> None:
    client = gemini(url, httpx_async_client=httpx2.AsyncClient())
    await client.aio.models.generate_content(**b.ASK_GEMINI)


@way("gemini of vertex", b.GEMINI, api="google.generate_content")
def _(url: str) -> None:
    where = {"vertexai": True, "project": "project", "location": "us-central1"}
    client = genai.Client(
        **where, credentials=Credentials("a token"), http_options={"base_url": url}
    )
    client.models.generate_content(**b.ASK_GEMINI)


# AWS


@way("bedrock converse", b.CONVERSE, api="bedrock.converse")
def _(url: str) -> None:
    bedrock(url).converse(**b.ASK_BEDROCK)


@way("bedrock converse_stream", b.CONVERSE_STREAM, api="bedrock.converse")
def _(url: str) -> None:
    read(bedrock(url).converse_stream(**b.ASK_BEDROCK)["stream"])


@way("bedrock invoke_model", b.TITAN, api="bedrock.titan")
def _(url: str) -> None:
    bedrock(url).invoke_model(**b.ASK_TITAN)["body"].read()


@way("bedrock invoke_model_with_response_stream", b.TITAN_STREAM, api="bedrock.titan")
def _(url: str) -> None:
    read(bedrock(url).invoke_model_with_response_stream(**b.ASK_TITAN)["body"])


# The others


def _mistral(url: str) -> mistral.Mistral:
    return mistral.Mistral(api_key=KEY, server_url=url)


@way("mistral complete", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    _mistral(url).chat.complete(**b.ASK)


@way("mistral stream", b.CHAT_STREAM, api="openai.chat")
def _(url: str) -> None:
    with _mistral(url).chat.stream(**b.ASK) as stream:
        read(stream)


@way("mistral complete_async", b.CHAT, api="openai.chat")
async def _(url: str) -> None:
    await _mistral(url).chat.complete_async(**b.ASK)


@way("mistral stream_async", b.CHAT_STREAM, api="openai.chat")
async def _(url: str) -> None:
    async with await _mistral(url).chat.stream_async(**b.ASK) as stream:
        await aread(stream)


@way("cohere chat", b.COHERE, api="cohere.chat")
def _(url: str) -> None:
    cohere.ClientV2(KEY, base_url=url).chat(model="command-r", messages=b.HELLO)


@way("cohere chat_stream", b.COHERE_STREAM, api="cohere.chat")
def _(url: str) -> None:
    read(cohere.ClientV2(KEY, base_url=url).chat_stream(model="command-r", messages=b.HELLO))


@way("groq chat", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    groq.Groq(base_url=url, api_key=KEY).chat.completions.create(**b.ASK)


@way("groq chat, stream", b.CHAT_STREAM, api="openai.chat")
def _(url: str) -> None:
    read(groq.Groq(base_url=url, api_key=KEY).chat.completions.create(**b.ASK, stream=True))


@way("ollama chat", b.OLLAMA, api="ollama.chat")
def _(url: str) -> None:
    ollama.Client(url).chat(model="llama3", messages=b.HELLO)


@way("ollama chat, stream", b.OLLAMA_STREAM, api="ollama.chat")
def _(url: str) -> None:
    read(ollama.Client(url).chat(model="llama3", messages=b.HELLO, stream=True))


def _litellm(url: str) -> Mapping[str, Any]:
    named = {"model": "openai/gpt-4o", "messages": b.HELLO}
    return {**named, "api_base": url + "/v1", "api_key": KEY, "num_retries": 0}


@way("litellm completion", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    litellm.completion(**_litellm(url))


@way("litellm completion, stream", b.CHAT_STREAM, api="openai.chat")
def _(url: str) -> None:
    read(litellm.completion(**_litellm(url), stream=True))


@way("litellm acompletion", b.CHAT, api="openai.chat")
async def _(url: str) -> None:
    await litellm.acompletion(**_litellm(url))


@way("litellm acompletion, stream", b.CHAT_STREAM, api="openai.chat")
async def _(url: str) -> None:
    await aread(await litellm.acompletion(**_litellm(url), stream=True))


@way("httpx post", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    httpx.post(url + "/v1/chat/completions", json=b.ASK).json()


@way("httpx2 stream", b.CHAT_STREAM, api="openai.chat")
def _(url: str) -> None:
    asked = {**b.ASK, "stream": True}
    with httpx2.stream("POST", url + "/v1/chat/completions", json=asked) as response:
        read(response.iter_lines())

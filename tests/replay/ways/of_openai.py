"""The ways of calling OpenAI's client: plain, streamed, raw, by helpers, sync and async."""

import io
from typing import Any

import httpx
import httpx2
import openai
from pydantic import BaseModel
from replay import bodies as b
from replay.ways import KEY, aread, async_gpt, gpt, read, way


class Person(BaseModel):
    """What a model is asked to fill in."""

    name: str
    age: int


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


@way("openai moderations", b.MODERATION, api="openai.moderation")
def _(url: str) -> None:
    gpt(url).moderations.create(model="omni-moderation-latest", input="hello")


@way("openai images generate", b.IMAGE, api="openai.images")
def _(url: str) -> None:
    gpt(url).images.generate(model="gpt-image-1", prompt="a cat")


@way("openai images edit", b.IMAGE, api="openai.images")
def _(url: str) -> None:
    gpt(url).images.edit(model="gpt-image-1", prompt="a cat", image=("cat.png", b"png" * 400))


@way("openai audio speech", b.SPEECH, api=None)
def _(url: str) -> None:
    gpt(url).audio.speech.create(model="tts-1", voice="alloy", input="hello").read()


@way("openai audio transcriptions", b.TRANSCRIPT, api=None)
def _(url: str) -> None:
    sound = io.BytesIO(b"RIFF" * 1000)
    gpt(url).audio.transcriptions.create(model="whisper-1", file=("speech.wav", sound))

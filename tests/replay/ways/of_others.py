"""The ways of calling the clients of Anthropic, Google, AWS and others, and plain HTTP."""

import os
from collections.abc import Mapping
from typing import Any

import anthropic
import cohere
import groq
import httpx
import httpx2
import mistralai.client as mistral
import ollama
from google import genai
from google.oauth2.credentials import Credentials
from replay import bodies as b
from replay.ways import KEY, aread, async_claude, bedrock, claude, gemini, read, way

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
    client = gemini(url)  # without a name it is closed before it has sent
    client.models.generate_content(**b.ASK_GEMINI)


@way("gemini generate_content_stream", b.GEMINI_STREAM, api="google.generate_content")
def _(url: str) -> None:
    client = gemini(url)
    read(client.models.generate_content_stream(**b.ASK_GEMINI))


@way("gemini chats", b.GEMINI, api="google.generate_content")
def _(url: str) -> None:
    client = gemini(url)
    client.chats.create(model="gemini-2.5-flash").send_message("hello")


@way("gemini embed_content", b.GEMINI_EMBEDDING, api="google.embed_content")
def _(url: str) -> None:
    client = gemini(url)
    client.models.embed_content(model="gemini-embedding-001", contents="hello")


@way("gemini interactions", b.INTERACTION, api="google.interactions")
def _(url: str) -> None:
    client = gemini(url)
    client.interactions.create(model="gemini-2.5-flash", input="hello")


@way("gemini interactions, stream", b.INTERACTION_STREAM, api="google.interactions")
def _(url: str) -> None:
    client = gemini(url)
    read(client.interactions.create(model="gemini-2.5-flash", input="hello", stream=True))


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


def _agents(url: str) -> Any:
    return bedrock(url, service="bedrock-agent-runtime")


@way("bedrock invoke_agent", b.AGENT, api="bedrock.agent")
def _(url: str) -> None:
    read(_agents(url).invoke_agent(**b.ASK_AGENT, inputText="hi")["completion"])


@way("bedrock invoke_inline_agent", b.AGENT, api="bedrock.agent")
def _(url: str) -> None:
    asked = {"foundationModel": "nova", "instruction": "Answer as a friendly helper, in one line."}
    read(
        _agents(url).invoke_inline_agent(sessionId="session", inputText="hi", **asked)["completion"]
    )


@way("bedrock invoke_flow", b.FLOW, api="bedrock.flow")
def _(url: str) -> None:
    read(_agents(url).invoke_flow(**b.ASK_FLOW)["responseStream"])


@way("bedrock retrieve_and_generate", b.RAG, api="bedrock.rag")
def _(url: str) -> None:
    _agents(url).retrieve_and_generate(**b.ASK_RAG)


@way("bedrock retrieve_and_generate_stream", b.RAG_STREAM, api="bedrock.rag")
def _(url: str) -> None:
    read(_agents(url).retrieve_and_generate_stream(**b.ASK_RAG)["stream"])


@way("sagemaker invoke_endpoint", b.GENERATION, api="huggingface.generation")
def _(url: str) -> None:
    client = bedrock(url, service="sagemaker-runtime")
    client.invoke_endpoint(**b.ASK_SAGEMAKER)["Body"].read()


@way("sagemaker with response stream", b.GENERATION_STREAM, api="huggingface.generation")
def _(url: str) -> None:
    client = bedrock(url, service="sagemaker-runtime")
    read(client.invoke_endpoint_with_response_stream(**b.ASK_SAGEMAKER)["Body"])


@way("bedrock retrieve", b.RETRIEVED, api="bedrock.retrieve")
def _(url: str) -> None:
    _agents(url).retrieve(knowledgeBaseId="BASE123456", retrievalQuery={"text": "hi"})


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


def _litellm() -> Any:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks for one as it is imported
    import litellm

    return litellm


def _to_litellm(url: str) -> Mapping[str, Any]:
    named = {"model": "openai/gpt-4o", "messages": b.HELLO}
    return {**named, "api_base": url + "/v1", "api_key": KEY, "num_retries": 0}


@way("litellm completion", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    _litellm().completion(**_to_litellm(url))


@way("litellm completion, stream", b.CHAT_STREAM, api="openai.chat")
def _(url: str) -> None:
    read(_litellm().completion(**_to_litellm(url), stream=True))


@way("litellm acompletion", b.CHAT, api="openai.chat")
async def _(url: str) -> None:
    await _litellm().acompletion(**_to_litellm(url))


@way("litellm acompletion, stream", b.CHAT_STREAM, api="openai.chat")
async def _(url: str) -> None:
    await aread(await _litellm().acompletion(**_to_litellm(url), stream=True))


@way("httpx post", b.CHAT, api="openai.chat")
def _(url: str) -> None:
    httpx.post(url + "/v1/chat/completions", json=b.ASK).json()


@way("httpx2 stream", b.CHAT_STREAM, api="openai.chat")
def _(url: str) -> None:
    asked = {**b.ASK, "stream": True}
    with httpx2.stream("POST", url + "/v1/chat/completions", json=asked) as response:
        read(response.iter_lines())

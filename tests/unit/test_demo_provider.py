"""The demo's provider, asked through the real OpenAI client."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llm_audit.demo import provider

openai = pytest.importorskip("openai")

QUESTION: list[Any] = [{"role": "user", "content": "What is missing?"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"company_name": {"type": "string"}, "limit": {"type": "integer"}},
            },
        },
    }
    for name in ("get_competitor_data", "get_reviews")
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve for all the tests of this file."""
    with provider.serve() as base_url:
        yield base_url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Any]:
    """Ask without retries and without a proxy."""
    with client_of(url) as client:
        yield client


def client_of(url: str, **options: Any) -> Any:
    http_client = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(
        base_url=url, api_key="demo", max_retries=0, http_client=http_client, **options
    )


def ask(client: Any, messages: list[Any], **parameters: Any) -> Any:
    return client.chat.completions.create(model="gpt-4", messages=messages, **parameters)


def test_equal_requests_have_equal_answers(client: Any) -> None:
    """An answer depends on nothing but the request."""
    first, second = ask(client, QUESTION), ask(client, QUESTION)
    other = ask(client, [{"role": "user", "content": "What is there?"}])

    assert first.to_dict() == second.to_dict()
    assert first.id != other.id
    assert first.model == "gpt-4"
    assert first.choices[0].finish_reason == "stop"
    assert first.choices[0].message.content == "An answer to: What is missing?"


def test_usage_adds_up(client: Any) -> None:
    """The total is the sum of its parts, and a longer prompt has more tokens."""
    short = ask(client, QUESTION).usage
    long = ask(client, [*QUESTION, *QUESTION]).usage

    assert short.total_tokens == short.prompt_tokens + short.completion_tokens
    assert 0 < short.prompt_tokens < long.prompt_tokens
    assert short.completion_tokens > 0


@pytest.mark.parametrize(
    ("system", "text", "reply"),
    [
        ("Analyze sentiment.", "We love it", "positive"),
        ("Analyze sentiment.", "It is slow", "negative"),
        ("Analyze sentiment.", "It exists", "neutral"),
        ("Classify into: product_gap, support", "What is missing?", "product_gap"),
    ],
)
def test_the_system_message_chooses_the_kind_of_answer(
    client: Any, system: str, text: str, reply: str
) -> None:
    """Sentiment and classification prompts get one of the words they ask for."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]

    assert ask(client, messages).choices[0].message.content == reply


def test_tools_are_called_until_there_is_a_result(client: Any) -> None:
    """The first answer is a tool call that fits the schema; with its result there is a text."""
    asked = ask(client, QUESTION, tools=TOOLS, tool_choice="auto").choices[0]
    (call,) = asked.message.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": "{}"}
    told = ask(client, [*QUESTION, asked.message.to_dict(), result], tools=TOOLS).choices[0]

    assert asked.finish_reason == "tool_calls"
    assert asked.message.content is None
    assert call.function.name == "get_competitor_data"
    assert call.function.arguments == '{"company_name": "Gorgias", "limit": 1}'
    assert told.finish_reason == "stop"
    assert told.message.tool_calls is None
    assert told.message.content


def test_tool_choice_is_obeyed(client: Any) -> None:
    """A tool asked for by name is called, and none where none is wanted."""
    choice = {"type": "function", "function": {"name": "get_reviews"}}
    named = ask(client, QUESTION, tools=TOOLS, tool_choice=choice).choices[0].message
    none = ask(client, QUESTION, tools=TOOLS, tool_choice="none").choices[0].message

    assert named.tool_calls[0].function.name == "get_reviews"
    assert none.tool_calls is None


def test_a_stream_is_the_same_answer_in_pieces(client: Any) -> None:
    """The pieces of a stream make up the answer; the usage comes last, if it is asked for."""
    whole = ask(client, QUESTION)
    chunks = list(ask(client, QUESTION, stream=True, stream_options={"include_usage": True}))
    silent = list(ask(client, QUESTION, stream=True))
    deltas = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]

    assert len(deltas) > 3
    assert "".join(filter(None, deltas)) == whole.choices[0].message.content
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage == whole.usage
    assert [chunk.usage for chunk in silent] == [None] * (len(chunks) - 1)


def test_a_tool_call_can_be_streamed(client: Any) -> None:
    """A streamed tool call has its name first and its arguments after it."""
    whole = ask(client, QUESTION, tools=TOOLS).choices[0].message.tool_calls[0]
    chunks = list(ask(client, QUESTION, tools=TOOLS, stream=True))
    pieces = [piece for chunk in chunks for piece in chunk.choices[0].delta.tool_calls or ()]

    assert pieces[0].function.name == whole.function.name
    assert "".join(piece.function.arguments for piece in pieces) == whole.function.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("text", "error", "kind"),
    [
        ("busy [429]", openai.RateLimitError, "requests"),
        ("broken [500]", openai.InternalServerError, "server_error"),
    ],
)
def test_marks_bring_errors(client: Any, text: str, error: type[Any], kind: str) -> None:
    """A mark in the last message brings its status, with OpenAI's error body."""
    with pytest.raises(error) as caught:
        ask(client, [{"role": "user", "content": text}])

    assert caught.value.type == kind
    assert caught.value.body["message"]


def test_marks_in_earlier_messages_do_nothing(client: Any) -> None:
    """Only the last message is looked at, so a conversation can go on after an error."""
    answer = ask(client, [{"role": "user", "content": "[429] [hang]"}, *QUESTION])

    assert answer.choices[0].finish_reason == "stop"


def test_requests_it_does_not_understand_are_refused(client: Any) -> None:
    """No messages and unknown paths get the errors that OpenAI gives."""
    with pytest.raises(openai.BadRequestError, match="messages"):
        ask(client, [])
    with pytest.raises(openai.NotFoundError, match="/v1/embeddings"):
        client.embeddings.create(model="text-embedding-3-small", input="x")


def test_a_hanging_call_ends_with_its_client(url: str) -> None:
    """A call that is never answered goes on until the client gives up, and then is forgotten."""
    with client_of(url, timeout=0.2) as client, pytest.raises(openai.APITimeoutError):
        ask(client, [{"role": "user", "content": "silence [hang]"}])


def test_the_end_of_the_provider_ends_hanging_calls() -> None:
    """A client that waits is let go when the provider stops, and no thread of it is left."""
    before = set(threading.enumerate())
    with ThreadPoolExecutor(1) as executor:
        with provider.serve() as url, client_of(url) as client:
            waiting = executor.submit(ask, client, [{"role": "user", "content": "[hang]"}])
            ask(client, QUESTION)
        with pytest.raises(openai.APIConnectionError):
            waiting.result()

    assert set(threading.enumerate()) <= before


async def test_the_async_client_works_too(url: str) -> None:
    """Async code gets the same answers and the same streams."""
    http_client = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(base_url=url, api_key="demo", http_client=http_client) as client:
        whole = await ask(client, QUESTION)
        stream = await ask(client, QUESTION, stream=True)
        pieces = [chunk.choices[0].delta.content async for chunk in stream]

    assert "".join(filter(None, pieces)) == whole.choices[0].message.content

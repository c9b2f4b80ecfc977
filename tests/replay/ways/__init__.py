"""What a way of calling is, and the clients that are called: see of_openai, of_others.

A way is a function of the server's URL, which asks once and reads what comes to its end, unless its
name says otherwise.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import anthropic
import boto3
import openai
from botocore.config import Config
from google import genai
from replay.running import Run
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

    def go(self, url: str, run: Run) -> None:
        """Ask."""
        asked = self.ask(url)
        if inspect.iscoroutine(asked):
            run(asked)


WAYS: list[Way] = []
Asker = Callable[[str], Any]


def way(name: str, *answers: Answer, api: str | None) -> Callable[[Asker], Asker]:
    """Add a function to the ways of calling."""

    def add(ask: Asker) -> Asker:
        WAYS.append(Way(name, ask, answers, api, answers[-1].is_stream))
        return ask

    return add


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


def bedrock(url: str, attempts: int = 1, service: str = "bedrock-runtime") -> Any:
    """Return a client of AWS Bedrock's runtime, or of another of its services."""
    session = boto3.Session("key", "secret", region_name="us-east-1")
    retries = {"total_max_attempts": attempts, "mode": "standard"}
    config = Config(retries=retries, read_timeout=60)  # type: ignore[arg-type]
    return session.client(service, endpoint_url=url, config=config)


def read(pieces: Iterable[Any]) -> None:
    """Iterate to the end."""
    for _ in pieces:
        pass


async def aread(pieces: Any) -> None:
    """Iterate to the end."""
    async for _ in pieces:
        pass

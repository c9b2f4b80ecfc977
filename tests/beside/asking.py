"""Asks a server for a plain answer and a streamed one, by any client of httpx or aiohttp."""

from collections.abc import Callable
from typing import Any

Same = Callable[[Callable[[], Any]], list[tuple[str, str | None, str | None]]]
"""Has something asked without capture and with it; returns what is recorded."""
PATH = "/v1/chat/completions"
PLAIN: dict[str, Any] = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}
STREAMED = {**PLAIN, "stream": True}
WORDS = "word 0 word 1 word 2 "


def recorded(captured_by: str, times: int = 1) -> list[tuple[str, str, str]]:
    """Return what is recorded of both."""
    return [("SUCCESS", captured_by, "Hello!"), ("SUCCESS", captured_by, WORDS)] * times


def ask(client: Any, url: str) -> list[Any]:
    """Ask for both; return what the app sees."""
    plain = client.post(url, json=PLAIN)
    with client.stream("POST", url, json=STREAMED) as response:
        seen = [*response.iter_lines()]
    return [plain.json(), plain.http_version, type(plain), seen, type(response.stream).__name__]


async def ask_async(client: Any, url: str) -> list[Any]:
    """Do the same."""
    plain = await client.post(url, json=PLAIN)
    async with client.stream("POST", url, json=STREAMED) as response:
        seen = [line async for line in response.aiter_lines()]
    return [plain.json(), plain.http_version, type(plain), seen, type(response.stream).__name__]


async def ask_aiohttp(session: Any, url: str) -> list[Any]:
    """Do the same."""
    async with session.post(url, json=PLAIN) as plain:
        said = await plain.json(content_type=None)
    async with session.post(url, json=STREAMED) as response:
        seen = [chunk async for chunk in response.content]
    return [said, type(plain).__name__, b"".join(seen), type(response.content).__name__]

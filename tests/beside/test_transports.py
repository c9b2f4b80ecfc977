"""Whatever carries a call, the app sees what it saw, and the call is recorded once."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
from beside.asking import PATH, PLAIN, STREAMED, WORDS, Same, ask, ask_aiohttp, ask_async, recorded
from replay.bodies import CHAT, CHAT_STREAM
from replay.server import ReplayServer, failure, redirect

MODULES: list[Any] = [httpx, httpx2]


async def _answer(_: Any, receive: Any, send: Any) -> None:
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    answer = CHAT_STREAM if b'"stream":' in body else CHAT
    headers = [(b"content-type", answer.content_type.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for piece in answer.pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def http2_server() -> Iterator[str]:
    """Serve HTTP/2 without TLS, as who knows that beforehand may speak it."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.loglevel = "CRITICAL"
    over = threading.Event()

    async def until_over() -> None:
        await asyncio.to_thread(over.wait)

    def run() -> None:
        asyncio.run(serve(_answer, config, shutdown_trigger=until_over))  # type: ignore[arg-type]

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield url
    finally:
        over.set()
        thread.join()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_http2(same: Same) -> None:
    """Calls share a connection, also at once: each is told from the others."""
    with http2_server() as server:
        url = server + PATH

        def both() -> list[Any]:
            seen = []
            for module in MODULES:
                with module.Client(http1=False, http2=True) as client:
                    seen += ask(client, url)
                seen += asyncio.run(at_once(module))
            return seen

        async def at_once(module: Any) -> list[Any]:
            async with module.AsyncClient(http1=False, http2=True) as client:
                each = await asyncio.gather(*(ask_async(client, url) for _ in range(5)))
            return [one for seen in each for one in seen]

        calls = same(both)
    assert calls.count(("SUCCESS", "httpx", "Hello!")) == 6
    assert calls.count(("SUCCESS", "httpx2", WORDS)) == 6
    assert len(calls) == 24


async def _all(url: str) -> list[Any]:
    """Ask with every asynchronous client."""
    seen = []
    for module in MODULES:
        async with module.AsyncClient() as client:
            seen += await ask_async(client, url)
    async with aiohttp.ClientSession() as session:
        seen += await ask_aiohttp(session, url)
    return seen


def test_uvloop(same: Same, server: ReplayServer) -> None:
    """Another event loop, with transports of its own."""
    import uvloop

    calls = same(lambda: uvloop.run(_all(server.url + PATH)))
    assert calls == recorded("httpx") + recorded("httpx2") + recorded("aiohttp")


def test_trio(same: Same, server: ReplayServer) -> None:
    """No asyncio at all: calls end, and are cancelled, in trio's own tasks."""
    import trio

    url = server.url + PATH

    async def go(module: Any) -> list[Any]:
        async with module.AsyncClient() as client:
            seen = await ask_async(client, url)
            with trio.CancelScope() as scope:
                async with client.stream("POST", url, json=PLAIN):
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
            with trio.CancelScope() as scope:
                scope.cancel()
                await client.post(url, json=PLAIN)
            server.play(CHAT, CHAT_STREAM)
        return seen

    def all_of_them() -> list[Any]:
        seen = []
        for module in MODULES:
            server.play(CHAT, CHAT_STREAM, CHAT_STREAM, CHAT)
            seen += trio.run(go, module)
        return seen

    calls = same(all_of_them)
    for module, ends in (("httpx", calls[:4]), ("httpx2", calls[4:])):
        assert ends[:2] == recorded(module)
        assert [status for status, *_ in ends[2:]] == ["CANCELLED", "CANCELLED"]


@pytest.mark.parametrize("module", MODULES)
def test_clients_of_every_shape(module: Any, same: Same, server: ReplayServer) -> None:
    """Hooks, auth flows, redirects, mounts, transports and subclasses of the app's: all run on."""
    happened: list[str] = []

    class Signing(module.Auth):  # type: ignore[name-defined,misc]
        requires_response_body = True

        def auth_flow(self, request: Any) -> Iterator[Any]:
            response = yield request
            happened.append(f"auth {response.status_code} {len(response.content)}")
            if response.status_code == 401:
                request.headers["authorization"] = "second"
                yield request

    class Carrying(module.HTTPTransport):  # type: ignore[name-defined,misc]
        def handle_request(self, request: Any) -> Any:
            happened.append(f"carried {request.url.path}")
            return super().handle_request(request)

    class Counting(module.Client):  # type: ignore[name-defined,misc]
        def send(self, request: Any, **given: Any) -> Any:
            happened.append("sent")
            return super().send(request, **given)

    def hook(what: str) -> Callable[[Any], None]:
        return lambda seen: happened.append(f"{what} {seen.url.path}")

    def go() -> list[Any]:
        happened.clear()
        server.play(failure(401), redirect("/v1/elsewhere"), CHAT, redirect("/other"), CHAT_STREAM)
        with Counting(
            auth=Signing(),
            follow_redirects=True,
            mounts={"http://": Carrying()},
            event_hooks={"request": [hook("request")], "response": [hook("response")]},
            base_url=server.url,
        ) as client:
            return [*ask(client, PATH), *happened]

    assert same(go) == recorded(module.__name__)
    assert happened.count("sent") == 2
    assert sum(one.startswith("carried") for one in happened) == 5


def test_tracing_and_middlewares_of_aiohttp(same: Same, server: ReplayServer) -> None:
    """The app is told of its requests what it was told, and its middlewares try again."""
    happened: list[str] = []

    async def again(request: Any, handler: Any) -> Any:
        happened.append("middleware")
        response = await handler(request)
        if response.status == 429:
            response.release()
            response = await handler(request)
        return response

    def traced() -> aiohttp.TraceConfig:
        config = aiohttp.TraceConfig()
        for name in ("request_start", "request_chunk_sent", "response_chunk_received"):

            async def note(_: Any, __: Any, params: Any, name: str = name) -> None:
                happened.append(f"{name} {len(getattr(params, 'chunk', b''))}")

            getattr(config, f"on_{name}").append(note)
        return config

    async def go() -> list[Any]:
        async with aiohttp.ClientSession(
            trace_configs=[traced()], middlewares=[again], base_url=server.url
        ) as session:
            return await ask_aiohttp(session, PATH)

    def all_of_it() -> list[Any]:
        happened.clear()
        server.play(failure(429), CHAT, CHAT_STREAM)
        return [*asyncio.run(go()), *happened]

    assert same(all_of_it) == recorded("aiohttp")
    assert happened.count("middleware") == 2


def test_threads_share_a_client(same: Same, server: ReplayServer) -> None:
    """Each has its own calls, whoever's connection they go through."""
    server.play(CHAT_STREAM)
    with httpx2.Client(limits=httpx2.Limits(max_connections=2)) as client:

        def go() -> list[Any]:
            seen: list[Any] = []

            def read() -> None:
                for _ in range(3):
                    with client.stream("POST", server.url + PATH, json=STREAMED) as response:
                        seen.append([*response.iter_lines()])

            threads = [threading.Thread(target=read) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return seen

        assert same(go) == [("SUCCESS", "httpx2", WORDS)] * 18

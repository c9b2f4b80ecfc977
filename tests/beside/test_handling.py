"""What people and tools do to classes that are hooked, and to what they return."""

import asyncio
import copy
import gc
import importlib
import inspect
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import aiohttp
import httpx
import httpx2
import pytest
from beside.asking import PATH, PLAIN, STREAMED, WORDS, Same, recorded
from replay.bodies import CHAT, CHAT_STREAM
from replay.server import ReplayServer

import llm_audit
from llm_audit.recorder.captured import Captured
from llm_audit.testing import RecordedCalls


def chat(server: ReplayServer) -> Any:
    with httpx.Client() as client:
        return client.post(server.url + PATH, json=PLAIN).json()


def wrap() -> Callable[[], None]:
    """Wrap as other tools do, without a trace of what is wrapped; return what undoes it."""
    inner = vars(httpx.Client)["send"]

    def send(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    httpx.Client.send = send  # type: ignore[method-assign]
    return lambda: setattr(httpx.Client, "send", inner)


ON, OFF, WRAP, UNWRAP, ASK, ASK_UNSEEN = "on", "off", "wrap", "unwrap", "ask", "ask unseen"


@pytest.mark.parametrize(
    "steps",
    [
        (ON, WRAP, ASK, OFF, ASK_UNSEEN, UNWRAP, ASK_UNSEEN, ON, ASK),
        (ON, WRAP, OFF, ON, ASK, UNWRAP, ASK),
        (ON, WRAP, ON, ON, ASK, UNWRAP, OFF, ASK_UNSEEN),
        (WRAP, ON, ASK, UNWRAP, ASK_UNSEEN, ON, ASK, OFF, ASK_UNSEEN),
        (WRAP, ON, OFF, UNWRAP, ON, ASK),
        (ON, OFF, ON, OFF, ASK_UNSEEN, ON, WRAP, WRAP, ASK, OFF, UNWRAP, UNWRAP, ASK_UNSEEN),
    ],
    ids=" ".join,
)
def test_others_come_and_go_in_any_order(
    steps: tuple[str, ...], server: ReplayServer, llm_audit_records: RecordedCalls
) -> None:
    """A call is recorded once or not at all; what others have put on stays theirs."""
    server.play(CHAT)
    undo: list[Callable[[], None]] = []
    expected = 0
    for step in steps:
        if step in {ASK, ASK_UNSEEN}:
            assert chat(server)["id"] == "chatcmpl-1"
            expected += step == ASK
        elif step == WRAP:
            undo.append(wrap())
        elif step == UNWRAP:
            undo.pop()()
        else:
            (llm_audit.instrument if step == ON else llm_audit.uninstrument)()
        assert len(llm_audit_records) == expected, step
    assert Captured.counts.faults == 0


def test_classes_look_as_they_did(same: Same) -> None:
    """Signatures, names, kinds, documentation, pickles by name, specs of mocks."""
    methods = [
        *(httpx.Client.send, httpx.AsyncClient.send, httpx.Response.close),
        *(httpx2.Client.send, httpx2.AsyncClient.send, httpx2.Response.close),
        aiohttp.ClientSession._request,
    ]

    def look() -> list[Any]:
        found = []
        for named in methods:
            owner = getattr(sys.modules[named.__module__], named.__qualname__.partition(".")[0])
            method = getattr(owner, named.__name__)
            assert pickle.loads(pickle.dumps(method)) is method
            found += [
                *(inspect.signature(method), method.__name__, method.__qualname__, method.__doc__),
                *(inspect.iscoroutinefunction(method), inspect.isfunction(method)),
                *(inspect.signature(mock.create_autospec(method)), method.__annotations__),
            ]
        return found

    assert same(look) == []


def test_mocks_stand_in_for_clients(server: ReplayServer, same: Same) -> None:
    """A client, its class or its method is a mock for a while; then all is as before."""

    def go() -> list[Any]:
        with mock.patch.object(httpx.Client, "send", autospec=True) as send:
            send.return_value = httpx.Response(200, json={"is": "mocked"})
            seen = [chat(server), send.call_count]
        with mock.patch("httpx.Client") as client:
            httpx.Client().send(1)
            seen.append(client.mock_calls)
        server.play(CHAT)
        return [*seen, chat(server)]

    assert same(go) == recorded("httpx")[:1]


@pytest.mark.parametrize("module", [httpx, httpx2])
def test_answers_are_handled_like_any_other(module: Any, same: Same, server: ReplayServer) -> None:
    """Pickled, copied, referred to weakly, asked what they are; before and after they are read."""

    def go() -> list[Any]:
        server.play(CHAT, CHAT_STREAM)
        with module.Client() as client:
            plain = client.post(server.url + PATH, json=PLAIN)
            request = client.build_request("POST", server.url + PATH, json=STREAMED)
            response = client.send(request, stream=True)
            stream = response.stream
            seen: list[Any] = [type(stream).__name__, isinstance(stream, module.SyncByteStream)]
            seen += [weakref.ref(stream)() is stream, repr(stream)[:40], sorted(dir(response))]
            shared = copy.copy(stream)
            del stream, shared
            gc.collect()
            seen.append(b"".join(response.iter_bytes()))
            response.close()
        seen += [plain.elapsed is not None, response.elapsed is not None]
        for one in (plain, response, copy.copy(plain)):
            seen += [one.http_version, one.is_closed]
        again = pickle.loads(pickle.dumps(plain))
        return [*seen, again.json(), again.status_code, again.request.url]

    assert same(go) == recorded(module.__name__)


def test_it_is_taken_off_in_mid_call(
    server: ReplayServer, llm_audit_records: RecordedCalls
) -> None:
    """What is under way is recorded to its end, streamed or not; what is asked then is not."""

    async def go() -> None:
        async with httpx2.AsyncClient() as client, client.stream("POST", url, json=STREAMED) as s:
            assert b"[DONE]" in b"".join([chunk async for chunk in s.aiter_bytes()])

    url = server.url + PATH
    server.play(replace(CHAT, held_after=0))
    llm_audit.instrument()
    thread = threading.Thread(target=chat, args=(server,))
    thread.start()
    server.has_received.wait()
    llm_audit.uninstrument()
    server.go_on.set()
    thread.join()
    server.play(replace(CHAT_STREAM, held_after=1))
    llm_audit.instrument()
    with httpx.Client() as client, client.stream("POST", url, json=STREAMED) as response:
        llm_audit.uninstrument()
        server.go_on.set()
        response.read()
    asyncio.run(go())
    contents = [(call.response_message or {})["content"] for call in llm_audit_records]
    assert contents == ["Hello!", WORDS]


def test_modules_that_are_loaded_anew_are_instrumented_again(
    server: ReplayServer, llm_audit_records: RecordedCalls
) -> None:
    """By another instrument(): their classes are new ones."""
    server.play(CHAT)
    old = {
        name: module for name, module in sys.modules.items() if name.partition(".")[0] == "httpx"
    }
    llm_audit.instrument()
    try:
        for name in old:
            del sys.modules[name]
        anew = importlib.import_module("httpx")
        assert anew.Client is not httpx.Client
        llm_audit.instrument()
        for module in (httpx, anew):
            with module.Client() as client:
                client.post(server.url + PATH, json=PLAIN)
        assert len(llm_audit_records) == 2
        llm_audit.uninstrument()
        with anew.Client() as client:
            client.post(server.url + PATH, json=PLAIN)
        assert len(llm_audit_records) == 2
    finally:
        sys.modules.update(old)

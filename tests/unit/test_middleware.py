"""The middlewares: what calls of one request have in common, and nothing is left in force."""

import asyncio
import contextvars
import io
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults

import pytest

import llm_audit
from llm_audit import LLMLogger
from llm_audit.context import CallContext, current_context
from llm_audit.context.faults import ContextFaults
from llm_audit.middleware import AuditASGIMiddleware, AuditWSGIMiddleware
from llm_audit.testing import RecordedCalls


def ask(model: str = "m") -> str:
    return LLMLogger.complete(LLMLogger.start(model=model), response_message={"content": "yes"})


async def served(app: Any, path: str = "/", **scope: Any) -> bytes:
    """Ask an ASGI app as a server does; return what it answers."""
    parts: list[bytes] = []

    received = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in received:
            return message
        await asyncio.get_running_loop().create_future()  # the client stays
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        assert current_context().user_id in {"ada", None}
        parts.append(message.get("body", b""))

    asked = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "path": path, "raw_path": path.encode(), "root_path": "", "scheme": "http",
        "query_string": b"", "headers": [(b"x-user", b"ada"), (b"x-chat", b"c-1")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), **scope,
    }  # fmt: skip
    await app(asked, receive, send)
    assert current_context() == CallContext()
    return b"".join(parts)


def answered(app: Any, path: str = "/", take: int | None = None) -> bytes:
    """Ask a WSGI app as a server does."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ |= {"PATH_INFO": path, "HTTP_X_USER": "ada", "wsgi.file_wrapper": FileWrapper}
    body = app(environ, lambda *_: None)
    assert current_context() == CallContext()
    parts = []
    for number, part in enumerate(body):
        assert current_context() == CallContext()
        parts.append(part)
        if number + 1 == take:
            break
    if hasattr(body, "close"):
        body.close()
    assert current_context() == CallContext()
    return b"".join(parts)


def of_header(name: str) -> Callable[[Any], str | None]:
    def read(scope: Any) -> str | None:
        return {key.decode(): value.decode() for key, value in scope["headers"]}.get(name)

    return read


async def test_the_calls_of_a_request_share_a_trace(llm_audit_records: RecordedCalls) -> None:
    """Of FastAPI: coroutines, threads, streams and background tasks; the next has another one."""
    fastapi = pytest.importorskip("fastapi")
    responses = pytest.importorskip("fastapi.responses")
    app = fastapi.FastAPI()
    app.add_middleware(
        AuditASGIMiddleware, user=of_header("x-user"), session=of_header("x-chat"), tags=["web"]
    )

    @app.get("/coroutine")
    async def coroutine(tasks: fastapi.BackgroundTasks) -> str:
        tasks.add_task(ask, "background")
        await asyncio.to_thread(ask, "thread")
        return ask("coroutine")

    @app.get("/plain")
    def plain() -> str:
        return ask("plain")

    @app.get("/stream")
    async def stream() -> Any:
        ask("before")

        async def parts() -> AsyncIterator[str]:
            for number in range(3):
                yield ask(f"part {number}")

        return responses.StreamingResponse(parts())

    @app.get("/plain-stream")
    def plain_stream() -> Any:
        return responses.StreamingResponse(ask(f"plain part {number}") for number in range(3))

    # FastAPI looks at annotations of what it is given
    coroutine.__annotations__["tasks"] = fastapi.BackgroundTasks
    paths = ("/coroutine", "/plain", "/stream", "/plain-stream")
    await asyncio.gather(*(served(app, path) for path in paths))

    calls = list(llm_audit_records)
    assert len(calls) == 3 + 1 + 4 + 3
    assert {(call.user_id, call.session_id, *call.tags) for call in calls} == {
        ("ada", "c-1", "web")
    }
    by_trace: dict[str | None, set[str | None]] = {}
    for call in calls:
        by_trace.setdefault(call.trace_id, set()).add(call.model)
    assert sorted(map(sorted, by_trace.values())) == [
        ["background", "coroutine", "thread"],
        ["before", "part 0", "part 1", "part 2"],
        ["plain"],
        ["plain part 0", "plain part 1", "plain part 2"],
    ]


async def test_what_is_asked_may_be_known_late(llm_audit_records: RecordedCalls) -> None:
    """The scope is asked when the first call is made: after what authenticates inside."""

    async def app(scope: Any, _: Any, send: Any) -> None:
        scope["user"] = "ada"
        ask()
        await send({"type": "http.response.start"})

    asked = []

    def user(scope: Any) -> str:
        asked.append(ask("asked for the user"))  # which may record, too
        return scope["user"]

    audited = AuditASGIMiddleware(app, user=user, trace=lambda _: "t", metadata={"app": "shop"})
    await served(audited)
    assert len(asked) == 1
    found = {(call.model, call.user_id, call.trace_id) for call in llm_audit_records}
    assert ("m", "ada", "t") in found
    assert llm_audit_records[-1].metadata == {"app": "shop"} or llm_audit_records[0].metadata

    async def nothing(*_: Any) -> None:
        pass

    await served(AuditASGIMiddleware(nothing, user=user))
    assert len(asked) == 1, "no call, no question"


async def test_other_scopes_pass(llm_audit_records: RecordedCalls) -> None:
    """A lifespan has no context; the calls of a WebSocket have a user, and a trace each."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
        seen.append((scope["type"], current_context().user_id))
        if scope["type"] == "websocket":
            ask()
            ask()

    audited = AuditASGIMiddleware(app, user=lambda _: "ada")
    for kind in ("lifespan", "websocket", "of a later protocol"):
        await served(audited, type=kind)
    assert seen == [("lifespan", None), ("websocket", "ada"), ("of a later protocol", None)]
    assert len({call.trace_id for call in llm_audit_records}) == 2


async def test_faults_of_what_is_asked_stay_there(
    llm_audit_records: RecordedCalls, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the app's functions raise or return, the request is answered, and it is counted."""

    async def coroutine(_: Any) -> str:
        await asyncio.sleep(0)
        return "never awaited"

    async def app(_: Any, __: Any, send: Any) -> None:
        ask()
        await send({"type": "http.response.start", "body": b"answered"})

    def fails(_: Any) -> str:
        raise KeyError("secret")

    before = ContextFaults.count
    for user in (fails, coroutine, lambda: "no scope", lambda _: None):
        given: Any = user
        audited = AuditASGIMiddleware(app, user=given, session=lambda _: "s", metadata=fails)  # type: ignore[arg-type]
        assert await served(audited) == b"answered"
    assert [(call.user_id, call.session_id) for call in llm_audit_records] == [(None, "s")] * 4
    assert ContextFaults.count - before == 3 + 4
    assert llm_audit.stats()["context_faults"] >= 7
    assert len([one for one in caplog.records if "user_id of a request" in one.message]) <= 1
    assert "secret" not in caplog.text

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await served(AuditASGIMiddleware(broken))
    assert current_context() == CallContext()


def test_wsgi_streams_keep_the_context(llm_audit_records: RecordedCalls) -> None:
    """Every step of a response has it, and its closing; the server never does."""

    class Body:
        def __init__(self, count: int) -> None:
            self._count = count

        def __iter__(self) -> Iterator[bytes]:
            return (ask(f"part {number}").encode() for number in range(self._count))

        def close(self) -> None:
            ask("closed")

    class Sized(Body):
        def __len__(self) -> int:
            return self._count

    def stream(environ: Any, start: Any) -> Iterator[bytes]:
        ask("begun")
        start("200 OK", [])
        yield environ["HTTP_X_USER"].encode()

    bodies: dict[str, Callable[..., Iterable[bytes]]] = {
        "/body": lambda *_: Body(3),
        "/sized": lambda *_: Sized(2),
        "/stream": stream,
        "/list": lambda *_: [b"one", b"two"],
        "/file": lambda *_: FileWrapper(io.BytesIO(b"content")),
    }

    def app(environ: Any, start: Any) -> Iterable[bytes]:
        ask("app")
        return bodies[environ["PATH_INFO"]](environ, start)

    audited = AuditWSGIMiddleware(app, user=lambda environ: environ["HTTP_X_USER"])
    for path, take, count in (
        ("/body", None, 5), ("/body", 1, 3), ("/sized", None, 4), ("/stream", None, 2),
        ("/list", None, 1), ("/file", None, 1),
    ):  # fmt: skip
        before = len(llm_audit_records)
        assert answered(audited, path, take), path
        calls = llm_audit_records[before:]
        assert len(calls) == count, path
        assert {call.user_id for call in calls} == {"ada"}, path
        assert len({call.trace_id for call in calls}) == 1, path
    environ: dict[str, Any] = {"PATH_INFO": "/sized", "HTTP_X_USER": "ada"}
    assert len(audited(environ, lambda *_: None)) == 2  # type: ignore[arg-type]
    environ |= {"PATH_INFO": "/file", "wsgi.file_wrapper": FileWrapper}
    assert isinstance(audited(environ, lambda *_: None), FileWrapper)


def test_flask_streams_with_its_request(llm_audit_records: RecordedCalls) -> None:
    """Functions that are asked may use what Flask has in force."""
    flask = pytest.importorskip("flask")
    app = flask.Flask("shop")
    app.wsgi_app = AuditWSGIMiddleware(app.wsgi_app, user=lambda _: flask.request.headers["X-User"])

    @app.get("/")
    def index() -> Any:
        ask("view")
        parts = (ask(f"part {number}") for number in range(2))
        return flask.Response(flask.stream_with_context(parts))

    assert len(answered(app)) == 72
    assert {call.user_id for call in llm_audit_records} == {"ada"}
    assert len({call.trace_id for call in llm_audit_records}) == 1


def test_threads_that_serve_one_request_after_the_other(
    llm_audit_records: RecordedCalls,
) -> None:
    """Each has its own trace, whatever thread and context steps are taken in."""

    def app(*_: Any) -> Iterator[bytes]:
        for number in range(2):
            yield ask(f"{threading.get_ident()} {number}").encode()

    audited = AuditWSGIMiddleware(app)
    bodies = [iter(audited({}, lambda *_: None)) for _ in range(2)]
    for _ in range(2):
        for body in bodies:
            contextvars.copy_context().run(next, body)
    assert len({call.trace_id for call in llm_audit_records}) == 2


async def test_django_in_both_ways(llm_audit_records: RecordedCalls) -> None:
    """A view and its streams, by WSGI and by ASGI."""
    django = pytest.importorskip("django")
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse, StreamingHttpResponse
    from django.urls import path

    def view(_: Any) -> Any:
        return HttpResponse(ask("view"))

    def stream(_: Any) -> Any:
        return StreamingHttpResponse(ask(f"part {number}") for number in range(2))

    async def parts() -> AsyncIterator[str]:
        for number in range(2):
            yield ask(f"part {number}")

    async def asynchronous(_: Any) -> Any:
        ask("view")
        return StreamingHttpResponse(parts())

    if not settings.configured:
        urls = type("Urls", (), {"urlpatterns": [
            path("view", view), path("stream", stream), path("asynchronous", asynchronous),
        ]})  # fmt: skip
        settings.configure(ROOT_URLCONF=urls, ALLOWED_HOSTS=["*"], SECRET_KEY="none", USE_TZ=True)
        django.setup()
    by_wsgi = AuditWSGIMiddleware(get_wsgi_application(), user=lambda env: env["HTTP_X_USER"])
    by_asgi = AuditASGIMiddleware(get_asgi_application(), user=of_header("x-user"))
    ways: tuple[tuple[Callable[[str], Awaitable[bytes]], str, int], ...] = (
        (lambda path: asyncio.to_thread(answered, by_wsgi, path), "/view", 1),
        (lambda path: asyncio.to_thread(answered, by_wsgi, path), "/stream", 2),
        (lambda path: served(by_asgi, path), "/view", 1),
        (lambda path: served(by_asgi, path), "/asynchronous", 3),
    )
    for serve, address, count in ways:
        before = len(llm_audit_records)
        assert await serve(address)
        calls = llm_audit_records[before:]
        assert len(calls) == count, address
        assert {call.user_id for call in calls} == {"ada"}, address
        assert len({call.trace_id for call in calls}) == 1, address

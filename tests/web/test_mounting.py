"""The viewer in somebody's own app and behind somebody's proxy: under a prefix, behind a login."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from made_up_calls import Call
from patience import PATIENCE
from pymongo.database import Database
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from viewer_pages import OURS_ALONE, PAGES, read
from viewer_tabs import ADDRESS
from waiting import Recording, until

from llm_audit.errors import UsageError
from llm_audit.web import create_app
from llm_audit.web.answering import SUMS_AT_ONCE
from llm_audit.web.guards.login import Sessions
from llm_audit.web.guards.placed import Placed
from llm_audit.web.serving import Serving, server_of

TOKEN = "t" * 43
NOW = datetime.now(UTC)
CALL: Call = {
    "_id": "a/b?c #d",
    "created_at": NOW - timedelta(minutes=5),
    "status": "ERROR",
    "error_type": "E",
    "model": "m",
    "trace_id": "t/1",
    "session_id": "s 1",
    "user_id": "u&1",
    "company_id": "c+1",
    "task_id": "task/1",
    "task": {"name": "tasks.ask", "retries": 0, "root_id": "task/1", "queue": "q", "worker": "w"},
    "messages": [{"role": "user", "content": "Hello"}],
    "tools_called": ["tool"],
    "tags": ["tag"],
    "latency_ms": 5.0,
}
IDS = {"id": "a/b?c #d", "a": "a/b?c #d", "b": "a/b?c #d", "call": "a/b?c #d", "sha256": "0" * 64}
FRAMEWORKS = ("starlette", "fastapi", "django")


@pytest.fixture
def stored(recording: Recording, database: Database[Any]) -> None:
    recording()
    database["llm_calls"].insert_one(CALL)


def host_app(framework: str, prefix: str, viewer: ASGIApp) -> ASGIApp:
    """Return an app of a framework with the viewer under a path, as the page about it shows."""
    if framework == "starlette":
        return Starlette(routes=[Mount(prefix, viewer)])
    if framework == "fastapi":
        fastapi = pytest.importorskip("fastapi")
        app = fastapi.FastAPI()
        app.mount(prefix, viewer)
        return app  # type: ignore[no-any-return]
    django = pytest.importorskip("django")
    from django.conf import settings
    from django.core.asgi import get_asgi_application

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="x", ROOT_URLCONF=())
        django.setup()
    return Starlette(routes=[Mount(prefix, viewer), Mount("/", get_asgi_application())])


def crawled(tab: TestClient, root: str, start: str = "/") -> set[str]:
    """Follow every link from a page on, and return the pages that were seen."""
    waiting, seen, kinds = [f"{root}{start}"], set[str](), dict[str, int]()
    while waiting:
        address = waiting.pop()
        page, _, query = address.partition("?")
        # of a page with other filters a few will do
        kind = f"{page}?{'&'.join(sorted(re.findall(r'(?:^|&)([a-z_.]+)=', query)))}"
        kinds[page] = kinds.get(page, 0) + 1
        if address in seen or kind in seen or kinds[page] > 6:
            continue
        seen |= {address, kind}
        answer = tab.get(address)
        assert answer.status_code in {200, 303}, (address, answer.status_code, answer.text[:300])
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        found = read(answer.text, root)
        assert not found.wrong, (address, found.wrong)
        waiting += found.links
    return {address.removeprefix(root).partition("?")[0] for address in seen}


def test_every_link_under_a_prefix_leads_to_a_page_under_it(stored: None) -> None:
    """Whatever is followed, from every page on; ids of any characters arrive."""
    assert stored is None
    app = host_app("starlette", "/admin", Starlette(routes=[Mount("/l m", create_app())]))
    with TestClient(app, base_url=ADDRESS, follow_redirects=False) as tab:
        seen = crawled(tab, "/admin/l%20m")
        for page in ("/user", "/company", "/session", "/workflow", "/process"):
            wanted = {"/user": "u%261", "/company": "c%2B1", "/session": "s+1"}.get(page, "task/1")
            answer = tab.get(f"/admin/l%20m{page}?id={wanted}")
            assert not read(answer.text, "/admin/l%20m").wrong, page
            assert answer.status_code == (404 if page == "/process" else 200), page
    by_a_form_or_of_other_calls = {"/search", "/call/said", "/media", "/process"}
    assert seen >= {*PAGES} - by_a_form_or_of_other_calls


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_it_can_be_mounted_in(framework: str, stored: None) -> None:
    """With and without the slash at the end, and its assets, parts and forms are there."""
    assert stored is None
    app = host_app(framework, "/llm", create_app(annotate=True))
    with TestClient(app, base_url=ADDRESS, follow_redirects=False) as tab:
        for address in ("/llm/", "/llm/calls", "/llm/part/calls/facets", "/llm/health"):
            answer = tab.get(address)
            assert answer.status_code == 200, address
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert not read(answer.text, "/llm").wrong
        page = tab.get("/llm/call", params={"id": CALL["_id"]})
        [style] = re.findall(r'href="(/llm/static/style[^"]+)"', page.text)
        assert tab.get(style).status_code == 200
        assert "Path=/llm;" in page.headers["set-cookie"]
        without = tab.get("/llm")
        assert without.status_code == (404 if framework == "django" else 307)
        assert tab.get("/other").status_code == 404


def test_a_path_with_a_slash_after_it_leads_to_the_page_by_path_alone(stored: None) -> None:
    """By no name that `Host` or anything else in the request brought along."""
    assert stored is None
    for root in ("", "/llm"):
        app: ASGIApp = create_app()
        app = host_app("starlette", root, app) if root else app
        with TestClient(app, base_url="http://evil.test", follow_redirects=False) as tab:
            answer = tab.get(f"{root}/calls/?model=m", headers={"x-forwarded-host": "evil.test"})
            assert (answer.status_code, answer.headers["location"]) == (
                307,
                f"{root}/calls?model=m",
            )
            for path in ("//evil.test/", "//evil.test/calls/", "/nothing/", "/calls//", "/%2e/"):
                answer = tab.get(f"http://evil.test{root}{path}")
                assert answer.status_code == 404, path
                assert "location" not in answer.headers
                assert "evil.test" not in answer.text


def asked_with(app: ASGIApp, path: str, **scope: Any) -> tuple[int, str, list[tuple[str, str]]]:
    """Ask an app as a server that forms requests in its own way."""
    sent: list[Any] = []
    headers = scope.pop("headers", [(b"host", b"127.0.0.1")])
    whole = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
        "query_string": b"",
        "headers": headers,
        "path": path,
        "raw_path": path.encode(),
        "server": ("127.0.0.1", 1),
        "client": ("127.0.0.1", 2),
        **scope,
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(whole, receive, send))  # type: ignore[arg-type]
    body = b"".join(one.get("body", b"") for one in sent[1:])
    given = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
    return sent[0]["status"], body.decode(), given


def test_a_prefix_is_found_however_the_server_tells_it(stored: None) -> None:
    """Taken away by the proxy or not; by the server, the app around it, or the option."""
    assert stored is None
    viewer = create_app(sessions=Sessions(TOKEN, "c"))
    mounted = Starlette(routes=[Mount("/llm", viewer)])
    cases: list[tuple[ASGIApp, str, dict[str, Any], str]] = [
        (viewer, "/calls", {}, ""),
        (viewer, "/p/calls", {"root_path": "/p"}, "/p"),  # as ASGI has it
        (viewer, "/calls", {"root_path": "/p"}, "/p"),  # some servers
        (viewer, "/p//calls", {"root_path": "/p/"}, "/p"),  # uvicorn --root-path /p/
        (mounted, "/llm/calls", {}, "/llm"),
        (mounted, "/p/llm/calls", {"root_path": "/p"}, "/p/llm"),
        (mounted, "/llm/calls", {"root_path": "/p"}, "/p/llm"),  # FastAPI(root_path="/p")
        (Placed(viewer, "/p/q"), "/p/q/calls", {}, "/p/q"),  # --root-path, not taken away
        (Placed(viewer, "/p/q"), "/calls", {}, "/p/q"),  # --root-path, taken away
        (Placed(viewer, "/p"), "/products", {}, "/p"),
    ]
    login = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {TOKEN}".encode())]
    for app, path, scope, root in cases:
        case = (path, scope)
        status, body, _ = asked_with(app, path, headers=login, **scope)
        assert status == (404 if path == "/products" else 200), case
        assert not read(body, root).wrong, case
        assert f'href="{root}/traces' in body, case
        status, _, headers = asked_with(app, path, query_string=f"token={TOKEN}".encode(), **scope)
        below = path.rpartition("/")[2]
        assert (status, dict(headers)["location"]) == (303, f"{root}/{below}"), case
        assert f"; Path={root or '/'}; HttpOnly; SameSite=Lax" in dict(headers)["set-cookie"], case


def test_a_host_apps_login_guards_every_path(stored: None) -> None:
    """A middleware around it, or a scope that refuses; what is refused has no page."""
    assert stored is None

    class LoggedIn:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and Request(scope).headers.get("x-user") != "me":
                await PlainTextResponse("who?", 401)(scope, receive, send)
                return
            await self.app(scope, receive, send)

    def whose(request: Request) -> dict[str, str]:
        user = request.headers.get("x-user")
        if user is None:
            raise HTTPException(401, "who?")
        return {"user_id": user}

    around = Starlette(routes=[Mount("/llm", create_app(), middleware=[Middleware(LoggedIn)])])
    within = Starlette(routes=[Mount("/llm", create_app(whose))])
    for app in (around, within):
        with TestClient(app, base_url=ADDRESS, follow_redirects=False) as tab:
            for page in PAGES:
                assert tab.get(f"/llm{page}").status_code == 401, page
            assert tab.get("/llm/calls", headers={"x-user": "me"}).status_code == 200


def test_a_scope_that_names_nobody_shows_nothing(
    recording: Recording, stored: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that returns None has forgotten something; of a session without the key, too."""
    assert stored is None
    recording(strict=False)
    nobody: list[Any] = [
        *(None, {}, {"company_id": None}, {"company_id": ""}, {"company_id": " "}, {"team": "c+1"}),
        *(
            {"company_id": "c+1", "user_id": None},
            "c+1",
            {"company_id": {"$ne": ""}},
            ["company_id"],
        ),
    ]
    for tenant in nobody:
        for scope in (lambda _, given=tenant: given, _later(tenant)):
            with TestClient(create_app(scope), base_url=ADDRESS) as tab:
                for page in ("/calls", "/call", "/export", "/part/calls/facets"):
                    answer = tab.get(page, params=IDS)
                    assert answer.status_code == 403, (tenant, page)
                    assert "Hello" not in answer.text
    assert "Nobody's calls are shown" in caplog.text
    for tenant in (
        {"company_id": "c+1"},
        {"user_id": "u&1"},
        {"company_id": "c+1", "user_id": "u&1"},
    ):
        for scope in (tenant, lambda _, given=tenant: given, _later(tenant)):
            with TestClient(create_app(scope), base_url=ADDRESS) as tab:
                assert tab.get("/export").text.count('"Hello"') == 1, tenant


def _later(tenant: Any) -> Callable[[Request], Any]:
    async def scope(_: Request) -> Any:
        await asyncio.sleep(0)
        return tenant

    return scope


def test_the_session_of_the_app_around_says_whose_calls_they_are(stored: None) -> None:
    assert stored is None
    sessions = pytest.importorskip("starlette.middleware.sessions")
    pytest.importorskip("itsdangerous")

    async def log_in(request: Request) -> PlainTextResponse:
        request.session["company"] = request.query_params["as"]
        return PlainTextResponse("in")

    viewer = create_app(lambda request: {"company_id": request.session["company"]})
    app = Starlette(
        routes=[Route("/login", log_in), Mount("/llm", viewer)],
        middleware=[Middleware(sessions.SessionMiddleware, secret_key="x")],
    )
    with TestClient(app, base_url=ADDRESS) as tab:
        for company, count in (("c+1", 1), ("other", 0)):
            tab.get("/login", params={"as": company})
            assert len(tab.get("/llm/calls?format=json").json()["calls"]) == count


def test_it_needs_no_lifespan_and_serves_every_loop(stored: None) -> None:
    """A mounted app's does not run; parts wait for one another in each loop by themselves."""
    assert stored is None
    began: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        began.append("outer")
        yield

    app = Starlette(routes=[Mount("/llm", create_app())], lifespan=lifespan)
    statuses: list[int] = []

    async def ask_many() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
            many = [client.get("/llm/part/overview/models") for _ in range(3 * SUMS_AT_ONCE)]
            statuses.extend(answer.status_code for answer in await asyncio.gather(*many))

    threads = [threading.Thread(target=lambda: asyncio.run(ask_many())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(ask_many())
    assert statuses == [200] * 4 * 3 * SUMS_AT_ONCE
    with TestClient(app, base_url=ADDRESS) as tab:
        assert tab.get("/llm/").status_code == 200
    assert began == ["outer"]


@contextmanager
def served(**options: Any) -> Iterator[tuple[str, httpx.Client]]:
    """Serve as `llm-audit ui` does, and give the address that it says."""
    server, listening, address, _ = server_of(Serving(port=0, **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        until(lambda: server.started)
        port = listening.getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield address, client
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()


def test_it_listens_on_this_machine_alone_unless_it_has_a_login(
    stored: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The token leaves the address, and is in no log and no answer."""
    assert stored is None
    for host in ("0.0.0.0", "::", "192.0.2.1", "viewer.example.org"):
        with pytest.raises(UsageError, match=rf"--host {host} lets other machines in: .*\.$"):
            server_of(Serving(host=host, port=0))
    with caplog.at_level("DEBUG"), served() as (address, client):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", address)
        token = address.partition("token=")[2]
        port = client.base_url.port
        assert client.get("/calls").status_code == 303
        assert client.get("/calls", headers={"host": "evil.test"}).status_code == 400
        opened = client.get(address)
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        assert opened.headers["set-cookie"].startswith(f"llm_audit_{port}=")
        forwarded = {"x-forwarded-proto": "https", "x-forwarded-prefix": "/evil"}
        again = client.get(address, headers=forwarded)
        assert "Secure" not in again.headers["set-cookie"]  # nobody said that a proxy is in front
        page = client.get("/calls", headers=forwarded)
        assert page.status_code == 200
        assert not read(page.text).wrong
        for answer in (opened, page):
            assert token not in answer.text
            assert "server" not in answer.headers
    of_ours = [record.getMessage() for record in caplog.records if "http" not in record.name]
    assert of_ours
    assert token not in " ".join(of_ours)
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    opened = server_of(Serving(host="0.0.0.0", port=0, token_file=file))
    opened.listening.close()
    assert TOKEN not in opened.address + opened.address_once
    for wrong in (b"\xff" * 40, b"short", "ё".encode() * 40, b"x\0" * 40):
        file.write_bytes(wrong)
        with pytest.raises(UsageError, match="at least 16 characters"):
            server_of(Serving(port=0, token_file=file))


def test_behind_a_proxy_it_believes_what_that_says_and_no_more(
    stored: None, tmp_path: Path
) -> None:
    """How it was asked, under which prefix; a login of its own only if it is given a token."""
    assert stored is None
    https = {"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.1"}
    proxied: dict[str, Any] = {"behind_proxy": True, "root_path": "/tools/llm/"}
    with served(**proxied, allowed_hosts=["llm.example.org"]) as (address, client):
        assert address.endswith("/tools/llm/")
        for prefix in ("", "/tools/llm"):  # taken away by the proxy, or not
            for host, status in (("llm.example.org", 200), ("evil.test", 400)):
                answer = client.get(f"{prefix}/calls", headers={"host": host, **https})
                assert answer.status_code == status
                assert not read(answer.text, "/tools/llm").wrong
    file = tmp_path / "token"
    file.write_text(TOKEN)
    with served(**proxied, token_file=file) as (_, client):
        asked = client.get("/tools/llm/calls")
        assert asked.headers["location"] == "/tools/llm/login?to=%2Fcalls"
        opened = client.get(f"/calls?token={TOKEN}", headers=https)
        assert opened.headers["location"] == "/tools/llm/calls"
        assert opened.headers["set-cookie"].endswith(
            "; Path=/tools/llm; HttpOnly; SameSite=Lax; Secure"
        )
    for path in ("llm", "//evil.test", "/a b", "/a?b", "https://evil.test", "/a//b"):
        with pytest.raises(UsageError, match="--root-path"):
            server_of(Serving(port=0, behind_proxy=True, root_path=path))


def test_addresses_are_ours_alone() -> None:
    """What the tests take for a path of ours is one for a browser."""
    for link in (
        "//evil.test",
        "/\\evil.test",
        "javascript:x",
        "data:x",
        "evil",
        "\\\\evil",
        "/a b",
    ):
        assert not OURS_ALONE.fullmatch(link), link

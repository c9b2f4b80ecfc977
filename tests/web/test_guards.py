"""Who may ask the viewer, by which name, how, and what a browser may do with the answers."""

import re
from urllib.parse import quote

import pytest
from viewer_tabs import Viewer

from llm_audit.errors import UsageError
from llm_audit.web import create_app
from llm_audit.web.assets import asset_name
from llm_audit.web.guards.hosts import LOOPBACK
from llm_audit.web.guards.login import SESSIONS_MAX, Sessions
from llm_audit.web.routes import PAGES, PARTS
from llm_audit.web.serving import Serving, server_of

TOKEN = "t" * 43
STYLE = f"/static/{asset_name('style.css')}"
PATHS = (*PAGES, *PARTS, "/health", "/login", "/nothing", STYLE)


def test_it_answers_to_its_own_names_only(viewer: Viewer) -> None:
    """Not to one that another site's page has had resolve to 127.0.0.1, whatever is asked for."""
    tab = viewer(hosts=[*LOOPBACK, "Viewer.example.org"])
    good = (
        "127.0.0.1",
        "127.0.0.1:8765",
        "localhost:1",
        "[::1]:8765",
        "VIEWER.example.org",
        "[::1]",
    )
    bad = (
        *("evil.test", "127.0.0.1.evil.test", "localhost.", "localhost.evil.test", "", "127.0.0.2"),
        *("127.0.0.1:1@evil.test", "evil.test:8765", "[::1", "::1", "127.0.0.1:", "127.0.0.1:x"),
        *("localhost evil.test", "127.0.0.1,evil.test", "localhost/", "viewer.example.org."),
    )
    for path in ("/health", "/calls", STYLE):
        for name in good:
            assert tab.get(path, headers={"host": name}).status_code == 200, (path, name)
        for name in bad:
            answer = tab.get(path, headers={"host": name})
            assert answer.status_code == 400, (path, name)
            assert "evil" not in answer.text
    twice = [("host", "127.0.0.1"), ("host", "evil.test")]
    assert tab.get("/health", headers=twice).status_code == 400


def test_it_is_only_read(viewer: Viewer) -> None:
    """No method but GET and HEAD does anything, on any page."""
    tab = viewer()
    for path in PATHS:
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
            answer = tab.request(method, path)
            assert answer.status_code == 405, (method, path)
            assert answer.headers["allow"] == "GET, HEAD"
    assert tab.head("/calls").status_code == 200
    assert tab.head("/calls").content == b""


def test_other_sites_may_lead_here_and_fetch_nothing(viewer: Viewer) -> None:
    """What it takes to answer, or how long it is, would tell them something."""
    tab = viewer()
    led = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    for site in ("cross-site", "same-site"):
        for path in ("/calls", "/?since=1h", STYLE):
            assert tab.get(path, headers={"sec-fetch-site": site}).status_code == 403
            framed = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
            assert tab.get(path, headers={"sec-fetch-site": site, **framed}).status_code == 403
            assert tab.get(path, headers={"sec-fetch-site": site, **led}).status_code == 200
        for path in (
            "/export",
            "/export?since=1h&format=csv",
            "/media?call=1",
            "/export?format=no",
        ):
            refused = tab.get(path, headers={"sec-fetch-site": site, **led})
            assert refused.status_code == 403, path
            assert "content-disposition" not in refused.headers
    for site in ("same-origin", "none"):
        for path in ("/calls", "/export"):
            assert tab.get(path, headers={"sec-fetch-site": site, **led}).status_code == 200
    assert not [name for name in tab.get("/calls").headers if name.startswith("access-control")]


def test_a_token_opens_it_once_and_leaves_the_address(viewer: Viewer) -> None:
    """It is exchanged for a number of its own, as other servers on this machine get the cookie."""
    sessions = Sessions(TOKEN, "llm_audit_8765")
    tab = viewer(sessions=sessions)
    for path in (*PAGES, *PARTS, "/nothing"):
        asked = tab.get(path, params={"user_id": "u"})
        assert asked.status_code == 303, path
        assert asked.headers["location"] == f"/login?to={quote(f'{path}?user_id=u', safe='')}"
        assert tab.get(path, params={"format": "json"}).status_code == 401
    wrong = tab.get("/calls", params={"token": "x" * 43, "user_id": "u"})
    assert TOKEN not in wrong.text
    assert wrong.headers["location"] == "/login?to=%2Fcalls"

    opened = tab.get("/calls", params={"token": TOKEN, "model": "m", "tags": ["a", "b"]})

    assert (opened.status_code, opened.headers["location"]) == (303, "/calls?model=m&tags=a&tags=b")
    cookie = opened.headers["set-cookie"]
    number = re.match("llm_audit_8765=([^;]+)", cookie)
    assert number
    assert len(number[1]) >= 43
    assert TOKEN not in cookie
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")
    assert tab.get("/calls").status_code == 200
    tab.cookies.clear()
    assert tab.get("/calls", headers={"cookie": f"other=1; x; {number[0]}; =;"}).status_code == 200
    assert tab.get("/calls", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    for header in ("Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"):
        assert tab.get("/calls", headers={"authorization": header.encode("latin-1")}).is_redirect
    assert tab.get("/calls", headers={"cookie": f"llm_audit_8765={TOKEN}"}).is_redirect
    for path in ("/health", "/login", STYLE):
        assert tab.get(path).status_code == 200


def test_what_a_browser_is_started_with_opens_it_once(viewer: Viewer) -> None:
    """Every user of the machine sees that, in the list of processes, while the browser runs."""
    opened = server_of(Serving(port=0))
    opened.listening.close()
    token = opened.address.partition("?token=")[2]
    once = opened.address_once.partition("?token=")[2]
    assert len(once) >= 43
    assert token not in opened.address_once
    sessions = Sessions(TOKEN, "c")
    tab = viewer(sessions=sessions)
    ticket = sessions.ticket()
    asked = {"token": ticket}
    assert tab.get("/calls", headers={"authorization": f"Bearer {ticket}"}).status_code == 303
    assert tab.post("/login", data=asked, headers={"sec-fetch-site": "none"}).status_code == 403
    assert tab.get("/calls", params=asked).headers["location"] == "/calls"
    assert tab.get("/calls").status_code == 200
    tab.cookies.clear()
    again = tab.get("/calls", params=asked)
    assert again.headers["location"].startswith("/login")
    assert "set-cookie" not in again.headers


def test_very_many_cookies_cost_little(viewer: Viewer) -> None:
    sessions = Sessions(TOKEN, "c")
    good = sessions.begin({"scheme": "http", "root_path": "", "headers": []}).split(b";")[0]
    tab = viewer(sessions=sessions)
    looked_at = sessions._numbers({"headers": [(b"cookie", b"c=x;" * 10_000)]})
    assert len(looked_at) <= 10
    for cookie in (good, b'a; =; b="\\; ' + good, b"c=x; " * 9 + good):
        assert tab.get("/calls", headers=[(b"cookie", cookie)]).status_code == 200, cookie
    for cookie in (good + b"x", good.upper(), b"x" + good, b'c="' + good[2:] + b'"', b"c="):
        assert tab.get("/calls", headers=[(b"cookie", cookie)]).is_redirect, cookie


def test_sessions_do_not_pile_up() -> None:
    """The oldest ends where there are too many."""
    sessions = Sessions(TOKEN, "c")
    scope = {"scheme": "https", "root_path": "", "headers": []}
    begun = [sessions.begin(scope).split(b";")[0] for _ in range(SESSIONS_MAX + 1)]

    known = [sessions.knows({**scope, "headers": [(b"cookie", each)]}) for each in begun[:2]]

    assert known == [False, True]
    assert sessions.begin(scope).endswith(b"; Secure")


def test_the_login_leads_to_the_page_that_was_asked_for_and_nowhere_else(viewer: Viewer) -> None:
    tab = viewer(sessions=Sessions(TOKEN, "c"))
    ours = {"sec-fetch-site": "same-origin"}

    def log_in(to: str, token: str = TOKEN, **headers: str) -> tuple[int, str | None]:
        answer = tab.post(
            "/login", params={"to": to}, data={"token": token}, headers=headers or ours
        )
        return answer.status_code, answer.headers.get("location")

    assert log_in("/call?id=a%2Fb&tz=UTC") == (303, "/call?id=a%2Fb&tz=UTC")
    for to in (
        *("https://evil.test/", "//evil.test/", "/\\evil.test", "\\\\evil.test", "///evil.test"),
        *("javascript:alert(1)", "/%0d%0aset-cookie: x=1", "/\r\nx: y", "", "?a=b", "evil.test"),
        *("/\tevil.test", " //evil.test", "/./evil.test", "//evil.test?x=//y"),
    ):
        status, location = log_in(to)
        assert status == 303
        assert location
        assert re.match(r"/(?![/\\])", location), (to, location)
        assert not re.search(r"[\r\n\t ]", location), (to, location)
    assert log_in("/calls", "wrong") == (403, None)
    assert log_in("/calls", "x" * 10_000) == (403, None)
    for headers in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"host": "127.0.0.1:8765"},
    ):
        assert log_in("/calls", **headers) == (403, None), headers
    assert log_in("/calls", origin="http://127.0.0.1:8765")[0] == 303


def test_what_browsers_may_do_stands_on_every_answer(viewer: Viewer) -> None:
    """Whatever its status: no script but ours, no style in the page, no frame, no guessed type."""
    tab = viewer(hosts=LOOPBACK, frames=["https://grafana.example.org"])
    answers = [tab.get(path) for path in PATHS]
    answers += [tab.get("/health", headers={"host": "evil.test"}), tab.post("/calls")]
    answers += [tab.get("/calls?since=nonsense"), tab.get("/call?id=none"), tab.get("/call")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert policy.endswith("frame-ancestors https://grafana.example.org")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "same-origin"
        forever = answer.url.path == STYLE
        assert ("immutable" in answer.headers["cache-control"]) is forever
        assert ("no-store" in answer.headers["cache-control"]) is not forever
        assert " style=" not in answer.text
        assert not re.search(r"<script(?![^>]* src=)|\son[a-z]+=|javascript:", answer.text)
    assert "frame-ancestors 'none'" in viewer().get("/").headers["content-security-policy"]


def test_a_scope_that_binds_nothing_is_refused() -> None:
    for scope in ({}, {"team": "t"}, {"company_id": ""}, {"company_id": "c", "model": "m"}):
        with pytest.raises(UsageError):
            create_app(scope)

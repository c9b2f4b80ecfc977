"""Where there is nothing to show, or something is wrong: each a page that helps."""

import re
from html import unescape
from typing import Any
from urllib.parse import quote_plus

import pymongo
from made_up_calls import CALLS, store
from pymongo.database import Database
from starlette.testclient import TestClient
from viewer_tabs import Viewer
from waiting import Recording

from llm_audit import embedded

PAGES = (
    *("", "calls", "traces", "sessions", "tasks", "failures", "costs", "latency", "prompts"),
    *("tools", "users", "companies", "delivery", "help", "search"),
)
ASKING = tuple(page for page in PAGES if page not in ("delivery", "help", "search"))


def text_of(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", html))


def test_before_the_first_call_each_page_says_how_one_is_recorded(viewer: Viewer) -> None:
    tab = viewer()
    for page in PAGES:
        answer = tab.get(f"/{page}")
        assert answer.status_code == 200, page
        for part in re.findall('hx-get="(/part/[^"]+)"', answer.text):
            assert tab.get(unescape(part)).status_code == 200, part
    for page in ("", "calls", "traces", "failures", "costs", "prompts", "users"):
        assert "llm_audit.instrument()" in tab.get(f"/{page}").text, page
    for kind in ("call", "trace", "session", "task", "workflow", "process"):
        answer = tab.get(f"/{kind}?id=nothing")
        assert answer.status_code == 404, kind
        assert "No such" in answer.text


def test_where_nothing_matches_the_filter_that_leaves_out_most_is_named(
    viewer: Viewer, database: Database[Any]
) -> None:
    """Each is a link to as many calls as it says; also in the time that a page opens with."""
    store(database)
    tab = viewer()
    for address in (
        "/calls?model=claude&provider=nobody&not.status=ERROR",
        "/costs?since=2026-05-01&until=2026-05-02&user_id=nobody&model=gpt-4",
        "/prompts?until=2026-05-02&tags=none&tags=rag",
        "/failures?since=2020-01-01&until=2020-01-02",
    ):
        page = tab.get(address).text
        assert "No call matches" in page, address
        (part,) = {part for part in re.findall('hx-get="([^"]+)"', page) if "without" in part}
        shown = tab.get(unescape(part)).text
        links = re.findall(r'<a href="([^"]+)">([\d,]+) calls?</a>', shown)
        counts = [int(count.replace(",", "")) for _, count in links]
        assert counts
        assert counts == sorted(counts, reverse=True)
        for (link, _), count in zip(links, counts, strict=True):
            sign = "&" if "?" in link else "?"
            found = tab.get(f"{unescape(link)}{sign}format=json&limit=500").json()["calls"]
            assert len(found) == min(count, 500), link
    nothing = tab.get("/part/calls/without?model=none&provider=nobody")
    assert "No filter alone" in nothing.text


def test_any_id_that_is_pasted_leads_to_what_has_it(
    viewer: Viewer, database: Database[Any]
) -> None:
    call = {
        "_id": "019deb59-6e80-7000-ba84-f054f1231f93",
        "status": "SUCCESS",
        "trace_id": "a trace",
        "session_id": "a session",
        "user_id": "a/user",
        "company_id": "Ä company",
        "task_id": "a task",
        "process_nonce": "a process",
        "task": {"name": "t", "root_id": "a root", "group_id": "a group"},
    }
    database["llm_calls"].insert_one(call)
    tab = viewer()
    for kind, identity in (
        *(("call", call["_id"]), ("call", "019deb59-6e80"), ("trace", "a trace")),
        *(("session", "a session"), ("user", "a/user"), ("company", "Ä company")),
        *(("task", "a task"), ("workflow", "a root"), ("workflow", "a group")),
        ("process", "a process"),
    ):
        answer = tab.get("/search", params={"q": identity})
        assert answer.status_code == 303, identity
        assert answer.headers["location"] == f"/{kind}?id={quote_plus(str(identity))}"
        assert tab.get(answer.headers["location"]).status_code == 200, identity
    bound = viewer(scope={"user_id": "a/user"})
    assert bound.get("/search", params={"q": "a process"}).status_code == 200
    others = viewer(scope={"user_id": "another"})
    for identity in ("a trace", "019deb59-6e80", "a task", "a group"):
        assert others.get("/search", params={"q": identity}).status_code == 200


def test_who_may_not_read_is_told_what_is_missing(
    viewer: Viewer, recording: Recording, mongod: embedded.Mongod, database: Database[Any]
) -> None:
    """On every page and in every part, without the password."""
    store(database)
    secret = "not-to-be-shown"
    admin: pymongo.MongoClient[Any] = pymongo.MongoClient(mongod.url)
    admin["admin"].command("createUser", "guest", pwd=secret, roles=[])
    tab = viewer()
    try:
        host = mongod.url.rpartition("@")[2].partition("/")[0]
        recording(mongo_url=f"mongodb://guest:{secret}@{host}/?authSource=admin")
        refused(tab, secret, (*ASKING, "part/calls/facets", "part/overview/failures"))
        recording(mongo_url=f"mongodb://nobody:{secret}@{host}/?authSource=admin")
        refused(tab, secret, ("calls",))
    finally:
        admin["admin"].command("dropUser", "guest")
        admin.close()


def refused(tab: TestClient, secret: str, pages: tuple[str, ...]) -> None:
    for page in pages:
        answer = tab.get(f"/{page}")
        assert answer.status_code == 503, (page, answer.status_code)
        assert secret not in answer.text
        assert "Traceback" not in answer.text
        words = text_of(answer.text)
        assert re.search("not authorized|may not|right|Authentication|log in|user", words), words


def test_while_mongodb_is_away_pages_look_again_by_themselves(
    viewer: Viewer, recording: Recording, database: Database[Any]
) -> None:
    """And show their calls once it is back."""
    store(database)
    tab = viewer()
    settings = recording()
    there = settings.mongo_url.get_secret_value()
    recording(mongo_url="mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=50")
    for page in ("", "calls", "trace?id=x", "prompts"):
        answer = tab.get(f"/{page}")
        assert answer.status_code == 503, page
        assert answer.headers["retry-after"] == "5"
        assert '<meta http-equiv="refresh" content="5">' in answer.text
        assert "127.0.0.1:9" in answer.text
    assert tab.get("/calls?format=json").status_code == 503
    recording(mongo_url=there)
    assert len(tab.get("/calls?format=json").json()["calls"]) == min(100, len(CALLS))

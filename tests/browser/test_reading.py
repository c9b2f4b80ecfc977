"""How one reads: from page to page, by a click on a value, level by level, as calls come in."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import uvicorn
from browser_tabs import Opened, Tab
from patience import PATIENCE
from pymongo.database import Database
from viewer_scenes import TRACE
from waiting import Recording

import llm_audit
from llm_audit import LLMLogger
from llm_audit.web import create_app

ASKED = "main td.wide a"


@pytest.fixture
def tab(opened: Opened) -> Tab:
    return opened()


def follow(tab: Tab, what: str) -> None:
    with tab.page.expect_navigation():
        tab.page.click(what)
    tab.loaded()


def rows(tab: Tab, of: str = "main table.rows") -> int:
    count: int = tab.page.locator(f"{of} tbody tr").count()
    return count


def links(tab: Tab) -> list[str]:
    found: list[str] = tab.page.eval_on_selector_all(
        "main tbody td:first-child a", "all => all.map(one => one.href)"
    )
    return found


def record(text: str) -> None:
    """Record a call, in a thread without Playwright's event loop."""

    def one() -> None:
        call = LLMLogger.start(model="gpt-live", messages=[{"role": "user", "content": text}])
        LLMLogger.complete(call, response_message={"role": "assistant", "content": "Yes."})
        assert llm_audit.flush(PATIENCE)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(one).result()


def test_older_calls_follow_and_the_way_back_is_the_browsers(tab: Tab) -> None:
    tab.goto("/calls")
    newest = links(tab)
    assert rows(tab, "table.rows") == 100
    follow(tab, "main a[rel=next]")
    older = links(tab)
    assert older
    assert set(newest).isdisjoint(older)
    tab.page.go_back()
    tab.loaded()
    assert links(tab) == newest
    assert tab.taken() == []


def test_a_click_on_a_value_asks_for_it_and_one_beside_it_for_all_others(tab: Tab) -> None:
    tab.goto("/calls?since=24h")
    follow(tab, "main td a:text-is('claude-sonnet-4') >> nth=0")
    assert "since=24h" in tab.page.url
    assert tab.page.locator("main td a:text-is('gpt-4o')").count() == 0
    follow(tab, ".chip a")
    cell = tab.page.locator("main td:has(a:text-is('gpt-4o'))").first
    cell.hover()
    cell.locator(".not").click()
    tab.page.wait_for_url("**not.model=gpt-4o*")
    assert tab.page.locator("main td a:text-is('gpt-4o')").count() == 0
    assert tab.page.locator("main td a:text-is('claude-sonnet-4')").count()
    assert "not model gpt-4o" in tab.page.inner_text(".chip")


def test_a_trace_is_unfolded_level_by_level_and_branch_by_branch(tab: Tab) -> None:
    tab.goto(f"/trace?id={TRACE}&depth=1")
    folded = rows(tab, "table.trace")
    chip = tab.page.locator("a.fold:has(.ERROR)").first
    assert chip.inner_text().startswith("+")
    follow(tab, "[aria-label=Levels] a >> nth=1")
    assert rows(tab, "table.trace") > folded
    tab.page.go_back()
    follow(tab, "a.fold:has(.ERROR) >> nth=0")
    assert "at=" in tab.page.url
    assert tab.page.locator("nav.way").is_visible()
    assert tab.page.locator("table.trace .ERROR").count()


def test_what_is_recorded_while_the_page_is_open_is_new(
    opened: Opened, scenes: Database[Any], recording: Recording
) -> None:
    """It moves nothing until it is asked for, and is not asked about while nobody looks."""
    recording(database=scenes.name)
    tab = opened()
    tab.goto("/calls?live=1&model=gpt-live")
    tab.goto("/calls?live=1")
    shown = links(tab)
    record("Anything new?")
    tab.page.wait_for_selector(".news a:text-is('1 new call')")
    assert links(tab) == shown
    follow(tab, ".news a")
    assert "Anything new?" in tab.page.inner_text("main tbody tr >> nth=0")
    asks = """() => new Promise(done => {
      document.addEventListener("htmx:before:request", event => done(!event.defaultPrevented));
      document.querySelector(".news").dispatchEvent(new CustomEvent("every"));
    })"""
    assert tab.page.evaluate(asks) is True
    tab.page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true})")
    assert tab.page.evaluate(asks) is False
    follow(tab, "main >> text=Pause")
    assert tab.page.locator(".news").count() == 0


@pytest.fixture
def served() -> Iterator[str]:
    """Serve what this process is set to, and give the address."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(), lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join(PATIENCE)
    listening.close()


def test_a_page_without_calls_becomes_the_list_with_the_first_one(
    opened: Opened, served: str, recording: Recording
) -> None:
    recording()
    tabs = [opened(served) for _ in range(2)]
    for tab, path in zip(tabs, ("/calls", "/"), strict=True):
        tab.goto(path)
        assert "llm_audit.instrument()" in tab.main()
    record("The first one")
    tabs[0].page.wait_for_selector("main td:has-text('The first one')")
    tabs[1].page.wait_for_selector("main .figures a:text-is('1')")
    assert [tab.taken() for tab in tabs] == [[], []]


def test_while_mongodb_is_away_a_page_says_so_and_looks_again(
    opened: Opened, served: str, recording: Recording
) -> None:
    recording(mongo_url="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100")
    tab = opened(served)
    assert tab.page.goto("/calls").status == 503
    assert "looks again by itself" in tab.main()
    recording()
    tab.page.wait_for_selector("main >> text=No call has been recorded yet")

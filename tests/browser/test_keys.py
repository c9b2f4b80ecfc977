"""The viewer's own JavaScript: keys, copies, times and colours."""

from urllib.parse import parse_qs, urlsplit

import pytest
from browser_tabs import Opened, Tab
from viewer_scenes import RICH, TRACE

from llm_audit.web.navigation import NAVIGATION


@pytest.fixture
def tab(opened: Opened) -> Tab:
    return opened()


def press(tab: Tab, *keys: str) -> None:
    for key in keys:
        tab.page.keyboard.press(key)


def row(tab: Tab) -> int:
    """Return the place of the row in which the focus is; -1 if it is in none."""
    rows = "[...document.querySelectorAll('main tbody tr')]"
    place: int = tab.page.evaluate(f"{rows}.indexOf(document.activeElement.closest('tr'))")
    return place


def leads_to(tab: Tab, *keys: str) -> str:
    """Return the path that keys lead to, with its query."""
    with tab.page.expect_navigation():
        press(tab, *keys)
    path: str = tab.page.evaluate("location.pathname + location.search")
    return path


def called_by(address: str) -> str:
    (call,) = parse_qs(urlsplit(address).query)["id"]
    return call


def test_rows_and_what_is_behind_them_are_reached_by_keys(tab: Tab) -> None:
    tab.goto("/calls?task_id=five")
    press(tab, "j", "j", "j", "k")
    assert row(tab) == 1
    called = leads_to(tab, "o")
    assert called.startswith("/call?id=")
    older, newer = called_by(leads_to(tab, "]")), called_by(leads_to(tab, "["))
    assert older != newer == called_by(called)
    tab.goto("/calls?task_id=five")
    press(tab, "j", "j")
    assert leads_to(tab, "Enter") == called
    tab.goto("/sessions")
    press(tab, "k")
    assert row(tab) == tab.page.locator("main tbody tr").count() - 1
    assert tab.taken() == []


def test_every_page_of_the_navigation_has_a_key(tab: Tab) -> None:
    tab.goto("/help")
    named = tab.page.locator("nav a").count()
    assert tab.page.locator("nav a[data-go]").count() == named
    assert named == len({place.key for place in NAVIGATION})
    for name, key in (("traces", "t"), ("tasks", "k"), ("", "o"), ("help", "h")):
        assert leads_to(tab, "g", key).partition("?")[0] == f"/{name}"
    listed = tab.page.locator("main dl.keys dt").count()
    press(tab, "?")
    assert tab.page.locator("#keys dt:visible").count() == listed > named
    press(tab, "j")  # nothing moves behind it
    press(tab, "Escape")
    assert not tab.page.locator("#keys").is_visible()
    tab.page.click("button[data-opens-keys]")
    press(tab, "?")
    assert not tab.page.locator("#keys").is_visible()


def test_keys_are_text_where_one_writes_and_the_browsers_with_a_modifier(tab: Tab) -> None:
    tab.goto("/calls")
    press(tab, "/", "j", "/", "?", "g", "t")
    field = tab.page.locator("form.search input")
    assert field.input_value() == "j/?gt"
    assert row(tab) == -1
    press(tab, "Escape", "Alt+j", "Meta+j", "Shift+Control+j")
    assert row(tab) == -1
    press(tab, "g", "q", "j")  # no such page; and what follows is a key again
    assert row(tab) == 0


def test_attempts_and_failures_have_keys(tab: Tab) -> None:
    tab.goto("/task?id=five")
    assert "attempt=4" in leads_to(tab, "[")
    assert "attempt=5" in leads_to(tab, "]")
    tab.page.click("nav.tabs a >> nth=0")
    tab.page.wait_for_url("**attempt=1*")
    assert "Attempt 1 of 5" in tab.main()
    tab.goto(f"/trace?id={TRACE}")
    seen = {leads_to(tab, "n") for _ in range(3)}
    assert len(seen) == 3
    assert tab.page.locator("tr#here .ERROR, tr#here .TIMEOUT").count()


def test_ids_and_commands_are_copied(opened: Opened, address: str) -> None:
    """Also where the page comes by plain http from another machine: there is no clipboard then."""
    other = address.replace("127.0.0.1", "shop.test")
    for base, first in ((address.partition("?")[0], "/"), (other.partition("?")[0], other)):
        tab = opened(base)
        tab.goto(first)
        tab.goto(f"/call?id={RICH}")
        is_safe = tab.page.evaluate("Boolean(navigator.clipboard)")
        assert is_safe is ("shop.test" not in base)
        if is_safe:
            tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        tab.page.click("dd > .copies")
        tab.page.wait_for_selector("dd > .copies:text('Copied')")
        press(tab, "/", "Control+v")
        assert tab.page.locator("form.search input").input_value() == RICH
        tab.goto(f"/call/raw?id={RICH}")
        tab.page.click("summary >> nth=0")
        assert tab.page.locator(".copies:visible").count() == 1


def test_times_say_those_of_the_browser_too(opened: Opened) -> None:
    tab = opened(timezone_id="Asia/Tokyo")
    tab.goto(f"/call?id={RICH}&tz=UTC")
    time = tab.page.locator("main time").first
    stated, here = str(time.get_attribute("title")).split("\n")
    assert stated.endswith(" UTC")
    assert stated == time.inner_text()
    assert here.endswith(" Asia/Tokyo")
    assert (int(here[11:13]) - int(stated[11:13])) % 24 == 9
    tab.goto("/calls")  # by now the server knows
    zone = tab.page.locator("footer input[name=tz]")
    assert zone.input_value() == "Asia/Tokyo"
    assert "\n" not in str(tab.page.locator("main time").first.get_attribute("title"))
    zone.fill("+05:30")
    zone.press("Enter")
    tab.page.wait_for_url("**tz=%2B05%3A30*")
    tab.page.click("footer >> text=in your own")
    tab.page.wait_for_url(lambda url: "tz=" not in url)
    tab.page.click("footer >> text=in UTC")
    tab.page.wait_for_url("**tz=UTC*")
    assert zone.input_value() == "UTC"
    assert "tz=UTC" in str(tab.page.locator("nav a >> nth=2").get_attribute("href"))


def test_the_first_page_of_a_browser_is_in_its_zone(opened: Opened) -> None:
    tab = opened(timezone_id="Asia/Tokyo")
    tab.goto("/calls")
    tab.page.wait_for_selector("footer input[value='Asia/Tokyo']")
    assert "Asia/Tokyo" in str(tab.page.locator("main time").first.get_attribute("title"))
    assert tab.page.evaluate("performance.getEntriesByType('navigation')[0].type") == "reload"
    tab.goto("/costs")
    assert tab.page.evaluate("performance.getEntriesByType('navigation')[0].type") == "navigate"


def test_colours_are_those_of_the_system_until_somebody_chooses(opened: Opened) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    tab = opened(color_scheme="dark")
    tab.goto("/help")
    dark = tab.page.evaluate(ground)
    tab.page.select_option("#scheme select", "light")
    light = tab.page.evaluate(ground)
    assert light != dark
    tab.goto("/help")
    assert tab.page.evaluate(ground) == light
    assert tab.page.locator("#scheme select").input_value() == "light"
    tab.page.select_option("#scheme select", "")
    tab.goto("/help")
    assert tab.page.evaluate(ground) == dark

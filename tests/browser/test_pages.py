"""Every page, in a real browser: quiet, whole, in light, in dark, on a phone, and for everybody."""

from importlib import import_module
from typing import Any
from urllib.parse import urlencode

from browser_tabs import Opened, Tab
from viewer_scenes import COMPANY, LOST, RICH, SESSION, STRANGE, TRACE, USER

from llm_audit.gate import shortened
from llm_audit.web.routes import PAGES

ADDRESSES: dict[str, dict[str, str]] = {  # of the pages that need parameters to show something
    "/call": {"id": RICH},
    "/calls": {"limit": "30"},
    "/call/raw": {"id": RICH},
    "/call/said": {"id": RICH},
    "/company": {"id": COMPANY},
    "/diff": {"a": LOST, "b": RICH},
    "/process": {"id": "process 4000"},
    "/search": {"q": "parcel"},
    "/session": {"id": SESSION},
    "/task": {"id": "five"},
    "/trace": {"id": TRACE},
    "/user": {"id": USER},
    "/workflow": {"id": "root"},
}
MORE = (
    f"/call?id={LOST}",
    f"/call?id={RICH}&as=markdown",
    f"/diff?a={LOST}",
    f"/trace?id={TRACE}&show=tasks",
    "/calls?columns=time,session,trace,tags,user,company&density=roomy",
    "/calls?model=nothing",
    "/costs?by=hour",
    "/tasks?show=newest",
    "/tasks?show=workers",
)
NO_PAGES = ("/export", "/media")  # they answer with files
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1_400, "height": 900}
TOO_WIDE = """() => [...document.querySelectorAll("body *")].filter(one =>
    one.getBoundingClientRect().right > innerWidth + 1 && one.checkVisibility()
    && !one.closest(".scroll, .bar, .switch, .skip, svg, pre, .markdown")
  ).slice(0, 3).map(one => one.outerHTML.slice(0, 90))"""
SPREADS = "() => document.documentElement.scrollWidth > innerWidth"
AXE = """async rules => (await axe.run({resultTypes: ["violations"], preload: false, ...rules}))
  .violations
  .map(one => `${one.id}: ${one.nodes.slice(0, 3).map(node => node.html.slice(0, 120)).join(" | ")}`
  )"""
CONTRAST = {"runOnly": ["color-contrast"]}


def pages() -> list[str]:
    """Return the address of every page, in the state in which it shows most."""
    shown = [path for path in PAGES if path not in NO_PAGES]
    own = [path + (f"?{urlencode(ADDRESSES[path])}" if path in ADDRESSES else "") for path in shown]
    return [*own, *MORE]


def what_is_wrong(tab: Tab, axe: str) -> list[str]:
    """Return what is wrong with the page that is open, in light, dark and narrow."""
    page: Any = tab.page
    wrong = tab.taken()
    if axe:
        page.evaluate(axe)
        wrong += page.evaluate(AXE, {})
        page.emulate_media(color_scheme="dark")
        wrong += [f"dark: {one}" for one in page.evaluate(AXE, CONTRAST)]
    page.set_viewport_size(PHONE)
    if page.evaluate(SPREADS):
        wrong.append(f"390 px: {page.evaluate(TOO_WIDE)}")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESK)
    return wrong + tab.taken()


def test_every_page_is_quiet_whole_and_for_everybody(opened: Opened) -> None:
    """All parts come, nothing spreads out of a phone, and axe finds nothing serious.

    No error or warning is in the console, no violation of the policy, no request that fails.
    """
    axe_core = import_module("axe_playwright_python.base").AXE_SCRIPT
    tab = opened(viewport=DESK, color_scheme="light")
    wrong = []
    for address in pages():
        assert tab.goto(address).status == 200, address
        axe = "" if address in MORE else axe_core  # which takes a second of a page
        wrong += [f"{address}  {each}" for each in what_is_wrong(tab, axe)]

    assert not wrong, "\n".join(wrong)


def test_nothing_that_was_recorded_breaks_a_page(opened: Opened) -> None:
    """However long, odd or hostile it is: on a phone too, nothing acts and nothing spreads."""
    tab = opened(viewport=PHONE)
    lists = ("", "calls", "costs", "failures", "latency", "sessions", "tasks", "tools", "traces")
    views = ("tasks?show=newest", "tasks?show=workers", "users", "companies", "search?q=x")
    addresses = [
        f"/{page}{'&' if '?' in page else '?'}since=7d&service=extreme" for page in (*lists, *views)
    ]
    for text in STRANGE:
        one = ("company", "session", "task", "trace", "user", "workflow")
        addresses += [f"/{page}?{urlencode({'id': shortened(text)})}" for page in one]
    calls = tab.page.request.get("/calls?service=extreme&format=json").json()["calls"]
    assert len(calls) == len(STRANGE)
    addresses += [f"/call?id={call['id']}" for call in calls]
    addresses += [f"/call/raw?id={calls[0]['id']}", f"/diff?a={calls[0]['id']}&b={calls[1]['id']}"]
    wrong = []
    for address in addresses:
        if tab.goto(address).status != 200:
            wrong.append(f"{address[:90]}  {tab.main()[:200]}")
        if tab.page.evaluate(SPREADS):
            wrong.append(f"{address[:90]}  spreads: {tab.page.evaluate(TOO_WIDE)}")
        wrong += [f"{address[:90]}  {each}" for each in tab.taken()]

    assert not wrong, "\n".join(wrong)


def test_every_page_shows_all_it_has_without_javascript(opened: Opened) -> None:
    """What comes as a part is behind a link there, to a page of ours."""
    tab = opened(java_script_enabled=False)
    without = set()
    for address in pages():
        answer = tab.page.goto(address)
        assert answer.status == 200, address
        parts = tab.page.locator('[hx-trigger="load"]')
        for place in range(parts.count()):
            link = parts.nth(place).locator("a")
            if link.count() == 0:
                without.add(parts.nth(place).get_attribute("hx-get").partition("?")[0])
                continue
            shown = tab.page.request.get(link.first.get_attribute("href"))
            assert shown.status == 200, (address, link.first.get_attribute("href"))
            assert '<nav aria-label="Pages">' in shown.text()

    assert without == {"/part/overview/banner", "/part/calls/facets"}
    assert not [one for one in tab.taken() if one.startswith("elsewhere")]

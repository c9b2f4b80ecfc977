"""Who gets in, by which address, as a browser does it."""

from urllib.parse import parse_qs, urlsplit

from browser_tabs import Opened, Tab


def fresh(opened: Opened) -> Tab:
    """Return a tab of somebody who is not logged in."""
    tab = opened()
    tab.page.context.clear_cookies()
    return tab


def test_the_token_opens_and_is_gone_from_the_address(opened: Opened, address: str) -> None:
    tab = fresh(opened)
    tab.goto(f"{address}&since=7d")
    assert urlsplit(tab.page.url).query == "since=7d"
    assert "Overview" in tab.main()
    assert tab.page.evaluate("document.cookie").count("llm_audit_tz") == 1  # the session is hidden
    tab.goto("/calls")
    assert "Calls" in tab.main()
    assert tab.page.evaluate("document.referrer").count("token") == 0


def test_whoever_has_no_token_gets_to_a_form_and_from_there_where_they_wanted(
    opened: Opened, address: str
) -> None:
    tab = fresh(opened)
    tab.goto("/costs?by=user_id")
    assert urlsplit(tab.page.url).path == "/login"
    tab.page.fill("input[name=token]", "x" * 43)
    tab.page.click("main button")
    assert "not the token" in tab.page.inner_text("[role=alert]")
    (token,) = parse_qs(urlsplit(address).query)["token"]
    tab.page.fill("input[name=token]", token)
    tab.page.click("main button")
    tab.page.wait_for_url("**/costs?by=user_id")
    assert tab.page.locator("h1:text-is('Costs')").count() == 1


def test_a_name_that_another_site_has_resolve_here_reads_nothing(
    opened: Opened, address: str
) -> None:
    tab = opened(address.partition("?")[0].replace("127.0.0.1", "evil.test"))
    for path in ("/calls", "/health", "/?" + urlsplit(address).query):
        answer = tab.page.goto(path)
        assert answer.status == 400, path
        assert "does not know" in answer.text()
    assert not tab.page.context.cookies(f"http://evil.test:{urlsplit(address).port}")

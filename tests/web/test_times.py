"""The stretch of time of a page: said, chosen, and the same for whoever gets the address."""

import re
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from made_up_calls import store
from pymongo.database import Database
from viewer_tabs import Viewer

ZONE = "Asia/Kolkata"


def test_a_date_is_one_of_the_pages_zone_and_exact_in_every_link(
    viewer: Viewer, database: Database[Any]
) -> None:
    store(database)
    tab = viewer()
    tab.cookies.set("llm_audit_tz", ZONE)
    day = "since=2026-05-01&until=2026-05-02"
    exact = {"since": ["2026-05-01T00:00:00+05:30"], "until": ["2026-05-02T00:00:00+05:30"]}
    for page in ("calls", "", "costs", "latency", "failures", "tools", "users", "traces", "tasks"):
        text = unescape(tab.get(f"/{page}?{day}").text)
        assert "from 05-01 00:00 to 05-02 00:00" in text, page
        links = [urlsplit(link) for link in re.findall('(?:href|hx-get)="(/[^"]*)"', text)]
        told = [parse_qs(link.query) for link in links if "until" in parse_qs(link.query)]
        given = [one for one in told if one["until"] == exact["until"]]
        assert any({**one, **exact} == one for one in given), page
        assert not re.search(r"until(=| )2026-05-02[& ]", text), page
    there = tab.get(f"/calls?{day}&format=json&limit=500").json()["calls"]
    in_kolkata = "since=2026-05-01T00:00%2B05:30&until=2026-05-02T00:00%2B05:30"
    assert there == tab.get(f"/calls?{in_kolkata}&format=json&limit=500").json()["calls"] != []


def test_today_and_yesterday_are_days_of_the_zone(viewer: Viewer, database: Database[Any]) -> None:
    """Yesterday is as long as it was, where clocks changed, too."""
    store(database)
    tab = viewer()
    for zone in ("UTC", ZONE, "America/New_York", "-03:30"):
        text = unescape(tab.get(f"/costs?tz={zone}&by=company_id").text)
        links = dict(re.findall(r'<a href="([^"]+)">(today|yesterday)</a>', text))
        queries = {word: parse_qs(urlsplit(link).query) for link, word in links.items()}
        since = datetime.fromisoformat(queries["yesterday"]["since"][0])
        until = datetime.fromisoformat(queries["yesterday"]["until"][0])
        assert [until.isoformat()] == queries["today"]["since"]
        assert "until" not in queries["today"]
        assert (since.hour, until.hour) == (0, 0)
        assert until.date() - since.date() == timedelta(days=1)
        if "/" in zone:
            assert until.utcoffset() == until.astimezone(ZoneInfo(zone)).utcoffset()
        shown = tab.get(next(link for link, word in links.items() if word == "yesterday")).text
        assert re.search('aria-current="true">yesterday<', shown), zone


def test_filters_go_on_to_every_page(viewer: Viewer, database: Database[Any]) -> None:
    """Whoever looks at a user's calls is led to that user's sessions, traces, costs ..."""
    store(database)
    text = unescape(viewer().get("/user?id=user-1").text)
    for page in ("calls", "traces", "sessions", "tasks", "failures", "costs", "latency", "tools"):
        assert re.search(rf'<a href="/{page}\?user_id=user-1[^"]*">{page.title()}</a>', text), page


def test_the_largest_calls_come_first(viewer: Viewer, database: Database[Any]) -> None:
    """A figure that is no number is not the largest."""
    store(database)
    database["llm_calls"].update_one({}, {"$set": {"estimated_cost": "a lot", "latency_ms": []}})
    tab = viewer()
    fields = {"cost": "estimated_cost", "took": "latency_ms", "tokens": "total_tokens"}
    for order, field in fields.items():
        query = f"since=2026-05-01&order={order}"
        calls = tab.get(f"/calls?{query}&format=json&limit=500").json()["calls"]
        figures = [call[field] for call in calls]
        stored = database["llm_calls"].find({field: {"$type": "number"}})
        assert figures == sorted((one[field] for one in stored), reverse=True)[:500] != [], order
        page = tab.get(f"/calls?{query}").text
        assert f"largest-calls {field}" in page
        assert f"{order.title()} ↓</a>" in page
        assert "Older calls" not in page
    assert tab.get("/calls?order=name").status_code == 400
    assert "order=cost" in tab.get("/costs").text
    course = re.search('<a href="([^"]+)">over time</a>', tab.get("/latency?since=2026-05-01").text)
    assert course is not None
    rows = tab.get(f"{unescape(course[1])}&format=json").json()
    assert (rows["by"], bool(rows["rows"])) == ("week", True)

"""The list of calls: what narrows it down, what is new in it, and what it becomes as a file."""

import csv
import io
import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from made_up_calls import CALLS, store
from pymongo.database import Database
from starlette.testclient import TestClient
from viewer_tabs import Viewer
from waiting import Recording

from llm_audit.cli import main
from llm_audit.web.pages.calls import search


@pytest.fixture
def tab(viewer: Viewer, database: Database[Any]) -> TestClient:
    """Open a tab on made-up calls."""
    store(database)
    return viewer()


def rows(tab: TestClient, address: str) -> list[dict[str, Any]]:
    """Return the calls of a page, as its JSON has them."""
    sign = "&" if "?" in address else "?"
    answer = tab.get(f"{address}{sign}format=json&limit=500")
    assert answer.status_code == 200, (address, answer.text)
    return list(answer.json()["calls"])


def links(html: str, *, starting: str = "/") -> list[str]:
    return [
        unescape(link) for link in re.findall('href="([^"]+)"', html) if link.startswith(starting)
    ]


def test_every_link_on_a_cell_leads_to_the_calls_that_have_its_value_or_to_all_others(
    tab: TestClient,
) -> None:
    """Also with filters that are given already, which go on."""
    base = "/calls?user_id=" + next(str(c["user_id"]) for c in CALLS if c.get("user_id"))
    page = tab.get(base + "&columns=time,outcome,type,model,provider,company,service").text
    everything = rows(tab, base)
    seen = 0
    for link in set(links(page, starting="/calls?")):
        name, value = re.search(r"[?&]((?:not\.)?[a-z_]+)=([^&]+)$", link).groups()  # type: ignore[union-attr]
        field = name.removeprefix("not.")
        if field not in ("status", "call_type", "model", "provider", "company_id", "service"):
            continue
        seen += 1
        wanted = [c for c in everything if (c.get(field) == value) is not name.startswith("not.")]
        assert rows(tab, link) == wanted, link
    assert seen > 15


def test_pages_hold_every_call_once_newest_first(tab: TestClient) -> None:
    found: list[str] = []
    address = "/calls?limit=90"
    while address:
        page = tab.get(f"{address}&format=json").json()
        found += [call["id"] for call in page["calls"]]
        address = page["next"] and page["next"].replace("&format=json", "").replace(
            "format=json", ""
        )

    assert found == [call["_id"] for call in CALLS]


def test_facets_count_what_their_links_lead_to(tab: TestClient) -> None:
    for base in ("?", "?status=ERROR&", "?not.model=gpt-4&"):
        for facet in tab.get(f"/part/calls/facets{base}format=json").json()["facets"]:
            if facet["field"] != "status":  # which a filter on it would replace
                linked = f"/calls{base}{facet['field']}={facet['value']}"
                assert len(rows(tab, linked)) == facet["calls"], linked


def test_what_came_in_since_is_counted_late_ones_too(
    viewer: Viewer, database: Database[Any]
) -> None:
    """As long as nothing has, nothing is said; the page itself stays as it is."""
    now = datetime.now(UTC)

    def call(at: datetime, **fields: Any) -> dict[str, Any]:
        milliseconds = round(at.timestamp() * 1000)
        identity = f"{milliseconds:012x}"
        unique = f"{len(made):012x}"
        made.append(identity)
        return {
            "_id": f"{identity[:8]}-{identity[8:]}-7000-8000-{unique}",
            "created_at": at,
            "status": "SUCCESS",
            "model": "m",
            **fields,
        }

    made: list[str] = []
    calls = database["llm_calls"]
    calls.insert_many([call(now - timedelta(minutes=number)) for number in range(5)])
    tab = viewer()
    (live,) = re.findall('hx-get="([^"]+/news[^"]+)"', tab.get("/calls?live=1&model=m").text)
    live = unescape(live)
    assert "no new calls" in tab.get(live).text

    calls.insert_many([call(now + timedelta(seconds=5)), call(now - timedelta(seconds=30))])
    calls.insert_one(call(now + timedelta(seconds=6), model="other"))

    answer = tab.get(live).text
    assert "2 new calls" in answer
    (again,) = links(answer)
    assert len(rows(tab, again)) == 7
    assert 'hx-get="/part/calls/news' not in tab.get("/calls?live=1&after=x").text


def test_an_export_is_what_the_list_shows(tab: TestClient) -> None:
    """In each format, in batches, whatever the filters."""
    for filters in ("", "status=ERROR&not.model=gpt-4", "model=none"):
        lines = tab.get(f"/export?format=jsonl&{filters}")
        shown = [json.loads(line)["id"] for line in lines.text.splitlines()]
        assert shown[:500] == [call["id"] for call in rows(tab, f"/calls?{filters}")]
        assert len(shown) == len(CALLS) or filters
        assert lines.headers["content-disposition"] == 'attachment; filename="llm-calls.jsonl"'
        table = list(csv.DictReader(io.StringIO(tab.get(f"/export?format=csv&{filters}").text)))
        assert [row["id"] for row in table] == shown
        two = tab.get(f"/export?format=jsonl&fields=model,status&{filters}").text.splitlines()
        assert [list(json.loads(line)) for line in two] == [["model", "status"]] * len(shown)
    assert tab.get("/export?format=openai&status=success").status_code == 200
    for wrong in ("xml", "openai&status=ERROR", "openai&status=SUCCESS&status=TIMEOUT"):
        assert tab.get(f"/export?format={wrong}").status_code == 400
    assert tab.get("/export?fields=nothing").status_code == 400


def test_the_command_lists_the_same_calls(
    tab: TestClient, capsys: pytest.CaptureFixture[str], recording: Recording
) -> None:
    """What the page says for a shell, in that shell."""
    settings = recording()
    for filters in (
        "model=gpt-4&not.status=SUCCESS",
        "tags=rag&tags=hidden",
        "task_name=tasks.ask&tool=read&since=2026-05-01&until=2026-05-02",
        "user_id=00000000-0000-0000-0000-000000000001&not.user_id=b&not.company_id=1",
    ):
        page = tab.get(f"/calls?{filters}")
        command, _ = re.findall('<pre class="copy">(.+?)</pre>', page.text)
        program, *words = shlex.split(unescape(command))
        assert program == "llm-audit"
        capsys.readouterr()
        where = ["--mongo-url", settings.mongo_url.get_secret_value()]
        assert main([*where, "--database", settings.database, *words, "--json"]) == 0
        printed = [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]
        shown = [call["id"] for call in tab.get(f"/calls?{filters}&format=json").json()["calls"]]
        assert printed == shown
        assert shown


def test_an_id_leads_to_its_page_and_a_text_to_where_it_was_said(tab: TestClient) -> None:
    call = next(call for call in CALLS if call.get("task_id") and call.get("session_id"))
    for kind, identifier in (
        *(("call", call["_id"]), ("task", call["task_id"]), ("user", call["user_id"])),
        ("session", call["session_id"]),
    ):
        answer = tab.get("/search", params={"q": f" {identifier} "})
        assert answer.status_code == 303, (kind, identifier)
        assert answer.headers["location"] == f"/{kind}?id={identifier.replace(' ', '+')}"
    page = tab.get("/search?q=hello&since=2026-05-01").text
    (part,) = re.findall('hx-get="([^"]+)"', page)
    found = tab.get(unescape(part))
    assert "<mark>Hello</mark>!" in found.text
    assert len(re.findall("<article", found.text)) == 20
    (older,) = [link for link in links(found.text) if "after=" in link]
    assert "hello" in tab.get(older).text
    assert "No call says so" in tab.get("/part/search/found?q=nobody+says+this").text
    assert tab.get("/part/search/found").status_code == 400


def test_a_search_reads_back_in_steps_and_says_how_far(
    tab: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each goes on where the one before ended, and together they find what one finds."""
    every = {"q": "hello", "since": "2026-05-01", "format": "json"}
    monkeypatch.setattr(search, "_HITS", 1_000)
    whole = tab.get("/part/search/found", params=every).json()
    assert whole["is_whole"]
    assert whole["after"] is None
    monkeypatch.setattr(search, "READ_MOST", 7)
    address = "/part/search/found?q=hello&since=2026-05-01"
    found: list[str] = []
    calls, steps = 0, 0
    while True:
        step = tab.get(f"{address}&format=json").json()
        found += [hit["call"]["id"] for hit in step["found"]]
        calls, steps = calls + step["calls"], steps + 1
        text = tab.get(address).text
        if step["is_whole"]:
            break
        assert step["calls"] == 7
        assert f'7 calls read, back to <time datetime="{step["oldest_at"][:19]}' in text
        (go_on,) = [link for link in links(text) if "after=" in link]
        (part,) = re.findall('hx-get="([^"]+)"', tab.get(go_on).text)
        address = unescape(part)
    assert "to the end of this time" in text
    assert not [link for link in links(text) if "after=" in link]
    assert found == [hit["call"]["id"] for hit in whole["found"]]
    assert calls == whole["calls"]
    assert steps == calls // 7 + 1 > 2


def test_what_cannot_be_asked_is_said(tab: TestClient) -> None:
    for query in (
        *("limit=0", "limit=501", "limit=x", "status=ODD", "since=never", "columns=nothing"),
        *("since=2026-05-02&until=2026-05-01", "tz=Mars/Base", "call_type=" + "x" * 65),
    ):
        answer = tab.get(f"/calls?{query}")
        assert answer.status_code == 400, query
        assert "cannot be asked" in answer.text
        assert tab.get(f"/calls?{query}&format=json").status_code == 400
    for query in ("status[$ne]=SUCCESS", "$where=1", "nothing=1", "model[]=x"):
        assert len(rows(tab, f"/calls?{query}")) == 500, query

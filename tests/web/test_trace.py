"""The page of a trace: small however large the trace is, with nothing left out that is not said."""

import gzip
import json
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pymongo
import pytest
from bson.datetime_ms import DatetimeMS
from made_up_calls import Call, call_id
from pymongo.database import Database
from starlette.testclient import TestClient
from viewer_tabs import Viewer
from waiting import Calls, Recording

NOW = datetime.now(UTC)
FAILED = ("ERROR", "TIMEOUT", "ABANDONED")
HOSTILE = '/<"> &\n\u202e?id=x#y'


class Tags(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag."""
        self.names.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "a":
            self.links.append(dict(attrs).get("href") or "")


class Made:
    """Makes up the calls of a trace, in seconds after it began."""

    def __init__(self, trace_id: str, hours_ago: float = 2) -> None:
        self.trace_id = trace_id
        self.begun = NOW - timedelta(hours=hours_ago)
        self.calls: list[Call] = []
        self._lot = random.Random(trace_id)

    def call(
        self, start: float, took: float | None, parent: Call | None = None, **more: Any
    ) -> Call:
        """Add a call; one that took None still runs."""
        at = self.begun + timedelta(seconds=start)
        call = {
            "_id": call_id(at, self._lot),
            "trace_id": self.trace_id,
            "created_at": at,
            "call_type": "CHAT",
            "model": "gpt-4o",
            "status": "PENDING" if took is None else "SUCCESS",
            "estimated_cost": 0.25,
            "total_tokens": 100,
        }
        if took is not None:
            ended = {"completed_at": at + timedelta(seconds=took), "latency_ms": took * 1000}
            call |= ended
        if parent is not None:
            call["parent_call_id"] = parent["_id"]
        self.calls.append(call | more)
        return self.calls[-1]


def task(number: int, retries: int = 0) -> Call:
    fields = {
        "name": f"app.tasks.t{number}",
        "retries": retries,
        "attempt_id": f"{number}.{retries}",
    }
    return {"task_id": f"task {number}", "task": fields}


def large(trace_id: str, count: int = 5_000) -> list[Call]:
    """Make up an agent's run of five levels, in tasks, a few per cent of it failing."""
    lot, made = random.Random(3), Made(trace_id)
    levels: list[list[Call]] = [[] for _ in range(5)]
    for number in range(count):
        level = min(lot.choices(range(5), (1, 3, 5, 5, 5))[0], sum(map(bool, levels)))
        parent = lot.choice(levels[level - 1][-40:]) if level else None
        failed = lot.random() < 0.03
        status = lot.choice(FAILED) if failed else "SUCCESS"
        more = {"tools_called": ["search", "read"]} if number % 3 else {}
        more |= task(number % 4, number % 7 // 6) if number % 2 else {}
        if failed:
            more["error_type"] = "RateLimitError"
        call = made.call(number * 0.7, lot.uniform(0.2, 9), parent, status=status, **more)
        levels[level].append(call)
    return made.calls


@pytest.fixture(scope="module")
def stored(mongo_client: pymongo.MongoClient[Call]) -> Iterator[Database[Call]]:
    """Store a large trace, and calls of others among its own."""
    database = mongo_client["test_web_trace"]
    mongo_client.drop_database(database)
    calls = [*large("large"), *large("middling", 400)]
    database["llm_calls"].create_index([("trace_id", 1), ("_id", 1)])
    database["llm_calls"].insert_many(calls)
    yield database
    mongo_client.drop_database(database)


@pytest.fixture
def tab(stored: Database[Call], viewer: Viewer, recording: Recording) -> TestClient:
    recording(database=stored.name)
    return viewer()


@pytest.fixture
def opened(viewer: Viewer, recording: Recording, calls: Calls) -> TestClient:
    recording(database=calls.database.name)
    return viewer()


def shown(tab: TestClient, address: str = "/trace", **parameters: Any) -> str:
    answer = tab.get(address, params=parameters or None)
    assert answer.status_code == 200, (parameters, answer.text)
    return answer.text


def led_to(html: str, rel: str) -> str | None:
    found = re.search(rf'<a [^>]*href="([^"]*)"[^>]* (?:rel|data-key)="{rel}"', html)
    return found and unescape(found[1])


def calls_on(html: str) -> list[str]:
    """Return the ids of the calls that have a row."""
    return re.findall(r'<td class="name">.*?<a href="/call\?id=([^"&]+)', html)


def pages_of(tab: TestClient, **parameters: Any) -> Iterator[str]:
    html = shown(tab, **parameters)
    while True:
        yield html
        further = led_to(html.partition('class="paging"')[2], "next")
        if further is None:
            return
        html = shown(tab, further)


def test_a_large_trace_is_a_small_page(tab: TestClient, stored: Database[Call]) -> None:
    """5,000 calls: at most 100 KB, 20 KB of them sent, 10,000 nodes, and one query."""
    stored.command({"profile": 2})
    shown(tab, id="large")
    stored.command({"profile": 0})
    asked = stored["system.profile"].count_documents({"command.aggregate": "llm_calls"})
    assert asked == 1
    for parameters in ({}, {"depth": 1}, {"depth": 4}, *({"show": it} for it in ("all", "failed"))):
        html = shown(tab, id="large", **parameters)
        assert len(html.encode()) <= 100_000, parameters
        assert len(gzip.compress(html.encode(), 5)) <= 20_000, parameters
        assert len(Tags(html).names) <= 10_000, parameters


def test_nothing_is_left_out_in_silence(tab: TestClient, stored: Database[Call]) -> None:
    """Page by page, every call has a row; where levels are folded, the rows say how many are below.

    So for the failures.
    """
    of_it = list(stored["llm_calls"].find({"trace_id": "middling"}))
    everything = [
        one for html in pages_of(tab, id="middling", show="all") for one in calls_on(html)
    ]
    assert len(everything) == len(set(everything)) == 400
    failed = [one for html in pages_of(tab, id="middling", show="failed") for one in calls_on(html)]
    assert set(failed) == {call["_id"] for call in of_it if call["status"] in FAILED}
    assert len(failed) == len(set(failed))
    rows, below, failures = 0, 0, 0
    for html in pages_of(tab, id="middling", depth=1):
        rows += len(calls_on(html))
        failures += sum(call in failed for call in calls_on(html))
        for title in re.findall(r'class="fold"[^>]*title="([^"]*)">\+', html):
            numbers = [int(it.replace(",", "")) for it in re.findall(r"[\d,]*\d", title)]
            below += numbers[0]
            failures += sum(numbers[1:])
    assert rows + below == 400
    assert failures == len(failed)


def test_numbers_lead_to_exactly_their_calls(tab: TestClient) -> None:
    """The bars above the rows, and what attempts of tasks made."""
    html = shown(tab, id="large")
    bars = re.findall(r'<a href="([^"]*)" tabindex="-1"><title>[^<]*: ([\d,]+) call', html)
    assert 100 < len(bars) <= 120
    assert sum(int(count) for _, count in bars) == 5_000
    for address, count in bars[::50]:
        assert listed(tab, address) == int(count)
    lanes = re.findall(r'<a href="(/calls\?[^"]*attempt_id=[^"]*)">([\d,]+) calls', html)
    assert len(lanes) == 4
    address, count = min(lanes, key=lambda lane: len(lane[1]))
    assert listed(tab, address) == int(count.replace(",", ""))


def listed(tab: TestClient, address: str) -> int:
    """Follow a link to a list of calls, to its end, and count them."""
    count, further = 0, f"{unescape(address)}&limit=500&format=json"
    while further:
        page = tab.get(further).json()
        count += len(page["calls"])
        further = page["next"]
    return count


def test_failures_lead_to_one_another(tab: TestClient, stored: Database[Call]) -> None:
    """Each is marked on a page that has it, the next one is a click away, and the last leads back.

    Its numbers, and the axis, are those of its own branch, or of the branch that it is in.
    """
    html, seen = shown(tab, id="middling"), []
    failures = stored["llm_calls"].count_documents(
        {"trace_id": "middling", "status": {"$in": FAILED}}
    )
    for number in range(failures + 1):
        further = led_to(html, "n")
        assert further is not None
        assert further.endswith("#here")
        html = shown(tab, further)
        [marked] = re.findall(r'<tr id="here" aria-current="true">.*?/call\?id=([^"&]+)', html)
        assert f"at={marked}" in further, number
        seen.append(marked)
    assert seen[-1] == seen[0]
    assert len(set(seen)) == failures


def test_what_still_runs_does_not_ruin_the_axis(opened: TestClient, calls: Calls) -> None:
    """Seconds of work are wide beside a call that has run for two hours, which goes on beyond."""
    made = Made("t")
    root = made.call(0, None, call_type="AGENT")
    made.call(1, 4, root)
    made.call(5, 5, root)
    alone = Made("alone")
    alone.call(0, None)
    calls.insert_many([*made.calls, *alone.calls])
    html = shown(opened, id="t")
    widths = re.findall(r'<rect x="([\d.]+)%" width="([\d.]+)%"(?: fill="(.*?)")?/>', html)
    assert [(float(x), float(width)) for x, width, _ in widths] == [(0, 100), (9.6, 38.4), (48, 48)]
    assert [fill for _, _, fill in widths] == ["url(#hatched)", "", ""]
    assert re.search(r"&gt;2h\d\dm", html)
    assert "Running for" in html
    assert "hx-get" not in html
    assert 'hx-trigger="every 5s"' in shown(opened, id="t", live=1)
    calls.update_one({"_id": root["_id"]}, {"$set": {"status": "SUCCESS", "completed_at": NOW}})
    assert "hx-get" not in shown(opened, id="t", live=1), "what has ended is looked at no more"
    html = shown(opened, id="alone")
    assert '<rect x="0%" width="100%" fill="url(#hatched)"/>' in html


def test_the_axis_is_that_of_the_rows(opened: TestClient, calls: Calls) -> None:
    """A page of many shows its own stretch of time, with all that is folded below its rows."""
    made = Made("t")
    for number in range(200):
        call = made.call(number, 0.1)
        if number % 2:
            made.call(number + 29, 1, call)
    calls.insert_many(made.calls)
    for html, first in ((shown(opened, id="t"), 0), (shown(opened, id="t", **{"from": 81}), 80)):
        places = [float(x) for x in re.findall(r'<rect x="([\d.]+)%"', html)]
        assert places[0] == 0
        assert places[-1] == pytest.approx(79 / 109 * 100, abs=0.1), first
        assert 'class="window"' in html


def test_strays_are_roots_and_say_so(opened: TestClient, calls: Calls) -> None:
    """A parent that was never recorded, and parents in a circle."""
    made = Made("t")
    made.call(0, 1, {"_id": "lost"})
    first = made.call(1, 1)
    first["parent_call_id"] = made.call(2, 1, first)["_id"]
    calls.insert_many(made.calls)
    html = shown(opened, id="t")
    assert len(calls_on(html)) == 3
    assert 'title="parent not in this trace: lost">no parent<' in html
    assert ">circle<" in html


def test_thousands_of_levels(opened: TestClient, calls: Calls) -> None:
    """A chain of 3,000 calls is a small page; from there one gets to the deepest, and back up."""
    made, above = Made("chain"), None
    for number in range(3_000):
        above = made.call(number / 100, 0.005, above, status="SUCCESS")
    made.calls[-1] |= {"status": "ERROR", "error_type": "TooDeep"}
    calls.insert_many(made.calls)
    html = shown(opened, id="chain")
    assert len(html.encode()) <= 100_000
    assert "3,000 calls" in html
    assert 'title="2,920 calls below, 1 failed: this branch alone">+2,920' in html
    deepest = shown(opened, str(led_to(html, "n")))
    assert calls_on(deepest) == [made.calls[-2]["_id"], made.calls[-1]["_id"]]
    assert "2,994 levels" in deepest
    for html in (deepest, shown(opened, id="chain", show="critical", **{"from": 2_990})):
        assert len(html.encode()) <= 100_000
    assert (
        len(opened.get("/trace", params={"id": "chain", "format": "json"}).json()["calls"]) == 3_000
    )


def test_of_too_many_calls_the_first_are_shown(
    opened: TestClient, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the page says so, and where all of them are."""
    monkeypatch.setattr("llm_audit.web.pages.traces.trace.MOST_CALLS", 10)
    made = Made("t")
    for number in range(12):
        made.call(number, 1)
    calls.insert_many(made.calls)
    html = shown(opened, id="t")
    assert calls_on(html) == [call["_id"] for call in made.calls[:10]]
    assert "first 10 calls" in html
    assert opened.get("/trace?id=t&format=json").json()["is_cut"] is True


def test_the_lane_tells_attempts_apart(opened: TestClient, calls: Calls) -> None:
    """Each attempt of a task has a line: which it is, what it paid, where its calls were."""
    made = Made("t")
    made.call(0, 10, **task(1))
    made.call(10, 5, **task(1, 1) | {"status": "ABANDONED"})
    made.call(40, 10, **task(1, 2))
    made.call(45, 5, **task(2))
    calls.insert_many(made.calls)
    html = shown(opened, id="t", show="tasks")
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in html.split("<tr>")[2:]]
    names = [row[: row.index("call") - 1] for row in rows]
    assert names == [["t1"], ["↻1", "t1"], ["↻2", "t1"], ["t2"]]
    assert rows[1][3:6] == ["call", "1", "failed"]
    said = opened.get("/trace", params={"id": "t", "format": "json"}).json()
    assert [(one["task_id"], one["retries"], one["failures"]) for one in said["attempts"]] == [
        *(("task 1", 0, 0), ("task 1", 1, 1), ("task 1", 2, 0), ("task 2", 0, 0))
    ]
    html = shown(opened, id="t")
    assert html.count('<td class="task"><a') == 4


def test_whatever_is_recorded_is_text(opened: TestClient, calls: Calls) -> None:
    """Ids, names and outcomes of strangers are shown, bounded, and never markup or an address."""
    made = Made(HOSTILE)
    script = "<script>alert(1)</script>"
    root = made.call(
        0, 1, call_type=script, model=script * 999, task_id=HOSTILE, task={"name": script}
    )
    made.call(1, 1, root, status="ERROR", error_type="<img src=x onerror=1>" * 99)
    made.call(2, 1, root, status=script, tools_called=[script * 50] * 50)
    odd = {
        "created_at": "soon",
        "latency_ms": "x",
        "task": 7,
        "tools_called": 1,
        "model": [],
        "_id": "/<",
    }
    calls.insert_many([*made.calls, {"trace_id": HOSTILE, "status": "SUCCESS"} | odd])
    calls.insert_one({"_id": "0", "trace_id": "no time", "status": "ERROR"})
    lists = [shown(opened, "/traces"), shown(opened, "/traces", user_id=HOSTILE, tags=script)]
    for show in (None, "all", "failed", "critical", "tasks"):
        lists.append(shown(opened, id=HOSTILE, **({"show": show} if show else {})))
        shown(opened, id="no time", **({"show": show} if show else {}))
    for html in lists:
        tags = Tags(html)
        assert tags.names.count("script") == 2
        assert not {"img", "style"} & ({*tags.names} | tags.attributes), html
        assert not {name for name in tags.attributes if name.startswith("on")}
        assert all(link.startswith(("/", "#")) for link in tags.links)
        assert len(html) < 40_000
    assert calls_on(lists[2]) == ["%2F%3C", *(call["_id"] for call in made.calls)]
    for link in Tags(lists[2]).links:
        if link.startswith("/trace?"):
            assert opened.get(link).status_code == 200, link


def test_calls_of_any_time(opened: TestClient, calls: Calls) -> None:
    """At both ends of time, ended before they began, or without a time at all, in every zone."""
    first, last = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_000)  # noqa: DTZ001
    times: dict[str, list[tuple[Any, Any]]] = {
        "all time": [(first, last), (last, last)],
        "late": [(last, last)],
        "early and running": [(first, None)],
        "backwards": [(NOW, NOW - timedelta(days=400)), (NOW, NOW)],
        "none": [(None, None)],
        "no dates": [("soon", 7), (DatetimeMS(10**15), DatetimeMS(-(10**15)))],
    }
    for trace_id, spans in times.items():
        for number, (begun, ended) in enumerate(spans):
            call = {"_id": f"{trace_id} {number}", "trace_id": trace_id, "status": "SUCCESS"}
            call |= {} if begun is None else {"created_at": begun}
            call |= {"status": "PENDING"} if ended is None else {"completed_at": ended}
            calls.insert_one(call)
    for zone in ("UTC", "Pacific/Kiritimati", "America/New_York", "+14:00", "-12:00"):
        assert len(re.findall("<tr>", shown(opened, "/traces", tz=zone))) == len(times) + 1
        for trace_id, spans in times.items():
            for show in ("all", "critical", "failed", "tasks"):
                html = shown(opened, id=trace_id, tz=zone, show=show)
            assert len(calls_on(shown(opened, id=trace_id, tz=zone))) == len(spans), trace_id
            assert "Traceback" not in html


def test_what_cannot_be_asked(opened: TestClient, calls: Calls) -> None:
    """A trace that nobody knows, a call of another one, a view that there is none of."""
    made, other = Made("t"), Made("u")
    call = made.call(0, 1)
    stranger = other.call(0, 1)
    calls.insert_many([call, stranger])
    for parameters, status in (
        ({}, 400),
        ({"id": ""}, 400),
        ({"id": "nobody's"}, 404),
        ({"id": call["_id"]}, 404),
        ({"id": "t", "at": stranger["_id"]}, 404),
        ({"id": "t", "at": "x"}, 404),
        ({"id": "t", "show": "everything"}, 400),
        ({"id": "t", "depth": "-1"}, 400),
        ({"id": "t", "from": "x"}, 400),
        ({"id": "t", "from": "20000"}, 200),
        ({"id": "t", "depth": "1000000"}, 200),
        ({"id": "t", "at": call["_id"]}, 200),
    ):
        assert opened.get("/trace", params=parameters).status_code == status, parameters
        as_json = opened.get("/trace", params=parameters | {"format": "json"})
        assert json.loads(as_json.text), parameters


def test_a_tenant_sees_its_own_calls_of_a_trace(
    viewer: Viewer, calls: Calls, recording: Recording
) -> None:
    """Others' calls with the same trace id have no row, no bar and no part in any sum."""
    recording(database=calls.database.name)
    made = Made("t")
    root = made.call(0, 1, company_id="1")
    made.call(0.5, 1, root, company_id="2", status="ERROR", **task(1))
    calls.insert_many(made.calls)
    tab = viewer(scope={"company_id": "1"})
    html = shown(tab, id="t")
    assert calls_on(html) == [root["_id"]]
    assert "no call failed" in html
    assert made.calls[1]["_id"] not in html
    assert tab.get("/trace", params={"id": "t", "at": made.calls[1]["_id"]}).status_code == 404
    [one] = tab.get("/traces?format=json").json()["traces"]
    assert (one["calls"], one["failures"], one["tasks"]) == (1, 0, 0)


def test_the_list_of_traces_leads_to_its_numbers(tab: TestClient) -> None:
    """Calls, failures: each number is a link to exactly those calls; older ones are a link away."""
    html = shown(tab, "/traces", limit=1)
    older = led_to(html, "next")
    assert older is not None
    for page in (html, shown(tab, older)):
        links = re.findall(r'href="(/calls\?trace_id=[^"]*)">(?:<svg.*?</svg> )?([\d,]+)</a>', page)
        assert len(links) == 2
        for address, count in links:
            assert listed(tab, address) == int(count.replace(",", "")), address


def test_the_list_is_small_and_pages_are_exact(
    opened: TestClient, calls: Calls, database: Database[Call]
) -> None:
    """Three queries and 10 KB sent for fifty traces; page by page, each has a row, once."""
    for number in range(120):
        made = Made(f"trace {number:03}", hours_ago=200 - number)
        root = made.call(0, 9, messages=[{"role": "user", "content": "?" * 500}], **task(number))
        made.call(1, 2, root, status="ERROR" if number % 3 else "SUCCESS", **task(number, 1))
        calls.insert_many([*made.calls, made.call(2, None, root)])
    calls.create_index([("trace_id", 1), ("_id", 1)])
    database.command({"profile": 2})
    html = shown(opened, "/traces")
    database.command({"profile": 0})
    assert database["system.profile"].count_documents({"command.aggregate": "llm_calls"}) == 3
    assert len(gzip.compress(html.encode(), 5)) <= 10_000
    assert len(Tags(html).names) <= 3_000
    seen: list[str] = []
    further: str | None = "/traces"
    while further:
        html = shown(opened, further)
        seen += re.findall(r'<tr>\s*<td class="fit"><a href="/trace\?id=([^"]*)"', html)
        further = led_to(html, "next")
    assert seen == [f"trace+{number:03}" for number in reversed(range(120))]


def test_idle_time_is_left_out_where_that_is_asked_for_and_the_axis_says_so(
    viewer: Viewer, database: Database[Any]
) -> None:
    """Three short calls of ten minutes are seen; what a call spans that has others below counts."""
    made = Made("mostly idle")
    root = made.call(0, 600)
    for start in (0.01, 300, 599.9):
        made.call(start, 0.04, root)
    database["llm_calls"].insert_many(made.calls)
    tab = viewer()
    whole = tab.get("/trace?id=mostly+idle").text
    (offered,) = [link for link in Tags(whole).links if "gaps=short" in link]

    def widths(page: str) -> list[float]:
        rows = re.findall(r'<td class="time"><svg.*?</svg>', page)
        bars = [re.findall(r'<rect x="([\d.]+)%" width="([\d.]+)%"', row) for row in rows]
        return [float(bar[-1][1]) for bar in bars]

    assert max(widths(whole)[1:]) < 0.5
    short = tab.get(unescape(offered)).text
    assert min(widths(short)[1:]) > 10
    assert "10m00s left out" in short
    assert len(re.findall("<title>5m00s left out: no call ran", short)) == 2
    assert [link for link in Tags(short).links if "show=all" in link and "gaps=short" in link]
    ticks = re.findall(r'<text x="([\d.]+)%" y="12">', short)
    assert [float(x) for x in ticks] == sorted({float(x) for x in ticks})

    busy = Made("busy")
    for start in range(10):
        busy.call(start, 1)
    database["llm_calls"].insert_many(busy.calls)
    assert "gaps=" not in tab.get("/trace?id=busy").text
    assert "left out" not in tab.get("/trace?id=busy&gaps=short").text
    for odd in ("none", "x" * 999):
        assert tab.get(f"/trace?id=busy&gaps={odd}").status_code == 200

"""Pages of sums: every number leads to exactly the calls that it counts."""

import random
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from made_up_calls import CALLS, FAILURES, call_id, store
from pymongo.database import Database
from starlette.testclient import TestClient
from viewer_tabs import Viewer

from llm_audit.queries.answers.failure_messages import fingerprint

SINCE = "since=2026-05-01"


@pytest.fixture
def tab(viewer: Viewer, database: Database[Any]) -> TestClient:
    """Open a tab on made-up calls, but for those that say no time beside their id."""
    store(database)
    database["llm_calls"].delete_many({"created_at": None})
    return viewer()


def led_to(tab: TestClient, link: str) -> list[dict[str, Any]]:
    """Return the calls that a link leads to."""
    answer = tab.get(f"{unescape(link)}&format=json&limit=500")
    assert answer.status_code == 200, (link, answer.text)
    return list(answer.json()["calls"])


def numbers_of(tab: TestClient, address: str) -> Iterator[tuple[str, int]]:
    """Yield each number of a page, and of its parts, that is a link to calls, with the link."""
    page = tab.get(address)
    assert page.status_code == 200, address
    parts = [unescape(part) for part in re.findall('hx-get="([^"]+)"', page.text)]
    answers = [page, *(tab.get(part) for part in parts if "news" not in part)]
    for answer in answers:
        assert answer.status_code == 200, answer.url
        number = r">(?:<svg.*?</svg>)?\s*([\d,]+)(?: [a-z ]+)?</a>"
        found = rf'<a [^>]*href="(/calls\?[^"]*)"[^>]*{number}'
        for link, text in re.findall(found, answer.text, re.DOTALL):
            yield link, int(text.replace(",", ""))


def test_each_number_leads_to_the_calls_that_it_counts(tab: TestClient) -> None:
    """On every page of sums and in its parts, with filters and without, for groups of none too."""
    some = "&provider=openai&not.model=claude&missing=review_id"
    for address, least in (
        *((f"/?{SINCE}", 15), (f"/?{SINCE}{some}", 9), ("/?until=2026-05-02T12:00", 15)),
        *((f"/failures?{SINCE}", 30), (f"/failures?{SINCE}{some}&not.status=ERROR", 3)),
        *((f"/tools?{SINCE}", 2), ("/tools?until=2026-05-02", 2)),
        *((f"/users?{SINCE}", 4), (f"/companies?{SINCE}", 3), ("/users?until=2026-05-02", 4)),
        *((f"/costs?{SINCE}", 3), (f"/costs?{SINCE}&by=tag&tags=rag", 2)),
        *((f"/tasks?{SINCE}", 4), ("/tasks?until=2026-05-02", 4)),
        *((f"/{page}?by=day&{SINCE}&tz=Asia/Kolkata", 3) for page in ("costs", "latency")),
        ("/costs?by=hour&until=2026-05-01T12:00", 8),
        *((f"/?{SINCE}&status={status}", 7) for status in ("timeout", "ERROR&status=SUCCESS")),
        (f"/tasks?{SINCE}&status=TIMEOUT", 9),
        (f"/tasks?{SINCE}&missing=review_id&not.status=ERROR", 15),
        *((f"/tools?{SINCE}&{none}", 0) for none in ("missing=tool", "missing=tool&tool=read")),
        *((f"/latency?{SINCE}{more}", 3) for more in ("", "&by=tag", "&min_latency_ms=500")),
        (f"/costs?{SINCE}&by=tag", 3),
    ):
        seen = 0
        for link, count in numbers_of(tab, address):
            assert len(led_to(tab, link)) == count, (address, link)
            seen += 1
        assert seen >= least, (address, seen)


def test_each_group_of_costs_and_latencies_leads_to_its_calls(tab: TestClient) -> None:
    for page in ("costs", "latency"):
        for by in ("model", "provider", "user_id", "company_id", "task_name", "call_type", "tag"):
            answer = tab.get(f"/{page}?by={by}&{SINCE}&format=json").json()
            links = re.findall(
                r'<td class="wide">\s*<a href="(/calls[^"]+)"',
                tab.get(f"/{page}?by={by}&{SINCE}").text,
            )
            assert len(links) == len(answer["rows"])
            for link, row in zip(links, answer["rows"], strict=True):
                calls = led_to(tab, link)
                if page == "latency":
                    calls = [call for call in calls if call.get("latency_ms") is not None]
                assert len(calls) == row["calls"], (by, row["group"], link)


def test_hours_and_days_lead_to_their_calls_in_any_zone(tab: TestClient) -> None:
    """Each bar of the overview and of costs, where hours begin at half past, too."""
    until = "until=2026-05-04"
    for zone in ("UTC", "Asia/Kolkata", "America/New_York", "-03:30"):
        for address in (f"/?{SINCE}&{until}", "/?since=2026-05-01T00:00Z&until=2026-05-02T12:00Z"):
            page = tab.get(f"{address}&tz={zone}").text
            bars = re.findall(r'<a href="([^"]+)" tabindex="-1"><title>([^<]+)</title>', page)
            total = 0
            for link, title in bars:
                told = int(re.search(r"([\d,]+) calls", title)[1])  # type: ignore[index]
                assert len(led_to(tab, link)) == told, (zone, link, title)
                total += told
            assert total == tab.get(f"{address}&tz={zone}&format=json").json()["now"]["calls"] > 100


def test_the_time_before_is_as_long_and_ends_where_this_begins(tab: TestClient) -> None:
    def numbers(query: str) -> dict[str, Any]:
        return dict(tab.get(f"/?{query}&format=json").json())

    second = numbers("since=2026-05-02T00:00Z&until=2026-05-03T00:00Z")
    first = numbers("since=2026-05-01T00:00Z&until=2026-05-02T00:00Z")

    assert second["before"] == first["now"]
    hour = numbers("since=2026-05-01T05:00Z&until=2026-05-01T06:00Z")["before"]
    assert hour == numbers("since=2026-05-01T04:00Z&until=2026-05-01T05:00Z")["now"]
    assert first["before"]["calls"] == 0
    judged = [call for call in CALLS if call["status"] in (*FAILURES, "SUCCESS")]
    whole = numbers(SINCE)["now"]
    assert whole["failures"] + whole["successes"] <= len(judged)


def test_one_user_is_an_overview_of_that_users_calls(tab: TestClient) -> None:
    """Its parts and links included; ids are whatever users make them."""
    user = str(CALLS[9]["user_id"])
    page = tab.get("/user", params={"id": user, "since": "2026-05-01"})
    numbers = tab.get("/user", params={"id": user, "since": "2026-05-01", "format": "json"}).json()
    own = [call for call in CALLS if call.get("user_id") == user]
    assert 0 < numbers["now"]["calls"] <= len(own)
    for part in re.findall('hx-get="([^"]+)"', page.text):
        assert f"user_id={user}" in unescape(part)
        assert tab.get(unescape(part)).status_code == 200
    for odd in ("a/b", "..", "<i>", "'\"", "//evil.test", "\n", "a&b=c#d", "\u202e"):
        answer = tab.get("/user", params={"id": odd})
        assert answer.status_code == 200
        assert "<i>" not in answer.text
    assert tab.get("/user").status_code == 400


def test_the_heatmap_counts_every_latency_once(tab: TestClient) -> None:
    cells = tab.get(f"/part/latency/heat?{SINCE}&format=json").json()["cells"]
    known = tab.get(f"/latency?{SINCE}&by=provider&format=json").json()["rows"]

    assert sum(cell["calls"] for cell in cells) == sum(row["calls"] for row in known) > 100
    picture = tab.get(f"/part/latency/heat?{SINCE}").text
    square = r'<a href="([^"]+)" tabindex="-1"><title>[^<]*: ([\d,]+) call'
    assert len(re.findall(square, picture)) == len(cells)
    for more in ("", "&min_latency_ms=500", "&max_latency_ms=700.5"):
        picture = tab.get(f"/part/latency/heat?{SINCE}{more}").text
        for link, calls in re.findall(square, picture):
            assert len(led_to(tab, link)) == int(calls), link


def test_a_percentile_leads_to_the_calls_that_took_as_long(tab: TestClient) -> None:
    for by in ("provider", "day"):
        page = tab.get(f"/latency?by={by}&{SINCE}").text
        rows = tab.get(f"/latency?by={by}&{SINCE}&format=json").json()["rows"]
        links = re.findall(r'<a href="([^"]+&amp;min_latency_ms=(?!0")[^"]+)"', page)
        assert len(links) == 3 * len(rows)
        for link, (row, name) in zip(
            links, [(row, name) for row in rows for name in ("p90", "p95", "p99")], strict=True
        ):
            latencies = [call["latency_ms"] for call in led_to(tab, link)]
            assert min(latencies) == row[name]
            share = 100 * (1 - len(latencies) / row["calls"])
            assert (
                share < int(name[1:]) <= share + 100 * latencies.count(row[name]) / row["calls"] + 1
            )


def test_what_has_an_empty_name_is_counted_and_is_no_link(
    viewer: Viewer, database: Database[Any]
) -> None:
    """No filter is an empty text: one would lead to all calls."""
    store(database)
    at = datetime.now(UTC)
    call = {"_id": call_id(at, random.Random(3)), "created_at": at, "status": "SUCCESS"}
    database["llm_calls"].insert_one(call | {"tags": [""], "tools_called": [""], "latency_ms": 1.0})
    tab = viewer()
    for address in ("/costs?by=tag", "/latency?by=tag", "/tools"):
        assert list(numbers_of(tab, f"{address}{'&' if '?' in address else '?'}since=1h")) == []
        assert "(empty)" in tab.get(address).text


def test_what_counts_twice_is_not_added_up(tab: TestClient) -> None:
    """A call with two tags is in two rows."""
    assert "<dt>Cost</dt>" in tab.get(f"/costs?{SINCE}").text
    assert "<dt>Cost</dt>" not in tab.get(f"/costs?{SINCE}&by=tag").text


def test_empty_and_wrong(tab: TestClient) -> None:
    for address in ("/", "/failures", "/costs", "/latency", "/tools", "/users", "/companies"):
        assert tab.get(f"{address}?model=none").status_code == 200
        assert tab.get(f"{address}?since=x").status_code == 400
    for address in ("/costs?by=nothing", "/latency?by=_id", "/costs?by=model&tz=Mars"):
        assert tab.get(address).status_code == 400


def test_a_tool_shows_with_which_arguments_it_was_asked_for(
    viewer: Viewer, database: Database[Any]
) -> None:
    """In any provider's shape, malformed ones too; a long one says how much more there is."""
    at = datetime.now(UTC)
    function = {"name": "search", "arguments": '{"q": "<b>café</b>"}'}
    openai = {
        "role": "assistant",
        "tool_calls": [{"type": "function", "id": "1", "function": function}],
    }
    broken = {"name": "search", "arguments": '{"q": ' + "x" * 5_000}
    anthropic = [
        {"type": "tool_use", "id": "2", "name": "search", "input": {"q": "two", "n": 3}},
        {"type": "tool_use", "id": "3", "name": "other", "input": {"q": "not this one"}},
    ]
    answers = (
        openai,
        {"role": "assistant", "tool_calls": [{"type": "function", "function": broken}]},
        {"role": "assistant", "content": anthropic},
        None,
    )
    lot = random.Random(1)
    calls = [
        {
            "_id": call_id(at - timedelta(minutes=place), lot),
            "created_at": at - timedelta(minutes=place),
            "status": "SUCCESS",
            "tools_called": ["search"],
            "response_message": answer,
            **({"malformed_tool_calls": ["search"]} if answer and place == 1 else {}),
        }
        for place, answer in enumerate(answers)
    ]
    database["llm_calls"].insert_many(calls)
    tab = viewer()
    (part,) = re.findall(
        'hx-get="(/part/tools/arguments[^"]+)"', tab.get("/tools?tool=search").text
    )
    html = tab.get(unescape(part)).text

    for words in ("&lt;b&gt;café&lt;/b&gt;", "two", "no JSON object", "4,606 more characters"):
        assert words in html, words
    assert "not this one" not in html
    assert html.count("no JSON object") == 1
    found = tab.get("/part/tools/arguments?tool=search&format=json").json()["arguments"]
    assert [one["call_id"] for one in found] == [call["_id"] for call in calls[:3]]
    assert found[0]["arguments"] == {"q": "<b>café</b>"}
    assert tab.get("/part/tools/arguments").status_code == 400
    assert "arguments?" not in tab.get("/tools").text


def test_failures_that_say_the_same_but_for_numbers_and_ids_are_one(
    viewer: Viewer, database: Database[Any]
) -> None:
    lot, now = random.Random(2), datetime.now(UTC)
    said = [
        *(f"Rate limit reached: {n} of 100 (request req_{n}ab34cd99ef)" for n in range(5)),
        *(f"<b>No host</b> 10.0.0.{n}:443 at 0x7f{n}a" for n in range(3)),
        "Rate limit reached",
        None,
    ]
    for place, message in enumerate(said):
        at = now - timedelta(minutes=place)
        call = {"_id": call_id(at, lot), "created_at": at, "status": "ERROR", "error_type": "E"}
        database["llm_calls"].insert_one(call | ({"error_message": message} if message else {}))
    tab = viewer()
    (part,) = re.findall('hx-get="(/part/failures/messages[^"]*)"', tab.get("/failures").text)
    rows = tab.get(f"{unescape(part)}?format=json").json()["messages"]

    assert [(row["message"], row["count"]) for row in rows] == [
        ("Rate limit reached: # of # (request #)", 5),
        ("<b>No host</b> # at #", 3),
        ("Rate limit reached", 1),
    ]
    assert rows[0]["first_seen"] < rows[0]["last_seen"]
    assert "&lt;b&gt;No host&lt;/b&gt; #" in tab.get(unescape(part)).text
    for status in ("status=SUCCESS", "not.status=ERROR"):  # which the page leaves out, too
        assert tab.get(f"{unescape(part)}?{status}&format=json").json()["messages"] == rows


def test_a_message_of_any_shape_is_put_together_in_no_time() -> None:
    """As many dashes as it has, they are looked at once: thousands of messages are read."""

    def took(message: str) -> float:
        began = time.process_time()
        for _ in range(50):
            fingerprint(message)
        return time.process_time() - began

    usual = min(took("Request req_0012ab34cd failed after 1.5 s: " * 7) for _ in range(3))
    for hostile in ("a-" * 150, "-" * 300, "-a" * 150, "0x" * 150, "1.," * 100, "a" * 300):
        assert min(took(hostile) for _ in range(3)) < 8 * usual, hostile
    assert fingerprint("id -- a-b-c-d-e-f-g-1 took 0.30000000000000004 s") == "id -- # took # s"

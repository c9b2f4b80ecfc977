"""Sessions: each once, whoever's they are, and one as a conversation without repetition."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from random import Random
from typing import Any

import pytest
from made_up_calls import CALLS, call_id, store
from pymongo.database import Database
from starlette.testclient import TestClient
from viewer_tabs import Viewer


def conversation(session: str, turns: int, **fields: Any) -> list[dict[str, Any]]:
    """Return a chat of so many turns: each request repeats all that was said before."""
    lot, begun = Random(turns), datetime.now(UTC) - timedelta(hours=1)
    history: list[dict[str, Any]] = []
    calls = []
    for number in range(turns):
        at = begun + timedelta(seconds=number)
        history = [*history, {"role": "user", "content": f"question {number}, please"}]
        answer = {"role": "assistant", "content": f"answer {number} it is"}
        calls.append(
            {
                "_id": call_id(at, lot),
                "created_at": at,
                "status": "SUCCESS",
                "session_id": session,
                "messages": history,
                "response_message": answer,
                **fields,
            }
        )
        history = [*history, answer]
    return calls


def test_each_session_is_listed_once_and_its_numbers_lead_to_its_calls(
    viewer: Viewer, database: Database[Any]
) -> None:
    store(database)
    tab = viewer()
    found: list[dict[str, Any]] = []
    address = "/sessions?limit=4&format=json"
    while address:
        page = tab.get(address).json()
        found += page["sessions"]
        address = page["next"]

    sessions = {call["session_id"] for call in CALLS if call.get("session_id")}
    assert sorted(session["session_id"] for session in found) == sorted(sessions)
    page = tab.get("/sessions").text
    for session in found:
        link = f"/calls?session_id={session['session_id']}"
        calls = tab.get(f"{link}&format=json&limit=500").json()["calls"]
        assert len(calls) == session["calls"]
        assert f'href="{link}"' in page


def test_a_conversation_says_everything_once(viewer: Viewer, database: Database[Any]) -> None:
    """In pages that meet, the newest turns first, however long it is."""
    database["llm_calls"].insert_many(conversation("a/b <i>", 120))
    tab = viewer()
    seen: list[str] = []
    address: str | None = "/session?id=a/b+%3Ci%3E"
    while address:
        page = tab.get(address)
        assert page.status_code == 200
        assert "<i>" not in page.text
        said = re.findall(r'<div class="text">((?:question|answer) \d+)[^<]+</div>', page.text)
        seen = said + seen
        earlier = re.search(r'href="([^"]+)" rel="prev"', page.text)
        address = unescape(earlier[1]) if earlier else None

    assert seen == [f"{what} {n}" for n in range(120) for what in ("question", "answer")]


def test_failures_and_new_beginnings_stand_where_they_were(
    viewer: Viewer, database: Database[Any]
) -> None:
    calls = conversation("s", 3)
    calls[1] |= {"status": "TIMEOUT", "error_type": "ReadTimeout", "error_message": "<b>slow</b>"}
    del calls[1]["response_message"]
    calls.append(
        conversation("s", 1, system_prompt="Other instructions.")[0]
        | {"_id": calls[2]["_id"][:-1] + "z"}
    )
    database["llm_calls"].insert_many(calls)

    page = viewer().get("/session?id=s").text

    assert "ReadTimeout" in page
    assert "&lt;b&gt;slow&lt;/b&gt;" in page
    assert page.count("<article") == 4


@pytest.mark.parametrize("kind", ["session"])
def test_one_that_is_not_there_is_told_with_what_is_near(
    kind: str, viewer: Viewer, database: Database[Any]
) -> None:
    database["llm_calls"].insert_many(conversation("support-2026-0001", 1, trace_id="trace-x"))
    tab: TestClient = viewer()
    near = tab.get(f"/{kind}?id=support-2026-0002")
    assert near.status_code == 404
    assert "support-2026-0001" in near.text
    other = tab.get(f"/{kind}?id=trace-x")
    assert other.status_code == 404
    assert 'href="/trace?id=trace-x"' in other.text
    assert tab.get(f"/{kind}").status_code == 400


def test_calls_without_a_session_are_not_said_to_be_missing(
    viewer: Viewer, database: Database[Any]
) -> None:
    """Where calls name no session the page says how they would, not that there are none."""
    database["llm_calls"].insert_many(conversation("", 1, session_id=None))
    page = viewer().get("/sessions").text
    assert "No call says to which session it belongs" in page
    assert "No call has been recorded" not in page


def test_the_turns_that_failed_are_a_click_away(viewer: Viewer, database: Database[Any]) -> None:
    """On a page of the session that shows them, wherever they are in it."""
    calls = conversation("s-1", 120)
    failed = {3: "ERROR", 70: "TIMEOUT", 119: "ABANDONED", 120: "CANCELLED"}
    for number, status in failed.items():
        calls[number - 1]["status"] = status
    database["llm_calls"].insert_many(calls)
    tab = viewer()

    text = tab.get("/session?id=s-1").text

    links = {int(number): unescape(link) for link, number in re.findall(LINK, text)}
    assert list(links) == [3, 70, 119]
    for number, link in links.items():
        assert f'id="turn-{number}"' in tab.get(link).text, link
        assert link.endswith(f"#turn-{number}")


LINK = r'<a href="([^"]+)">turn (\d+)</a>'

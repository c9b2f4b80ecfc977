"""System prompts compared: every number leads to exactly the calls that were told the same."""

import json
import random
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from made_up_calls import call_id
from pymongo.database import Database
from starlette.testclient import TestClient
from viewer_tabs import Viewer
from waiting import Recording

from llm_audit import SyncLLMCallRepository, UsageError
from llm_audit.cli import main
from llm_audit.queries.filters import condition
from llm_audit.queries.instructions import Instructions

BLOCKS = [{"type": "text", "text": "You are $strict.", "cache_control": {"type": "ephemeral"}}]
LONG = "You are long. " + "x" * 20_000
TOLD: dict[str, dict[str, Any]] = {
    "text": {"system_prompt": "$first is no field"},
    "one character more": {"system_prompt": "$first is no field."},
    "blocks": {"system_prompt": BLOCKS},
    "a first message": {"messages": [{"role": "system", "content": "You are kind."}]},
    "a developer's": {"messages": [{"role": "developer", "content": LONG}]},
    "an empty one, then a message": {
        "system_prompt": [],
        "messages": [{"role": "system", "content": "You are kind."}],
    },
    "nothing": {"messages": [{"role": "user", "content": "You are kind."}]},
    "no messages at all": {"messages": "You are kind."},
}


@pytest.fixture
def calls(database: Database[Any]) -> list[dict[str, Any]]:
    """Store calls of the last day, some of each prompt."""
    lot, now = random.Random(3), datetime.now(UTC)
    made = []
    for number, (name, said) in enumerate(TOLD.items()):
        for each in range(number + 1):
            at = now - timedelta(minutes=10 * number + each + 1)
            made.append(
                {
                    "_id": call_id(at, lot),
                    "created_at": at.replace(microsecond=at.microsecond // 1000 * 1000),
                    "status": "ERROR" if each == 1 else "SUCCESS",
                    "latency_ms": float(100 * (each + 1)),
                    "estimated_cost": 0.5,
                    "total_tokens": 3,
                    "user_id": "ann" if each else "bob",
                    "metadata": {"told": name},
                    **said,
                }
            )
    database["llm_calls"].insert_many(made)
    return made


def led_to(tab: TestClient, link: str) -> set[str]:
    answer = tab.get(f"{unescape(link)}&format=json&limit=500")
    assert answer.status_code == 200, answer.text
    return {call["id"] for call in answer.json()["calls"]}


def test_each_prompt_has_its_calls_and_leads_to_exactly_these(
    calls: list[dict[str, Any]], viewer: Viewer
) -> None:
    """Text, blocks and first messages; a character more is another prompt; also in a tenant."""
    for options, mine in (
        ({}, calls),
        ({"scope": {"user_id": "ann"}}, [call for call in calls if call["user_id"] == "ann"]),
    ):
        tab = viewer(**options)
        rows = tab.get("/prompts?format=json").json()["rows"]
        html = tab.get("/prompts").text
        links = re.findall(r'href="(/calls\?[^"]*prompt_of=[^"]*)">([\d,]+)<', html)
        assert len(links) == len(rows) == len({str(told(call)) for call in mine})
        for (link, shown), row in zip(links, rows, strict=True):
            newest = next(call for call in mine if call["_id"] == row["last_id"])
            same = [call for call in mine if told(call) == told(newest)]
            assert led_to(tab, link) == {call["_id"] for call in same}
            assert int(shown) == row["calls"] == len(same)
            latencies = sorted(call["latency_ms"] for call in same)
            assert row["p50"] == latencies[(len(latencies) + 1) // 2 - 1]
            assert row["p95"] == latencies[-1]
            assert row["estimated_cost"] == len(same) / 2
            assert row["failures"] == sum(call["status"] == "ERROR" for call in same)
            assert row["first_id"] == min(call["_id"] for call in same)
    # of a call that is another tenant's nothing can be asked, and other pages take the filter
    bobs = next(call["_id"] for call in calls if call["user_id"] == "bob")
    assert viewer(scope={"user_id": "ann"}).get(f"/calls?prompt_of={bobs}").status_code == 400
    tab = viewer()
    for page in ("", "failures", "costs", "latency", "tools", "users", "traces", "export", "tasks"):
        assert tab.get(f"/{page}?prompt_of={bobs}").status_code == 200, page
    assert tab.get("/calls?prompt_of=none").status_code == 400
    assert tab.get(f"/calls?not.prompt_of={bobs}&format=json").status_code == 200
    assert tab.get("/part/search/found", params={"q": "kind", "prompt_of": bobs}).status_code == 200


def told(call: dict[str, Any]) -> Any:
    if call.get("system_prompt"):
        return call["system_prompt"]
    first = call["messages"][0] if isinstance(call["messages"], list) else {}
    return first.get("content") if first.get("role") in ("system", "developer") else None


@pytest.mark.usefixtures("calls")
def test_what_changed_from_one_prompt_to_the_next_is_a_link(viewer: Viewer) -> None:
    tab = viewer()
    page = tab.get("/prompts").text
    changes = [unescape(link) for link in re.findall(r'href="(/diff\?[^"]+)"', page)]
    assert len(changes) == 4  # of the five prompts that have a text
    for link in changes:
        assert tab.get(link).status_code == 200, link
    assert len(page.encode()) < 40_000
    assert "x" * 200 not in page


@pytest.mark.usefixtures("calls")
def test_the_command_and_the_repository_ask_for_the_same(
    capsys: pytest.CaptureFixture[str],
    recording: Recording,
    viewer: Viewer,
) -> None:
    settings = recording()
    where = ["--mongo-url", settings.mongo_url.get_secret_value(), "--database", settings.database]

    def printed(*words: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main([*where, *words]) == 0, words
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    rows = printed("prompts", "--json")
    assert rows == viewer().get("/prompts?since=7d&format=json").json()["rows"]
    with SyncLLMCallRepository() as questions:
        for row in rows:
            newest = questions.get(row["last_id"])
            assert newest is not None
            for words in (["calls", "--json", "--limit", "100"], ["export"]):
                found = printed(*words, "--prompt-of", row["last_id"])
                assert len(found) == row["calls"]
            own = Instructions(told(newest.model_dump()))
            assert questions.count_by_filters(prompt_of=own) == row["calls"]
            cost = questions.cost_summary("user_id", prompt_of=row["last_id"])
            assert sum(each.calls for each in cost) == row["calls"]
        with pytest.raises(UsageError, match="a call that there is not"):
            questions.count_by_filters(prompt_of="none")
    assert main([*where, "prompts"]) == 0
    assert "You are kind." in capsys.readouterr().out
    with pytest.raises(UsageError, match="looked up"):
        condition({"prompt_of": "an id"})
    for wrong in (-1, float("nan"), float("inf"), True, "1", 10**400):
        with pytest.raises(UsageError, match="milliseconds"):
            condition({"min_latency_ms": wrong})

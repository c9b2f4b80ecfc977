"""`llm-audit reprice`: stored costs, computed again from the usage that was reported."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from llm_audit.queries import repricing

Shell = Callable[..., Any]
Call = dict[str, Any]

U = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
NEW = (1000 * 2.5 + 500 * 10) / 1e6  # of gpt-4o, by the list
WHEN = datetime(2026, 11, 20, tzinfo=UTC)


def call_id(number: int) -> str:
    return f"01930000-0000-7000-8000-{number:012x}"


def ended(number: int, **fields: Any) -> Call:
    return {
        "_id": call_id(number),
        "status": "SUCCESS",
        "outcome_key": 40,
        "provider": "openai",
        "model": "gpt-4o",
        "usage": U,
        **U,
        "completed_at": WHEN,
        "estimated_cost": 0.5,
        "cost_source": "genai-prices 0.0.1: openai/gpt-4o",
        "cost_details": {"input": 0.25, "output": 0.25},
        **fields,
    }


@pytest.fixture
def calls(database: Database[Call]) -> Any:
    """Give the collection, with calls of every kind in it."""
    collection = database["llm_calls"]
    fresh = ended(2)
    for name in ("estimated_cost", "cost_source", "cost_details"):
        del fresh[name]
    collection.insert_many(
        [
            ended(1),
            fresh,
            ended(3, estimated_cost=NEW),
            ended(4, model="nobody-knows"),
            ended(5, cost_source="caller"),
            ended(6, cost_source="billed: usage.cost", usage={**U, "cost": 0.5}),
            ended(7, usage={**U, "cost": 0.125}),
            ended(8, response_extra={"service_tier": "batch"}, company_id="acme"),
            {"_id": call_id(9), "status": "PENDING", "provider": "openai", "model": "gpt-4o"},
        ]
    )
    return collection


def costs(calls: Any) -> dict[int, Any]:
    found = {call["_id"]: call.get("estimated_cost") for call in calls.find()}
    return {number: found[call_id(number)] for number in range(1, 10)}


def test_without_apply_it_only_shows(shell: Shell, calls: Any) -> None:
    """The dry run says what would change by model, and writes nothing."""
    before = list(calls.find())
    ended_run = shell("reprice", "--json")

    assert ended_run.code == 0, ended_run.errors
    [row] = [json.loads(line) for line in ended_run.lines]
    assert row == {
        "provider": "openai",
        "model": "gpt-4o",
        "calls": 4,
        "without_cost_before": 1,
        "before": 1.5,
        "after": pytest.approx(NEW * 1.5 + 0.125 + NEW, rel=1e-9),
        "change": pytest.approx(NEW * 2.5 + 0.125 - 1.5, rel=1e-9),
    }
    assert "4 calls would change; 1 cost what they did, 1 have no price" in ended_run.errors
    assert "--apply writes it" in ended_run.errors
    assert list(calls.find()) == before
    assert "gpt-4o" in shell("reprice").output


def test_with_apply_the_old_cost_stays_visible(shell: Shell, calls: Any) -> None:
    """The new cost is written, what was said before stays in cost_details, once."""
    ended_run = shell("reprice", "--apply")

    assert "4 calls were changed" in ended_run.errors
    batch = pytest.approx(NEW / 2, rel=1e-9)
    new = pytest.approx(NEW, rel=1e-9)
    assert costs(calls) == {
        1: new,
        2: new,
        3: NEW,
        4: 0.5,
        5: 0.5,
        6: 0.5,
        7: 0.125,
        8: batch,
        9: None,
    }
    call = calls.find_one({"_id": call_id(1)})
    [previous] = call["cost_details"].pop("previous")
    assert call["estimated_cost"] == math.fsum(call["cost_details"].values())
    assert previous.pop("until") is not None
    assert previous == {
        "estimated_cost": 0.5,
        "cost_source": "genai-prices 0.0.1: openai/gpt-4o",
        "cost_details": {"input": 0.25, "output": 0.25},
    }
    assert "previous" not in calls.find_one({"_id": call_id(2)})["cost_details"]

    after = list(calls.find())
    again = shell("reprice", "--apply")
    assert "0 calls were changed" in again.errors
    assert list(calls.find()) == after


def test_costs_of_the_caller_and_bills_are_left_alone_unless_named(
    shell: Shell, calls: Any
) -> None:
    """Each kind is computed again where it is asked for."""
    shell("reprice", "--apply", "--also", "caller")
    assert (costs(calls)[5], costs(calls)[6]) == (pytest.approx(NEW, rel=1e-9), 0.5)
    shell("reprice", "--apply", "--also", "billed")
    assert costs(calls)[6] == pytest.approx(NEW, rel=1e-9)


def test_filters_own_prices_and_going_on(shell: Shell, calls: Any, tmp_path: Path) -> None:
    """It takes the filters of all commands, prices of one's own, and a place to go on from."""
    file = tmp_path / "prices.toml"
    file.write_text("[[price]]\nmodel = 'gpt-4o'\ninput = 1\noutput = 1\n")
    shell("reprice", "--apply", "--company", "acme", "--prices", file)
    assert costs(calls)[8] == pytest.approx(0.0015)
    assert costs(calls)[1] == 0.5

    shell("reprice", "--apply", "--after", call_id(1))
    assert costs(calls)[1] == 0.5
    assert costs(calls)[2] == pytest.approx(NEW, rel=1e-9)

    file.write_text("[[price]]\nmodel = 'gpt-4o'\ninput = -1\n")
    wrong = shell("reprice", "--prices", file)
    assert wrong.code != 0
    assert "price 1: input" in wrong.errors


def test_an_end_that_comes_meanwhile_is_not_overwritten(
    shell: Shell, calls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that ends anew between being read and being written keeps what its end says."""
    real = repricing.new_cost

    def meanwhile(call: Call, *arguments: Any) -> Any:
        if call["_id"] == call_id(1):
            calls.update_one({"_id": call["_id"]}, {"$set": {"outcome_key": 50}})
        if call["_id"] == call_id(8):
            calls.update_one({"_id": call["_id"]}, {"$set": {"estimated_cost": 0.75}})
        return real(call, *arguments)

    monkeypatch.setattr(repricing, "new_cost", meanwhile)
    ended_run = shell("reprice", "--apply")

    assert (costs(calls)[1], costs(calls)[8]) == (0.5, 0.75)
    assert "2 calls were changed" in ended_run.errors
    assert "2 calls ended anew meanwhile" in ended_run.errors

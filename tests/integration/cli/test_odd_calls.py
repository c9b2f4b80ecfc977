"""Calls that hold odd values: no command stumbles over them."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_calls import Call
from odd_values import FIELDS, IDS, ODD, USUAL, with_odd
from patience import share
from pymongo.database import Database

pytestmark = [pytest.mark.no_cover, pytest.mark.many]  # a thousand rows through the same lines
Shell = Callable[..., Any]
LISTS = [
    *("calls --limit 9999", "calls --limit 9999 --json", "task task", "task task --json"),
    *("trace t --full", "trace t --json", "session s --full", "session s --json"),
    *("search what --limit 9999", "search what --limit 9999 --json"),
    *("export", "export --format csv", "export --format openai"),
]
SUMS = ["tools", "failures", "retries", "usage", "costs", "costs --by task_name", "costs --by day"]
SUMS += ["latency", "latency --by hour", "usage --bucket hour"]

AFTER = [
    *("scores n", "scores n --json", "doctor", "doctor --json", "pipeline cost_summary"),
    *("reprice", "reprice --json", "reprice --apply --also caller", "views create", "indexes"),
    *("export --format parquet", "export --extended-json"),
]


@pytest.fixture
def odd(database: Database[Call]) -> list[Call]:
    """Store calls with an odd value in a field each: every field, and every value or an eighth."""
    calls = [USUAL]
    for number, field in enumerate(FIELDS):
        some = share(with_odd(field), 8, number)
        calls += [call | {"_id": f"{call['_id']}{number:03}"} for call in some]
    database["llm_calls"].insert_many(calls)
    return calls


def test_lists(odd: list[Call], shell: Shell) -> None:
    """Every call is listed, as text and as JSON, but where the odd value is what is asked for."""
    for command in LISTS:
        words = command.split()
        words += ["--since", "2000-01-01"] if words[0] == "search" else []
        ended = shell(*words)

        assert (ended.code, "mistake in" in ended.errors) == (0, False), ended.errors
        if "--json" in words:
            rows = [json.loads(line) for line in ended.lines]
            assert len(odd) - len(ODD) <= len(rows) <= len(odd), command
            assert len({row["id"] for row in rows}) == len(rows), command


def test_sums(odd: list[Call], shell: Shell) -> None:
    """Every sum is printed, and counts."""
    for command in SUMS:
        words = [*command.split(), "--since", "2000-01-01"]
        shown, as_json = shell(*words), shell(*words, "--json")

        assert (shown.code, as_json.code) == (0, 0), shown.errors + as_json.errors
        rows = [json.loads(line) for line in as_json.lines]
        assert rows, command
        if words[0] in {"usage", "costs", "failures"}:
            assert sum(row["calls"] for row in rows) == len(odd), command
        if words[0] == "costs":
            assert "No sum knows of" in shown.output


def test_one_call(database: Database[Call], shell: Shell) -> None:
    """A call is shown whatever all of its fields hold."""
    everything: list[Call] = [{"_id": call_id} for call_id in IDS]
    for field in FIELDS:
        if "." not in field:
            for call, odd in zip(everything, with_odd(field), strict=True):
                call[field] = copy.deepcopy(odd[field])
    database["llm_calls"].insert_many(everything)

    for number, call_id in enumerate(IDS):
        for how in share(([], ["--full"], ["--json"], ["--raw"]), 2, number):
            ended = shell("show", call_id, *how)
            assert ended.code == 0, ended.errors
            assert call_id in ended.output


@pytest.mark.usefixtures("odd")
def test_whoever_looks_after_the_calls(
    database: Database[Call], shell: Shell, tmp_path: Path
) -> None:
    """Scores, prices, files and the doctor: none stumbles over what a call or a process holds."""
    fields = ("state", "pid", "rejected", "beat_at")
    processes = [{"_id": f"p{n}", **dict.fromkeys(fields, value)} for n, value in enumerate(ODD)]
    database["llm_audit_processes"].insert_many(processes)
    for number, command in enumerate(AFTER):
        words = command.split()
        words += ["-o", tmp_path / str(number)] if words[0] == "export" else []
        ended = shell(*words)

        assert (ended.code in {0, 1}, "mistake in" in ended.errors) == (True, False), (
            command,
            ended.errors,
        )

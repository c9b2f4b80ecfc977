"""`llm-audit trace`: a trace as a tree, with its waterfall."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from made_up_calls import START, Call
from recorded_traffic import TRAFFIC
from waiting import Calls

Shell = Callable[..., Any]

AGENT_TRACES = TRAFFIC / "agent_traces_openai_agents.jsonl"


def made(name: str, start: float, end: float | None, **more: Any) -> Call:
    """Make up a call of the trace, in seconds after its start."""
    times = {"created_at": START + timedelta(seconds=start)}
    if end is not None:
        times["completed_at"] = START + timedelta(seconds=end)
    status = "PENDING" if end is None else "SUCCESS"
    return {"_id": name, "trace_id": "t", "status": status, "call_type": "CHAT", **times, **more}


@pytest.fixture
def agent(calls: Calls) -> None:
    """Store a trace of 10 seconds: an agent, a failing search, a late answer, and two strays."""
    spent = {"total_tokens": 100, "estimated_cost": 0.25}
    calls.insert_many(
        [
            made("a", 0, 10, call_type="AGENT", model="gpt-4o", **spent),
            made("b", 0, 5, parent_call_id="a", model="gpt-4o", tools_called=["find"], **spent),
            made("c", 5, 10, parent_call_id="a", **spent),
            made("d", 1, 2, parent_call_id="b", status="ERROR", error_type="IndexGone"),
            made("e", 3, 4, parent_call_id="lost"),
            made("f", 4, 6, parent_call_id="g"),
            made("g", 4, 6, parent_call_id="f"),
        ]
    )


def row_of(lines: list[str], name: str) -> str:
    [row] = [line for line in lines if f" {name} " in line and ("━" in line or "╸" in line)]
    return row


@pytest.mark.usefixtures("agent")
def test_a_trace_reads_as_a_tree(shell: Shell) -> None:
    """Totals above, children under parents, each branch with what it took."""
    ended = shell("trace", "t")

    assert (ended.code, ended.errors) == (0, "")
    assert ended.lines[0].startswith("Trace t  2026-05-01")
    assert ended.lines[0].endswith(", 10.0 s")
    assert ended.lines[1] == "7 calls, 1 failed; 300 tokens; $0.7500 (4 of unknown cost)"
    assert "* AGENT gpt-4o" in row_of(ended.lines, "a")
    assert row_of(ended.lines, "a").split()[-4:] == ["10.0", "s", "300", "$0.7500"]
    assert row_of(ended.lines, "b").startswith("* ├ CHAT gpt-4o → find")
    assert row_of(ended.lines, "b").split()[-4:] == ["5.0", "s", "100", "$0.2500"]
    assert row_of(ended.lines, "d").startswith("* │ └ ERROR CHAT")
    assert row_of(ended.lines, "c").startswith("* └ CHAT")
    assert max(map(len, ended.lines)) <= 80


@pytest.mark.usefixtures("agent")
def test_bars_say_when_calls_ran(shell: Shell) -> None:
    """A bar begins and ends where its call did: the first and the second half of the trace."""
    lines = shell("trace", "t").lines
    whole, first, second = (row_of(lines, name) for name in "abc")

    start = whole.index("━")
    width = whole.count("━")
    [scale] = [line for line in lines if " id " in line]
    assert scale[start : start + width].split() == ["0", "10.0", "s"]
    half = width // 2  # the cell in the middle may be of both
    assert first[start : start + half] == second[start + width - half : start + width] == "━" * half
    assert first[start + width - half : start + width] == second[start : start + half] == " " * half


@pytest.mark.usefixtures("agent")
def test_strays_and_failures_are_named(shell: Shell) -> None:
    """Parents never recorded, parents in a circle, and failures are said with their ids."""
    output = shell("trace", "t").output

    assert "? CHAT" in output
    assert "? parent not in this trace: lost\n" in output
    assert "↻ CHAT" in output
    assert "↻ parents in a circle: g\n" in output
    assert "d ERROR IndexGone" in output


@pytest.mark.usefixtures("agent")
def test_machines_get_a_line_for_each_call(shell: Shell) -> None:
    """--json has each call in the order of the tree, with depth, critical path and sums."""
    rows = [json.loads(line) for line in shell("trace", "t", "--json").lines]
    by_id = {row["id"]: row for row in rows}

    assert [row["id"] for row in rows] == ["a", "b", "d", "c", "e", "f", "g"]
    assert [row["depth"] for row in rows] == [0, 1, 2, 1, 0, 0, 1]
    assert {row["id"] for row in rows if row["critical"]} >= {"a", "b", "c"}
    assert by_id["e"]["orphan"] == "parent not in this trace"
    assert by_id["a"]["branch"]["calls"] == 4
    assert by_id["a"]["branch"]["failures"] == 1
    assert by_id["a"]["branch"]["estimated_cost"] == 0.75
    assert by_id["a"]["branch"]["duration_ms"] == 10_000


def test_a_running_call_is_shown_as_such(shell: Shell, calls: Calls) -> None:
    """What has not ended has a bar up to the edge, and says for how long it has run."""
    now = datetime.now(UTC)
    running = made("b", 1, None) | {"created_at": now - timedelta(seconds=130)}
    calls.insert_many([running, made("c", 1, None) | {"created_at": now, "parent_call_id": "b"}])

    ended = shell("trace", "t")

    assert re.search(r", running for 2m1\ds$", ended.lines[0])
    assert "2 calls, 2 running; " in ended.output
    assert re.search("time|0 +2m1", ended.lines[3])
    assert re.search(r"━+ +>2m1\ds ", row_of(ended.lines, "b"))


def test_a_failure_is_seen_where_calls_are_folded(shell: Shell, calls: Calls) -> None:
    """What failed is no part of a fold, and what lies between failures is."""
    many = [made(f"call {n:04}", n, n + 1) for n in range(500)]
    for number in (200, 400):
        many[number] |= {"status": "ERROR"}
    calls.insert_many(many)

    lines = shell("trace", "t").lines

    shown = [re.split(r" (?=call \d|--full)", line)[0].split()[-3:] for line in lines[3:18]]
    assert "… 190 more" in " ".join(shown[11])
    assert "ERROR CHAT" in " ".join(shown[12])
    assert "… 199 more" in " ".join(shown[13])


def test_long_runs_are_folded(shell: Shell, calls: Calls) -> None:
    """Of 1,200 siblings ten are shown, the others summed up in a line; --full shows them."""
    calls.insert_many(
        [
            made("root", 0, 60, call_type="AGENT"),
            *(
                made(f"call {n:04}", n / 100, n / 100 + 1, parent_call_id="root", total_tokens=1)
                for n in range(1_200)
            ),
        ]
    )

    folded, full = shell("trace", "t"), shell("trace", "t", "--full")

    [rest] = [line for line in folded.lines if "--full" in line]
    assert "└ … 1,190 more" in rest
    assert "1,190" in rest.partition("--full")[2]
    assert len(folded.lines) < 20
    assert "call 1199" in full.output
    assert "--full" not in full.output


def test_a_long_chain_is_folded(shell: Shell, calls: Calls) -> None:
    """An agent that calls itself 1,100 times deep fits on a page, and at any depth in a line."""
    parents = [None, *(f"call {n:04}" for n in range(1_099))]
    calls.insert_many(
        [made(f"call {n:04}", n, 1_100, parent_call_id=p) for n, p in enumerate(parents)]
    )

    folded, full = shell("trace", "t"), shell("trace", "t", "--full")

    assert len(folded.lines) < 40
    assert "… 1,079 more" in folded.output
    assert "call 1099" in full.output
    assert max(map(len, full.lines)) <= 80


def test_a_call_of_a_trace_names_the_trace(shell: Shell, calls: Calls) -> None:
    """Who gives a call's id is told its trace; who gives a session's, the command for it."""
    calls.insert_one(made("a", 0, 1, session_id="s"))

    of_call, of_session, unknown = shell("trace", "a"), shell("trace", "s"), shell("trace", "tt")

    assert of_call.code == of_session.code == unknown.code == 1
    assert of_call.errors == "llm-audit: a is a call of the trace t, no trace: llm-audit trace t\n"
    assert of_session.errors == "llm-audit: s is a session, no trace: llm-audit session s\n"
    assert unknown.errors.startswith("llm-audit: There is no trace 'tt' in ")


def test_an_unknown_trace_names_those_near(shell: Shell, calls: Calls) -> None:
    """A trace whose id begins the same is named."""
    calls.insert_one({**made("a", 0, 1), "trace_id": "order-1841"})

    assert "Near it: order-1841." in shell("trace", "order-1842").errors


@pytest.mark.usefixtures("agent")
def test_wide_terminals_have_bars_of_tokens_and_cost(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is room, each branch's share of tokens and cost is drawn."""
    monkeypatch.setenv("COLUMNS", "140")

    row = row_of(shell("trace", "t").lines, "a")

    assert row.count("█") == 24


def test_a_call_without_times_is_in_the_tree(shell: Shell, calls: Calls) -> None:
    """Of a call that only its finish has reached, what is there is shown, without a bar."""
    calls.insert_one({"_id": "half", "trace_id": "t", "status": "SUCCESS"})

    ended = shell("trace", "t")

    assert (ended.code, ended.lines[0]) == (0, "Trace t  -")
    assert "half" in ended.output


@pytest.mark.usefixtures("agent")
def test_a_narrow_terminal_has_every_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """With half the usual width a line is cut, never wrapped or missing."""
    monkeypatch.setenv("COLUMNS", "40")

    tree = shell("trace", "t").output.partition("\n\n")[2].partition("\n\n")[0].splitlines()

    assert len(tree) == 1 + 7
    assert max(map(len, tree)) <= 40


@pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")
def test_real_agents_are_shown_whole(shell: Shell, calls: Calls) -> None:
    """Of recorded agents' traces every span has its line, and those without parents are marked."""
    for line in AGENT_TRACES.read_text("utf-8").splitlines():
        trace = json.loads(line)
        spans = [
            {
                "_id": span["id"],
                "trace_id": trace["trace_id"],
                "parent_call_id": span["parent_id"],
                "status": "SUCCESS",
                "created_at": datetime.fromisoformat(span["started_at"]),
                "completed_at": datetime.fromisoformat(span["ended_at"]),
            }
            for span in trace["spans"]
        ]
        calls.insert_many(spans)
        known = {span["_id"] for span in spans}
        lost = [s for s in spans if s["parent_call_id"] and s["parent_call_id"] not in known]

        ended = shell("trace", trace["trace_id"], "--full")

        assert ended.code == 0
        assert [span["_id"] for span in spans if span["_id"][:13] not in ended.output] == []
        assert ("? parent not in this trace" in ended.output) == bool(lost)
        assert max(map(len, ended.lines)) <= 80

"""`llm-audit agent`: how it is asked for, how it is, and what it says."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from agents_held import agent_of_another_process
from children import RECORD, child, output_of
from nowhere import NOWHERE
from waiting import PATIENCE, Calls

from llm_audit.journal.spool.agent_state import AgentState, Figures, write_state
from llm_audit.settings import changed_settings, get_settings

Shell = Callable[..., Any]

pytest.importorskip("typer")

from llm_audit.cli.commands.operations.agent import SERVICES_TOLD, told  # noqa: E402


def folder() -> Path:
    settings = get_settings()
    return settings.spool_dir / settings.target("agent")


def test_health_is_a_line_and_a_code(shell: Shell) -> None:
    """0 while an agent looks at the journals, whether or not MongoDB is there for it; else 1."""
    none = shell("agent", "--health")
    assert (none.code, none.errors) == (1, "")
    assert none.output.startswith(f"No agent runs for {get_settings().spool_dir}, database ")
    assert none.output.endswith("collection llm_calls: start `llm-audit agent`.\n")

    now = datetime.now(UTC)
    with agent_of_another_process(folder()) as its:
        assert shell("agent", "--health").code == 0
        for age, why, code, says in (
            (
                0,
                None,
                0,
                "is well. 2 processes, 3 of 5 operations shipped since it started (web 3 of 5).",
            ),
            (
                1,
                "a\nb",
                0,
                "is well. 2 processes, 3 of 5 operations shipped since it started (web 3 of",
            ),
            (3_600, None, 1, "is stuck: no sign of life for 1h00m."),
            (-3_600, None, 0, "is well."),  # a clock that was put back
        ):
            services = {"web": Figures(5, 3)}
            write_state(folder(), AgentState(now - timedelta(seconds=age), why, 2, services))
            ended = shell("agent", "--health")
            assert (ended.code, ended.errors) == (code, ""), ended
            assert f"The agent, pid {its['pid']} on {its['host']}, {says}" in ended.output
            assert len(ended.lines) == 1
            assert ("MongoDB cannot be reached: a" in ended.output) == bool(why)
    assert shell("agent", "--health").code == 1  # it has died; what it said is still there
    with agent_of_another_process(folder()):
        other = shell("--collection", "other", "agent", "--health")
    assert other.code == 1


def test_once_ships_what_is_there_and_ends(shell: Shell, calls: Calls) -> None:
    """Of the living and of the dead; a second time there is nothing, and that is well, too."""
    with changed_settings(shipper="agent"):
        settings = get_settings()
    with child(RECORD + "record(2)\ninput()", settings) as living:
        assert living.stdout is not None
        ids = [living.stdout.readline().split()[1] for _ in range(2)]
        ids += [line.split()[1] for line in output_of(RECORD + "record(3)", settings)]
        first = shell("agent", "--once", "--timeout", PATIENCE)
        second = shell("agent", "--once", "--timeout", PATIENCE)
    third = shell("agent", "--once", "--timeout", PATIENCE)

    assert (first.code, first.errors) == (0, "")
    assert first.output == "10 operations shipped, nothing is left.\n"
    assert (second.code, second.output) == (0, "0 operations shipped, nothing is left.\n")
    assert third.code == 0
    assert {call["_id"] for call in calls.find({"status": "SUCCESS"})} == {*ids}
    assert shell("agent", "--health").code == 1


def test_what_could_not_be_shipped_is_said(shell: Shell) -> None:
    """MongoDB that is away is 3, and time that is over 1; who has it shipped already is named."""
    with changed_settings(shipper="agent"):
        output_of(RECORD + "record(3)", get_settings())
    away = shell("--mongo-url", NOWHERE, "agent", "--once", "--timeout", 2)
    late = shell("agent", "--once", "--timeout", 0)
    with agent_of_another_process(folder()) as its:
        other = shell("agent", "--once")

    assert away.code == 3
    assert re.fullmatch(r"0 operations shipped, [\d.]+ (bytes|KiB) left: .+\.\n", away.output)
    assert late.code == 1
    assert (other.code, other.output, len(other.errors.splitlines())) == (1, "", 1)
    assert f"(pid {its['pid']} on {its['host']}) already ships " in other.errors


def test_the_spool_of_another_user(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not said that no agent runs, and what to do is."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "0123456789abcdef")

    spool_dir = get_settings().spool_dir
    monkeypatch.setattr("llm_audit.agent.agent.Agent.run", refuse)
    monkeypatch.setattr("llm_audit.agent.agent.Agent.once", refuse)
    monkeypatch.setattr("llm_audit.diagnosis.journals.unreadable_in", lambda _: [str(spool_dir)])
    for words, code in (([], 2), (["--once"], 2), (["--health"], 1)):
        ended = shell("agent", *words)
        said = ended.output + ended.errors
        assert ended.code == code, ended
        assert f"may not read {spool_dir}. Run the agent" in said
        assert "No agent runs" not in said
    status = " ".join(shell("spool", "status").output.split())
    assert "may not be read by this user" in status
    assert "No journals" not in status
    [row] = shell("spool", "status", "--json").lines
    assert json.loads(row) == {"path": str(spool_dir), "state": "unreadable"}


def test_what_does_not_go_together_is_said(shell: Shell) -> None:
    """One line with the fix, before anything is touched."""
    for words, says in (
        (["--once", "--health"], "Use either --once or --health, not both."),
        (["--once", "--metrics-port", "0"], "--metrics-port is for an agent that keeps running"),
        (["--health", "--metrics-port", "0"], "--metrics-port is for an agent that keeps running"),
        (["--metrics-port", "65536"], "--metrics-port"),
        (["--once", "--timeout", "-1"], "--timeout"),
    ):
        ended = shell("agent", *words)
        assert (ended.code, ended.output, len(ended.errors.splitlines())) == (2, "", 1), words
        assert says in ended.errors, words
    assert not get_settings().spool_dir.exists()


def test_nothing_is_shipped_where_recording_is_off(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for once, nor for longer; how another one is can be asked all the same."""
    monkeypatch.setenv("LLM_AUDIT_ENABLED", "false")
    for words in ([], ["--once"]):
        ended = shell("agent", *words)
        assert (ended.code, ended.errors) == (
            2,
            "llm-audit: LLM_AUDIT_ENABLED is false: nothing is shipped.\n",
        )
    assert shell("agent", "--health").code == 1


def test_a_line_says_what_is_shipped_for_whom() -> None:
    """Of many services the largest; and what waits, was refused or lost, or keeps it from work."""
    now = datetime.now(UTC)
    many = {f"service {number}": Figures(recorded=number, shipped=1) for number in range(1_000)}
    waiting = AgentState(now, None, 1, {"": Figures(1_200, 1_100, 0, 0, 2048, 3.21)})
    two = {"": Figures(1, 1), "web": Figures(9, 8, 2, 1)}
    for state, *parts in (
        (None, "It has shipped nothing yet."),
        (AgentState(now), "0 processes, 0 of 0 operations shipped since it started."),
        (
            waiting,
            "1 process, ",
            "1,100 of 1,200 operations shipped since it started.",
            "2.0 KiB wait, the oldest for 3.2 s.",
        ),
        (
            AgentState(now, None, 3, two),
            "9 of 10 operations shipped since it started (web 8 of 9, without a service 1 of 1).",
        ),
        (AgentState(now, None, 3, two), "2 refused by MongoDB, 1 lost: llm-audit doctor says"),
        (AgentState(now, "no primary"), "MongoDB cannot be reached: no primary"),
    ):
        assert all(part in told(state) for part in parts), told(state)
    line = told(AgentState(now, None, 1_000, many))
    assert line.count("service ") == SERVICES_TOLD
    assert "(service 999 1 of 999, service 998 1 of 998, " in line
    assert line.endswith(", and 990 more).")

"""`llm-audit agent` as a program: what it says, serves, and how it ends."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import ProxyHandler, build_opener

import pytest
from children import RECORD, child, environment
from patience import PATIENCE
from waiting import Calls, Recording, until

from llm_audit.agent.health import examine
from llm_audit.settings import Settings

pytest.importorskip("typer")
prometheus = pytest.importorskip("prometheus_client")

from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

OPENER = build_opener(ProxyHandler({}))
PROGRAM = [sys.executable, "-m", "llm_audit.cli", "agent"]


@contextmanager
def agent(settings: Settings, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start one."""
    with subprocess.Popen(
        [*PROGRAM, *options],
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def pid_of_agent(settings: Settings) -> int | None:
    its = examine(settings)
    return its.agent.pid if its.agent is not None and its.runs else None


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line of the log, without what each begins with."""
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("llm-audit: "), line
    return line.removeprefix("llm-audit: ").rstrip("\n")


def figures(address: str) -> dict[str, float]:
    """Return what Prometheus reads of the one service."""
    with OPENER.open(address, timeout=PATIENCE) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if sample.labels in ({}, {"service": "reviews"})
    }


def test_it_ships_serves_figures_and_ends_in_order(recording: Recording, calls: Calls) -> None:
    """SIGTERM ends it with 0 and a line that says what it has shipped; one that stood by goes on.

    Whom that waits for is said, and what there is can be seen meanwhile.
    """
    settings = recording(shipper="agent", service="reviews")
    script = "import os; os.environ['LLM_AUDIT_SERVICE'] = 'reviews'\n" + RECORD
    with agent(settings, "--metrics-port", "0") as its:
        where = line_of(its)
        assert where.startswith(f"ships from {settings.spool_dir} to 127.0.0.1:")
        assert where.endswith(f", database {settings.database}, collection llm_calls.")
        address = line_of(its).removeprefix("figures for Prometheus: ")
        until(lambda: pid_of_agent(settings) == its.pid)
        with agent(settings) as other:
            with child(script + "record(3)\ninput()", settings) as living:
                assert living.stdout is not None
                [living.stdout.readline() for _ in range(3)]
                until(lambda: calls.count_documents({"status": "SUCCESS"}) == 3)
                until(lambda: figures(address).get("llm_audit_shipped_total") == 6)
                found = figures(address)
                assert found["llm_audit_recorded_total"] == 6
                assert found["llm_audit_agent_processes"] == 1
                assert found["llm_audit_agent_mongodb_available"] == 1
                assert found["process_resident_memory_bytes"] > 0
                line_of(other)
                assert f"(pid {its.pid} on " in line_of(other)

                its.send_signal(signal.SIGTERM)
                _, log = its.communicate(timeout=PATIENCE)
                until(lambda: pid_of_agent(settings) == other.pid)
                assert (its.returncode, len(log.splitlines())) == (0, 1)
                assert log.startswith(
                    "llm-audit: ends. 1 process, 6 of 6 operations shipped since it"
                )
            other.send_signal(signal.SIGTERM)
            _, log = other.communicate(timeout=PATIENCE)
    assert (other.returncode, "Traceback" in log) == (0, False), log
    assert pid_of_agent(settings) is None


def test_ctrl_c_ends_it_in_order_also_while_mongodb_is_away(recording: Recording) -> None:
    """Its exit code is that of any program that Ctrl-C has ended; what waits is left, and said."""
    settings = recording(shipper="agent", mongo_url="mongodb://127.0.0.1:1")
    with child(RECORD + "record(3)\ninput()", settings) as living, agent(settings) as its:
        assert living.stdout is not None
        [living.stdout.readline() for _ in range(3)]
        line_of(its)
        until(lambda: (state := examine(settings).state) and state.unavailable)
        until(lambda: (state := examine(settings).state) and state.total().oldest_seconds > 0)
        assert examine(settings).is_well  # it is not the agent's fault
        its.send_signal(signal.SIGINT)
        _, log = its.communicate(timeout=PATIENCE)
    assert its.returncode == 128 + signal.SIGINT
    last = log.splitlines()[-1]
    assert last.startswith("llm-audit: ends. 1 process, 0 of "), log
    assert "wait, the oldest for" in last
    assert "MongoDB cannot be reached: " in last
    assert "Traceback" not in log


@contextmanager
def inherited(number: signal.Signals, handler: signal.Handlers) -> Iterator[None]:
    """Have programs begin with this for a signal, whatever these tests were begun with."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_a_terminal_that_is_gone_ends_it_in_order_but_not_under_nohup(recording: Recording) -> None:
    """SIGHUP is no worse than Ctrl-C; whoever had signals ignored means that."""
    settings = recording(shipper="agent", mongo_url="mongodb://127.0.0.1:1")
    with inherited(signal.SIGHUP, signal.SIG_DFL), agent(settings) as its:
        line_of(its)
        until(lambda: pid_of_agent(settings) == its.pid)
        its.send_signal(signal.SIGHUP)
        _, log = its.communicate(timeout=PATIENCE)
    assert its.returncode == 128 + signal.SIGHUP
    assert log.splitlines()[-1].startswith("llm-audit: ends. ")

    with inherited(signal.SIGHUP, signal.SIG_IGN), agent(settings) as its:
        line_of(its)
        until(lambda: pid_of_agent(settings) == its.pid)
        its.send_signal(signal.SIGHUP)
        its.send_signal(signal.SIGTERM)
        its.communicate(timeout=PATIENCE)
    assert its.returncode == 0

"""What an agent says of itself comes back; what others have written there is no more than that."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import pytest

from llm_audit.journal.records import SEQ_MAX
from llm_audit.journal.spool.agent_state import (
    OTHER_SERVICES,
    SERVICES_MAX,
    AgentState,
    Figures,
    read_state,
    state_name,
    write_state,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Give a target's folder, with a place for its agent."""
    path = tmp_path / "target"
    (path / "agent").mkdir(parents=True)
    for each in (path, path / "agent"):
        each.chmod(0o700)
    return path


def test_what_an_agent_says_comes_back(target: Path) -> None:
    """With every service, also one without a name; and nothing where nobody has said anything."""
    assert read_state(target) is None
    services = {"": Figures(1, 1), "a.b$c": Figures(5, 3, 1, 2, 4096, 2.5)}
    for why in (None, "no primary"):
        state = AgentState(NOW, why, 3, services)
        write_state(target, state)
        assert read_state(target) == state

    assert AgentState(NOW, services=services).total() == Figures(6, 4, 1, 2, 4096, 2.5)


def test_sums_of_what_many_say_fit_into_a_file(target: Path) -> None:
    """Each count may be as large as any: some hundreds of them are no longer a number of BSON."""
    largest = Figures(recorded=SEQ_MAX)
    total = Figures()
    for _ in range(2**16):
        total = total.together(largest)
    write_state(target, AgentState(NOW, services={"s": total}))
    found = read_state(target)
    assert found is not None
    assert found.total() == largest


def test_services_that_are_very_many_are_told_together(target: Path) -> None:
    """The file stays small, lines stay lines, and the sums are what they were."""
    services = {f"{number:06}{'中' * 400}\n": Figures(recorded=1) for number in range(3_000)}
    write_state(target, AgentState(NOW, "x\ny", 1, services))

    found = read_state(target)

    assert found is not None
    assert found.unavailable == "x\N{REPLACEMENT CHARACTER}y"
    assert found.total() == Figures(recorded=3_000)
    assert found.services[OTHER_SERVICES].recorded == 3_000 - SERVICES_MAX
    assert all(name.isprintable() for name in found.services)


@pytest.mark.parametrize(
    "said",
    [
        {"at": 5},
        {"at": NOW, "services": {"a": 1}},
        {"at": NOW, "services": [1, {}, {"service": 5}, {"service": None}]},
        {"at": NOW, "processes": -1, "unavailable": ["x"], "services": "x"},
        {"at": NOW, "services": [{"service": "s", "recorded": 2**62, "dropped": True}]},
        {"at": NOW, "services": [{"service": "s", "oldest_seconds": value, "shipped": -1}
                                 for value in (float("nan"), float("inf"), -1.0, "1", True)]},
        b"", b"\x00" * 100, b"\xff" * 2_000_000,
    ],
)  # fmt: skip
def test_what_makes_no_sense_counts_as_not_said(target: Path, said: Any) -> None:
    """Nothing that lies there can be more than a state, and none of it raises."""
    data = said if isinstance(said, bytes) else bson.encode(said)
    file = target / "agent" / state_name()
    file.write_bytes(data)
    file.chmod(0o600)

    found = read_state(target)

    if found is not None:
        assert found.at - NOW == timedelta()
        assert (found.processes, found.unavailable) == (0, None)
        assert set(found.services.values()) <= {Figures()}

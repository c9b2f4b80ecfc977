"""Whether an agent runs on this machine, and where it ships to."""

from pathlib import Path

import pytest
from agents_held import agent_of_another_process

from llm_audit.journal.spool import looking
from llm_audit.journal.spool.agents import agent_of


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Give a target's folder."""
    path = tmp_path / "target"
    path.mkdir(mode=0o700)
    return path


def test_an_agent_is_known_by_its_lock(target: Path) -> None:
    """It runs as long as that is held, and tells where it ships to, also when it is gone."""
    assert agent_of(target) is None
    with agent_of_another_process(target):
        found = agent_of(target)
        assert found is not None
        assert found.lives
    found = agent_of(target)
    assert found is not None
    assert not found.lives
    assert found.target == "host, database a, collection b"
    assert found.version == "1.2\N{REPLACEMENT CHARACTER}"


def test_the_agents_folder_is_no_process_s(target: Path) -> None:
    """Whoever looks for the dead passes it by."""
    for name in ("agent", "rejected", "nonce"):
        (target / name).mkdir(mode=0o700)

    assert [path.name for path in looking.folders_in(target)] == ["nonce"]

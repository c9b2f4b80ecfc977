"""What an agent remembers of the processes that it has shipped for stays small."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llm_audit.agent.neighbourhood import Neighbourhood
from llm_audit.journal.spool import looking
from llm_audit.journal.spool.agent_state import OTHER_SERVICES, SERVICES_MAX, Figures
from llm_audit.journal.spool.watched import WatchedFolder


class Come:
    """Processes that come one after another, each with a name of a service."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def found(self, path: Path) -> Any:
        """Return a folder like a process's."""
        return SimpleNamespace(nonce=path.name, look=lambda: True)


@pytest.fixture
def come(monkeypatch: pytest.MonkeyPatch) -> Come:
    """Have processes come as they are named."""
    come = Come()
    monkeypatch.setattr(looking, "folders_in", lambda _: map(Path, come.names))
    monkeypatch.setattr(WatchedFolder, "found", come.found)
    return come


def finished(folder: Any, _: object) -> Any:
    """Return a neighbour that is dead, and of which everything has been shipped."""
    figures = Figures(recorded=2, shipped=2, backlog_bytes=9)
    return SimpleNamespace(
        folder=folder,
        service=f"job-{folder.nonce}",
        figures=figures,
        is_running=False,
        is_dead=True,
        finished=True,
    )


def test_services_of_the_gone_are_very_many(come: Come, tmp_path: Path) -> None:
    """A name for each job, say: they are told together from some point on, and the sums stay."""
    neighbourhood = Neighbourhood(tmp_path, finished)
    for number in range(3 * SERVICES_MAX):
        come.names = [str(number)]
        neighbourhood.look()
        neighbourhood.forget_finished()

    figures = neighbourhood.figures()

    assert len(neighbourhood) == 0
    assert len(figures) == SERVICES_MAX + 1
    assert figures["job-0"] == Figures(recorded=2, shipped=2)
    assert figures[OTHER_SERVICES] == Figures(recorded=4 * SERVICES_MAX, shipped=4 * SERVICES_MAX)

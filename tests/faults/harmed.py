"""A real server that may be harmed, with a database of the test's own on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waiting import PATIENCE, Calls, Recording, until

import llm_audit
from llm_audit import embedded
from llm_audit.journal.spool import folder as spool
from llm_audit.settings import Settings


@dataclass(frozen=True)
class Harmed:
    """A server that may be killed and frozen, the calls on it, and who records them.

    Attributes:
        server: The server.
        calls: The collection that is recorded into.
        recording: Puts settings in force in this process.
    """

    server: embedded.Mongod
    calls: Calls
    recording: Recording

    def settings(self, **changes: Any) -> Settings:
        """Put settings in force with which this process looks after the dead all the time."""
        usual = {
            "mongo_url": self.server.url,
            "database": self.calls.database.name,
            "recovery_interval_seconds": 0.1,
        }
        return self.recording(**usual | changes)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the server for the length of the block: journals stay as they are written."""
        self.server.freeze()
        try:
            yield
        finally:
            self.server.thaw()


def settle(settings: Settings) -> None:
    """Let this process finish what all the dead have left, until the spool is empty."""
    llm_audit.recover()
    target_folder = settings.spool_dir / settings.target()
    until(lambda: len(process_folders(target_folder)) <= 1)
    assert llm_audit.flush(PATIENCE)
    assert llm_audit.shutdown(PATIENCE)
    assert process_folders(target_folder) == []


def process_folders(target_folder: Path) -> list[Path]:
    """Return the folders that processes have in the spool."""
    others = (spool.REJECTED_FOLDER, spool.AGENT_FOLDER, spool.NEW)
    return [path for path in target_folder.iterdir() if not path.name.startswith(others)]

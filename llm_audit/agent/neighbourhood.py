"""All the processes for which the agent ships, found and forgotten as they come and go."""

from collections.abc import Callable, Iterator
from pathlib import Path

from llm_audit.agent.neighbour import Neighbour
from llm_audit.errors import let_through, log_fault
from llm_audit.journal.reader import WINDOW_MAX_BYTES
from llm_audit.journal.spool import looking
from llm_audit.journal.spool.agent_state import NOTHING, OTHER_SERVICES, SERVICES_MAX, Figures
from llm_audit.journal.spool.watched import WatchedFolder

WINDOWS_MAX_BYTES = 64 * 2**20  # of all of them together, in memory
WINDOW_MIN_BYTES = 2**16


class Neighbourhood:
    """The processes with a folder under one target, and what became of what they recorded.

    Args:
        target_folder: The spool's folder for the target.
        neighbour: Makes one of a folder that is watched, and of who says how much of its journal
            may be in memory.
    """

    def __init__(
        self,
        target_folder: Path,
        neighbour: Callable[[WatchedFolder, Callable[[], int]], Neighbour],
    ) -> None:
        self._target_folder = target_folder
        self._neighbour = neighbour
        self._known: dict[str, Neighbour] = {}
        self._of_the_gone: dict[str, Figures] = {}

    def __iter__(self) -> Iterator[Neighbour]:
        """Go through them, each in its turn."""
        return iter(tuple(self._known.values()))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._known)

    def look(self) -> None:
        """Take in who is new, and forget those whose folders are gone with them."""
        for neighbour in self:
            watched = not neighbour.is_running and not neighbour.is_dead
            if watched and not neighbour.folder.look():
                self._forget(neighbour)
        for path in looking.folders_in(self._target_folder):
            if path.name not in self._known:
                folder = WatchedFolder.found(path)
                if folder is not None:
                    self._take_in(folder)

    def _take_in(self, folder: WatchedFolder) -> None:
        """Ship for a process from now on; if that fails, try again at the next look."""
        try:
            self._known[folder.nonce] = self._neighbour(folder, self._window_bytes)
        except BaseException as fault:  # noqa: BLE001  (whatever is wrong with it, others go on)
            folder.release()
            let_through(fault)
            log_fault(fault)

    def forget_finished(self) -> None:
        """Forget who is dead, and has left nothing."""
        for neighbour in self:
            if neighbour.finished:
                self._forget(neighbour)

    def figures(self) -> dict[str, Figures]:
        """Return what became of what was recorded, by service, also by those who are gone."""
        figures = dict(self._of_the_gone)
        for neighbour in self:
            before = figures.get(neighbour.service, NOTHING)
            figures[neighbour.service] = before.together(neighbour.figures)
        return figures

    def release(self) -> None:
        """Leave all folders to their processes, or to the next that looks."""
        for neighbour in self:
            neighbour.folder.release()
        self._known.clear()

    def _forget(self, neighbour: Neighbour) -> None:
        del self._known[neighbour.folder.nonce]
        if not neighbour.finished:
            neighbour.folder.release()
        gone = neighbour.figures._replace(backlog_bytes=0, oldest_seconds=0.0)
        service = neighbour.service
        if service not in self._of_the_gone and len(self._of_the_gone) >= SERVICES_MAX:
            service = OTHER_SERVICES  # whoever records chooses its name
        self._of_the_gone[service] = self._of_the_gone.get(service, NOTHING).together(gone)

    def _window_bytes(self) -> int:
        return max(
            WINDOW_MIN_BYTES, min(WINDOW_MAX_BYTES, WINDOWS_MAX_BYTES // max(1, len(self._known)))
        )

"""The post of the agent: one under each kernel for each target, held by a lock."""

import fcntl
import json
import os
from contextlib import suppress
from importlib.metadata import version

from llm_audit.errors import let_through, log_once
from llm_audit.journal.spool.agent_state import AgentState, write_state
from llm_audit.journal.spool.agents import agent_of, lock_name
from llm_audit.journal.spool.folder import AGENT_FOLDER, Held
from llm_audit.journal.spool.owners import Owner, this_process
from llm_audit.runtime import trusted
from llm_audit.settings import Settings


class Post:
    """Where an agent stands, whoever holds it.

    Args:
        settings: For which target.
    """

    def __init__(self, settings: Settings) -> None:
        self.target_folder = settings.spool_dir / settings.target("agent")
        self._target_name = settings.target_name("thread")
        self._number: int | None = None

    @property
    def holder(self) -> Owner | None:
        """Who holds it, or did last."""
        return agent_of(self.target_folder)

    def take(self) -> bool:
        """Take it, if nobody holds it; return whether it is ours.

        Raises:
            OSError: The spool cannot be written.
        """
        folder = self.target_folder / AGENT_FOLDER
        with trusted.folder(folder, make=True) as here, Held.lock:
            if str(self.target_folder) in Held.agents:  # opening the lock would free it
                return self._number is not None
            try:
                number = _opened(here)
            except BlockingIOError:
                return False
            try:
                fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                there = os.stat(lock_name(), dir_fd=here, follow_symlinks=False)
                is_there = os.path.samestat(there, os.fstat(number))
            except OSError as error:
                let_through(error)
                is_there = False
            if not is_there:
                os.close(number)
                return False
            said = {"shipper": "agent", "version": version("llm-audit")}
            owner = this_process(AGENT_FOLDER, self._target_name, said)
            data = json.dumps(owner).encode()
            os.pwrite(number, data, 0)
            os.ftruncate(number, len(data))
            self._number = number
            Held.agents[str(self.target_folder)] = owner
        return True

    def keep(self) -> None:
        """Show that it is held, and take it anew where somebody has cleaned the spool."""
        if self._number is None:
            return
        with suppress(OSError):
            os.utime(self._number)
        if not self._is_there():
            self.leave()
            with suppress(OSError):
                self.take()

    def _is_there(self) -> bool:
        try:
            there = os.lstat(self.target_folder / AGENT_FOLDER / lock_name())
        except OSError as error:
            let_through(error)
            return False
        return self._number is not None and os.path.samestat(there, os.fstat(self._number))

    def say(self, state: AgentState) -> None:
        """Write down how far this agent is."""
        try:
            write_state(self.target_folder, state)
        except OSError as error:
            let_through(error)
            log_once(f"The agent cannot write how far it is ({error.strerror}).")

    def leave(self) -> None:
        """Free it; the file stays, and tells where the last agent shipped to."""
        with Held.lock:
            number, self._number = self._number, None
            if number is not None:
                Held.agents.pop(str(self.target_folder), None)
                os.close(number)


def _opened(here: int) -> int:
    """Open the lock file, made if it is missing.

    Raises:
        BlockingIOError: An agent of another user holds it.
        OSError: It cannot be opened.
    """
    name = lock_name()
    with suppress(FileExistsError):
        return trusted.create(name, here, told=True)
    with suppress(PermissionError):
        return trusted.open_file(name, here, os.O_RDWR, of_any_member=True)
    # Where a group shares the spool the last agent may have been another user. We get no share of
    # its lock while it holds that, and while we have one nobody takes what is replaced.
    left = trusted.open_file(name, here, of_any_member=True)
    try:
        fcntl.lockf(left, fcntl.LOCK_SH | fcntl.LOCK_NB)
        trusted.put(name, here, b"")
    finally:
        os.close(left)
    return trusted.open_file(name, here, os.O_RDWR, of_any_member=True)

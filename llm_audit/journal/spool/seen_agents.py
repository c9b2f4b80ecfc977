"""The agents of a target, of whatever kernel, as whoever looks at a spool sees them.

Each has left `<target>/agent/<boot_id>.lock`, see `agents`, and `.state`, see `agent_state`.
"""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from llm_audit.errors import let_through
from llm_audit.journal.spool.agent_state import AgentState, read_state
from llm_audit.journal.spool.agents import agent_of, lock_name
from llm_audit.journal.spool.folder import AGENT_FOLDER
from llm_audit.journal.spool.owners import Owner, read_owner, short
from llm_audit.runtime import trusted
from llm_audit.runtime.trusted import DoubtfulError

LOCK_SUFFIX, STATE_SUFFIX = ".lock", ".state"
AGENTS_MAX = 100  # on a volume that as many machines share


class SeenAgent(NamedTuple):
    """An agent, or the last one under its kernel.

    Attributes:
        path: Its lock file.
        is_here: Whether its kernel is that of this machine.
        owner: Who it is and where it ships to; only where it is here, `lives` says something.
        touched_at: When it last touched its lock file, by the clock of the file system.
        state: What it says of itself; None where that cannot be read.
    """

    path: Path
    is_here: bool
    owner: Owner
    touched_at: float
    state: AgentState | None

    @property
    def boot_id(self) -> str:
        """What names its kernel."""
        return short(self.path.name.removesuffix(LOCK_SUFFIX))


def agents_of(target_folder: Path) -> list[SeenAgent]:
    """Return the agents of a target, one for each kernel, that of this machine first.

    Args:
        target_folder: The spool's folder for the target.
    """
    try:
        with trusted.folder(target_folder / AGENT_FOLDER) as here:
            names = [name for name in trusted.names_in(here) if name.endswith(LOCK_SUFFIX)]
            names.sort(key=lambda name: (name != lock_name(), name))
            found = [_look_at(name, here, target_folder) for name in names[:AGENTS_MAX]]
    except OSError as error:
        let_through(error)  # there is none, or what is there may be somebody else's: `doubts_in`
        return []
    return [agent for agent in found if agent is not None]


def doubts_in(target_folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield what of an agent's may be somebody else's, and is not read, and why."""
    folder = target_folder / AGENT_FOLDER
    try:
        with trusted.folder(folder) as here:
            for name, status in islice(trusted.entries(here), 2 * AGENTS_MAX):
                if name.endswith((LOCK_SUFFIX, STATE_SUFFIX)):
                    why = trusted.doubt_of_file(status, here, of_any_member=True)
                    if why is not None:
                        yield folder / name, why
    except DoubtfulError as error:
        yield Path(error.path), error.why
    except OSError as error:
        let_through(error)


def _look_at(name: str, here: int, target_folder: Path) -> SeenAgent | None:
    """Return what can be seen of an agent; None if its lock file may be somebody else's."""
    is_here = name == lock_name()
    try:
        status = os.stat(name, dir_fd=here, follow_symlinks=False)
        owner = agent_of(target_folder) if is_here else _said_in(name, here)
    except OSError as error:
        let_through(error)
        return None
    if owner is None:
        return None
    state = read_state(target_folder, f"{name.removesuffix(LOCK_SUFFIX)}{STATE_SUFFIX}")
    return SeenAgent(target_folder / AGENT_FOLDER / name, is_here, owner, status.st_mtime, state)


def _said_in(name: str, here: int) -> Owner:
    number = trusted.open_file(name, here, of_any_member=True)
    try:
        return Owner.known(read_owner(number), lives=False)
    finally:
        os.close(number)

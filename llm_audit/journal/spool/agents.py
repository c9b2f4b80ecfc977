"""Which agent ships the journals of a target on this machine, and whether it runs.

An agent holds `<target>/agent/<boot_id>.lock` as long as it runs, and leaves it: so it tells where
the last one shipped to. As with a process's folder nobody may open a lock that he holds himself:
an agent puts its target's folder into `Held.agents`.
"""

import os
from pathlib import Path

from llm_audit.errors import let_through
from llm_audit.journal.spool.folder import AGENT_FOLDER, Held
from llm_audit.journal.spool.owners import Owner, boot_id, read_owner
from llm_audit.runtime import trusted
from llm_audit.runtime.trusted import DoubtfulError

START_IT = (
    "start `llm-audit agent` on this machine, with the same spool_dir, database and collection"
)


def lock_name() -> str:
    """Return the name of the lock file of this kernel's agent."""
    return f"{boot_id()}.lock"


def agent_of(target_folder: Path) -> Owner | None:
    """Return who ships what is recorded here on this machine, and whether it runs.

    Args:
        target_folder: The spool's folder for a target of agents.

    Returns:
        None if there has never been one since this machine was started.
    """
    try:
        with trusted.folder(target_folder / AGENT_FOLDER) as here, Held.lock:
            if (ours := Held.agents.get(str(target_folder))) is not None:
                return Owner.known(ours, lives=True)
            descriptor = trusted.open_file(lock_name(), here, of_any_member=True)
            try:
                owner = read_owner(descriptor)
                os.lockf(descriptor, os.F_TEST, 0)
            except DoubtfulError:
                raise
            except OSError as error:
                let_through(error)
                return Owner.known(owner, lives=True)
            finally:
                os.close(descriptor)
    except OSError as error:
        let_through(error)
        return None
    return Owner.known(owner, lives=False)


def has_left(target_folder: Path, target_name: str) -> bool:
    """Tell whether what lies here is for who ships to a target: the last agent did, and is gone.

    Where none has ever been, nobody but an agent knows where the calls are to go.

    Args:
        target_folder: The spool's folder for a target of agents.
        target_name: As of `Settings.target_name`, of whoever asks.
    """
    last = agent_of(target_folder)
    return last is not None and not last.lives and last.target == target_name

"""What lies in the spool, looked at without taking anything over; only so much at once."""

import os
import random
import re
from collections.abc import Container, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from llm_audit.errors import let_through
from llm_audit.journal.spool.folder import (
    ADOPTED,
    AGENT_FOLDER,
    BLOB_SUFFIX,
    ENTRIES_MAX,
    LOCK,
    NEW,
    REJECTED_FOLDER,
    SUFFIX,
    Held,
)
from llm_audit.journal.spool.owners import Owner, read_owner
from llm_audit.runtime import trusted, whose
from llm_audit.runtime.trusted import DoubtfulError

FOLDERS_MAX = 1_000  # looked at at once; where there are more, by lot, so that each has its turn
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)  # of a folder for a target or of a process


def folders_in(parent: Path, *, own: int = 1, at_most: int | None = None) -> list[Path]:
    """Return the folders of targets in the spool, or those of processes in a target's, by name.

    Args:
        parent: The spool, which may be shared: then `own` is 0; or a target's folder.
        own: As of `trusted.folder`.
        at_most: How many; by default as many as are looked at at once.
    """
    try:
        looked_at = _looked_at(parent, own, at_most)
        return [parent / name for name, why in looked_at if why is None]
    except OSError as error:
        let_through(error)
        return []  # no spool, or none that this process may read


def folders_of_all(spool_dir: Path, *, but: Container[str] = ()) -> Iterator[Path]:
    """Yield the folders of processes in the spool, for whatever target but some."""
    left = FOLDERS_MAX
    for target in folders_in(spool_dir, own=0):
        if target.name not in but and left > 0:
            found = folders_in(target, at_most=left)
            left -= len(found)
            yield from found


def doubts_in(parent: Path, *, own: int = 1) -> dict[Path, str]:
    """Return what is left alone because it may be somebody else's, and why: as `folders_in`."""
    try:
        return {parent / name: why for name, why in _looked_at(parent, own) if why is not None}
    except DoubtfulError as error:
        return {Path(error.path): error.why}
    except OSError as error:
        let_through(error)
        return {}


def doubts_among_files(folder: Path) -> dict[Path, str]:
    """Return what in a process's folder, or among what was refused, is surely no file of ours."""
    try:
        with trusted.folder(folder) as here:
            doubts = {
                folder / name: why
                for name, status in islice(trusted.entries(here), ENTRIES_MAX)
                if name == LOCK or name.endswith((SUFFIX, BLOB_SUFFIX))
                if (why := trusted.doubt_of_file(status, here, blob=name.endswith(BLOB_SUFFIX)))
            }
            if not doubts and folder.name != REJECTED_FOLDER:
                _look_at(folder.name, here)
            return doubts
    except DoubtfulError as error:
        if whose.is_private(folder) and error.path == str(folder):
            return {}  # another member's, who ships: what is in it is his affair
        return {folder.parent / error.path: error.why}
    except OSError as error:
        let_through(error)
        return {}


def is_crowded(target_folder: Path) -> bool:
    """Tell whether there are more folders than are looked at at once."""
    try:
        with trusted.folder(target_folder, own=1) as number:
            return len(_names_in(number)) > FOLDERS_MAX
    except OSError as error:
        let_through(error)
        return False


def _looked_at(
    parent: Path, own: int, at_most: int | None = None
) -> Iterator[tuple[str, str | None]]:
    """Yield what may be folders of ours, and why one is not."""
    with trusted.folder(parent, own=own) as number:
        names = _names_in(number)
        at_most = FOLDERS_MAX if at_most is None else at_most
        if len(names) > at_most:
            names = random.SystemRandom().sample(names, at_most)
        for name in sorted(names):
            with suppress(FileNotFoundError):  # removed a moment ago
                status = os.stat(name, dir_fd=number, follow_symlinks=False)
                why = trusted.doubt_of_folder(name, status, parent)
                if why is None and own and not whose.names_its_owner(name, parent):
                    why = "does not say in its name whose it is"
                yield name, why


def _names_in(number: int) -> list[str]:
    return [
        name
        for name in trusted.names_in(number)
        if name not in {REJECTED_FOLDER, AGENT_FOLDER}
        and not name.startswith(NEW)
        and _NAME.fullmatch(name)
    ]


def owners(target_folder: Path) -> Iterator[tuple[Path, Owner]]:
    """Yield the processes' folders in the spool for a target, each with its owner."""
    for path in folders_in(target_folder):
        owner = look_at(path)
        if owner is not None:
            yield path, owner


def look_at(folder: Path) -> Owner | None:
    """Tell whose folder it is and whether anybody looks after it, and take nothing over.

    Returns:
        None where there is no lock file of ours, of this folder: it is of no process, or was
        removed a moment ago.
    """
    try:
        with trusted.folder(folder) as here:
            return _look_at(folder.name, here)
    except OSError as error:
        let_through(error)
        return None


def doubt_of_owner(nonce: str, owner: dict[str, Any]) -> str | None:
    """Return why a lock file is not that of the folder that it lies in; None if it may be."""
    is_its_own = nonce.startswith(NEW) or owner.get("nonce", nonce) == nonce
    return None if is_its_own else "has the lock of another folder"


def _look_at(nonce: str, here: int) -> Owner:
    adopted = {"adopted": os.access(ADOPTED, os.F_OK, dir_fd=here)}  # false where nobody may look
    with Held.lock:  # closing a lock file that we come to hold meanwhile would free it
        if nonce in Held.owners:
            return Owner.known(Held.owners[nonce] | adopted, lives=True)
        descriptor = trusted.open_file(LOCK, here)
        try:
            owner = read_owner(descriptor)
            trusted.refuse(nonce, doubt_of_owner(nonce, owner))
            os.lockf(descriptor, os.F_TEST, 0)
            lives = False
        except DoubtfulError:
            raise
        except OSError as error:
            let_through(error)
            lives = True
        finally:
            os.close(descriptor)
    return Owner.known(owner | adopted, lives=lives)

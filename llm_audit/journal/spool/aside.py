"""What is kept aside in the spool: bounded and removed in the end, so that new calls have room.

In `rejected/` lies what MongoDB does not take in any way, and what cannot be read of journals.
"""

import errno
import logging
import stat
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from llm_audit.errors import let_through, log_once
from llm_audit.journal.spool.folder import ENTRIES_MAX, rejected_in, room_bytes
from llm_audit.runtime import trusted

SHARE = 1 / 8  # of spool_max_bytes
KEPT_SECONDS = 90 * 86_400.0


def check_room(target_folder: Path, size_bytes: int, spool_max_bytes: int) -> None:
    """See that so much more may be kept aside.

    Raises:
        OSError: It may not.
    """
    held = sum(size for _, size, _ in _found(target_folder))
    if held + size_bytes > spool_max_bytes * SHARE:
        raise OSError(errno.EDQUOT, "what is kept aside takes its share of spool_max_bytes")


def remove_old(target_folder: Path, spool_max_bytes: int) -> None:
    """Remove what has waited for a season, and the oldest of what is more than its share."""
    found = sorted(_found(target_folder), key=lambda each: each[2])
    held = sum(size for _, size, _ in found)
    for name, size, at in found:
        is_old = time.time() - at > KEPT_SECONDS
        if not is_old and held <= spool_max_bytes * SHARE:
            return
        try:
            with trusted.folder(rejected_in(target_folder)) as folder:
                remove = trusted.remove_folder if name.endswith("/") else trusted.remove_file
                remove(name.rstrip("/"), folder)
        except OSError as error:
            let_through(error)
            return
        held -= size
        why = "it has waited for 90 days" if is_old else "it takes more than its eighth"
        log_once(
            f"What is kept aside in {rejected_in(target_folder)} is removed, oldest first: "
            f"{why}. What was in it is lost.",
            level=logging.ERROR,
        )


def _found(target_folder: Path) -> Iterator[tuple[str, int, float]]:
    """Yield everything that is kept aside, folders with a slash, with its size and its age."""
    folder = rejected_in(target_folder)
    try:
        with trusted.folder(folder) as here:
            entries = list(islice(trusted.entries(here), ENTRIES_MAX))
    except OSError as error:
        let_through(error)
        return
    for name, status in entries:
        if stat.S_ISDIR(status.st_mode):
            yield f"{name}/", _size_of(folder / name), status.st_mtime
        else:
            yield name, room_bytes(status), status.st_mtime


def _size_of(folder: Path) -> int:
    try:
        with trusted.folder(folder) as here:
            return sum(
                room_bytes(status) for _, status in islice(trusted.entries(here), ENTRIES_MAX)
            )
    except OSError as error:
        let_through(error)
        return 0

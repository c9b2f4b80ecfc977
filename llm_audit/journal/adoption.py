"""Taking over the folders of dead processes, and of nobody else."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from llm_audit.journal import spool
from llm_audit.journal.sightings import Sightings
from llm_audit.journal.spool import LOCK, NEW, REJECTED_FOLDER, Held, ProcessFolder

UNFINISHED_SECONDS = 3600.0


class OtherKernels:
    """Judges processes under another kernel, on a shared volume or from before a reboot.

    Their locks say nothing here. They are dead when their lock file has not been touched for the
    whole lease, by the file system's own clock, and this process has seen it so for a while, in
    case that clock has jumped.

    Args:
        lease_seconds: How long a lock file must have been left untouched.
        watch_seconds: How long this process must have seen it so.
    """

    def __init__(self, lease_seconds: float, watch_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._watch_seconds = watch_seconds
        self.touches = Sightings()  # by folder

    def is_dead(self, path: Path, touched_at: float) -> bool:
        """Tell whether the owner of a folder is dead.

        Args:
            path: The folder.
            touched_at: Its lock file's modification time.
        """
        unchanged_seconds = self.touches.unchanged_seconds(str(path), touched_at)
        os.utime(path.parent)
        untouched_seconds = path.parent.stat().st_mtime - touched_at
        return untouched_seconds > self._lease_seconds and unchanged_seconds >= self._watch_seconds

    def forget_removed(self) -> None:
        """Forget the owners whose folders are no longer there."""
        self.touches.keep(folder for folder in self.touches if Path(folder).exists())


def adopt_dead(target_folder: Path, other_kernels: OtherKernels) -> Iterator[ProcessFolder]:
    """Lock, one by one, the folders whose owners are dead, and hand them over.

    A free lock proves death only under the same kernel.

    Args:
        target_folder: The spool's folder for one target.
        other_kernels: Judges the owners under others.

    Yields:
        Folders that now belong to this process, until `remove` or `release`.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(target_folder))
    except OSError:
        return  # no spool, or none that this process may read
    for name in names:
        if name.startswith(NEW):
            _remove_unfinished(target_folder / name)
        if name == REJECTED_FOLDER or name.startswith(NEW):
            continue
        with Held.lock:
            if name in Held.owners:
                continue
            folder = _try_adopt(target_folder / name, other_kernels)
            if folder is not None:
                Held.owners[name] = folder.owner()
        if folder is not None:
            yield folder


def waiting_elsewhere(
    spool_dir: Path, target: str, other_kernels: OtherKernels
) -> Iterator[ProcessFolder]:
    """Hand over, one by one, the folders of the dead whose calls go to other targets than ours.

    They wait for a process that is configured for their MongoDB, database and collection: after a
    change of any of these, perhaps for ever.
    """
    try:
        names = [entry.name for entry in os.scandir(spool_dir) if entry.name != target]
    except OSError:
        return  # no spool, or none that this process may read
    for name in names:
        for folder in adopt_dead(spool_dir / name, other_kernels):
            if any(folder.path.glob("*.bson")):
                yield folder
            folder.release()


def _try_adopt(path: Path, other_kernels: OtherKernels) -> ProcessFolder | None:
    lock = path / LOCK
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None  # adopted and removed by somebody else a moment ago, or no folder of ours
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
        still_linked = lock.stat().st_ino == status.st_ino
        same_kernel = spool.read_owner(descriptor).get("boot_id") == spool.boot_id()
        dead = same_kernel or other_kernels.is_dead(path, status.st_mtime)
    except OSError:
        still_linked = dead = False  # its owner lives, or another process was faster
    if not (still_linked and dead):
        os.close(descriptor)
        return None
    folder = ProcessFolder(path, descriptor)
    folder.note_adoption()
    return folder


def _remove_unfinished(path: Path) -> None:
    """Remove a folder if whoever made or removed it was killed at it, an hour ago or more.

    Who is at it now holds its lock, unless he died: the clock may have been put forward.
    """
    with suppress(OSError):
        owner = spool.look_at(path)
        is_left = owner is None or not owner.lives
        if is_left and time.time() - path.stat().st_mtime > UNFINISHED_SECONDS:
            shutil.rmtree(path)

"""Taking over the folders of dead processes, and of nobody else."""

import os
import time
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from llm_audit.errors import let_through, log_once
from llm_audit.journal.spool import looking, owners
from llm_audit.journal.spool.folder import (
    LOCK,
    NEW,
    SUFFIX,
    Held,
    ProcessFolder,
    open_lock,
    take_lock,
)
from llm_audit.journal.spool.sightings import Sightings
from llm_audit.runtime import trusted
from llm_audit.runtime.trusted import DoubtfulError

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
    _remove_unfinished(target_folder)
    yield from _adopted(looking.folders_in(target_folder), other_kernels)
    for path, why in looking.doubts_in(target_folder).items():
        if path.parent == target_folder:  # else nothing is recorded there, which is said
            _say_left_alone(f"{path} {why}")


def waiting_elsewhere(
    spool_dir: Path, targets: Container[str], other_kernels: OtherKernels
) -> Iterator[ProcessFolder]:
    """Hand over, one by one, the folders of the dead whose calls go to other targets than ours.

    They wait for a process that is configured for their MongoDB, database and collection: after a
    change of any of these, perhaps for ever.
    """
    for folder in _adopted(looking.folders_of_all(spool_dir, but=targets), other_kernels):
        if any(path.name.endswith(SUFFIX) for path in folder.path.iterdir()):
            yield folder
        folder.release()


def _adopted(paths: Iterable[Path], other_kernels: OtherKernels) -> Iterator[ProcessFolder]:
    for path in paths:
        with Held.lock:
            if path.name in Held.owners:
                continue
            folder = _try_adopt(path, other_kernels)
            if folder is not None:
                Held.owners[path.name] = folder.owner()
        if folder is not None:
            yield folder


def _try_adopt(path: Path, other_kernels: OtherKernels) -> ProcessFolder | None:
    try:
        with trusted.folder(path) as here:
            descriptor = open_lock(here)
            try:
                if _is_free_of_the_dead(path, here, descriptor, other_kernels):
                    folder = ProcessFolder(path, descriptor)
                    folder.note_adoption()
                    return folder
            except OSError as error:
                let_through(error)  # else its owner lives, or another process was faster
            os.close(descriptor)
    except DoubtfulError as error:
        _say_left_alone(str(error.strerror))
    except OSError as error:
        let_through(error)  # else adopted and removed by somebody else, or no folder of a process
    return None


def _is_free_of_the_dead(
    path: Path, here: int, descriptor: int, other_kernels: OtherKernels
) -> bool:
    """Lock a folder, and tell whether its owner is dead.

    Raises:
        OSError: Somebody else holds it, or has just removed it.
    """
    take_lock(descriptor)
    status = os.fstat(descriptor)
    if not os.path.samestat(os.stat(LOCK, dir_fd=here, follow_symlinks=False), status):
        return False
    owner = owners.read_owner(descriptor)
    if why := looking.doubt_of_owner(path.name, owner):
        _say_left_alone(f"{path} {why}")
        return False
    same_kernel = owner.get("boot_id") == owners.boot_id()
    return same_kernel or other_kernels.is_dead(path, status.st_mtime)


def _say_left_alone(why: str) -> None:
    log_once(
        f"{why}. It is left alone, and so is all else in the spool that may be somebody "
        "else's: llm-audit doctor names it.",
        key="left alone",
    )


def _remove_unfinished(target_folder: Path) -> None:
    """Remove the folders whose makers or removers were killed at it, an hour ago or more.

    Who is at one now holds its lock, unless he died: the clock may have been put forward.
    """
    with suppress(OSError), trusted.folder(target_folder, own=1) as target:
        before = time.time() - UNFINISHED_SECONDS
        new = (name for name in trusted.names_in(target) if name.startswith(NEW))
        for name in islice(new, looking.FOLDERS_MAX):
            status = os.stat(name, dir_fd=target, follow_symlinks=False)
            doubt = trusted.doubt_of_folder(name, status, target_folder)
            if status.st_mtime < before and doubt is None:
                owner = looking.look_at(target_folder / name)
                if owner is None or not owner.lives:
                    trusted.remove_folder(name, target)

"""The spool: a folder per target, in it a folder per recording process, kept alive by a lock.

    <spool_dir>/<target>/<nonce>/lock             held with lockf as long as the process lives
    <spool_dir>/<target>/<nonce>/00000001.bson    its journal segments
    <spool_dir>/<target>/<nonce>/ended            if it ended in order, but not all had arrived
    <spool_dir>/<target>/<nonce>/adopted          if it has died, and another process took over
    <spool_dir>/<target>/<nonce>/acknowledged, awaited, stats    where an agent ships: `progress`
    <spool_dir>/<target>/agent/<boot_id>.lock     held with lockf by the agent of this kernel
    <spool_dir>/<target>/rejected/<nonce>.<hash>.bson    what MongoDB refused in every way
    <spool_dir>/<target>/rejected/<nonce>-00000001.damaged    from a segment, what cannot be read

POSIX record locks, not `flock`: a forked child inherits none of them, so it can neither hold a dead
parent's lock nor free a living one's. The price is that closing any descriptor on a lock file
frees the lock, so a process must never open a lock file of its own: `Held` knows them.

Everything here is opened as `trusted` does it: what may be somebody else's is left alone. Where a
group shares the spool, a nonce ends with the number of the user whose process it is.
"""

import fcntl
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from llm_audit.errors import let_through, log_once, passing_over
from llm_audit.journal.spool.owners import read_owner, this_process
from llm_audit.runtime import trusted, whose
from llm_audit.runtime.forks import OwnLock, begin_anew
from llm_audit.runtime.kept import kept

REJECTED_FOLDER = "rejected"
AGENT_FOLDER = "agent"
SUFFIX = ".bson"  # of what holds records
BLOB_SUFFIX = ".blob"
LOCK = "lock"
ENDED, ADOPTED = "ended", "adopted"  # empty files
NEW = ".new-"  # of a folder that is being made, or removed
ENTRIES_MAX = 100_000  # whatever they are


@kept
class Held:
    """The folders that this process holds locked; never opened by it a second time."""

    lock = OwnLock()
    owners: ClassVar[dict[str, dict[str, Any]]] = {}  # by nonce: who recorded there
    agents: ClassVar[dict[str, dict[str, Any]]] = {}  # by target's folder: an agent in this process


@begin_anew
def _begin_anew() -> None:
    Held.owners.clear()
    Held.agents.clear()


class ProcessFolder:
    """One process's folder in the spool, locked by whoever holds this object.

    Args:
        path: The folder; its name is the process's nonce.
        lock_descriptor: The lock file, if it is held; else `ensure` makes folder and lock.
        target_name: Where the calls in it go, for whoever finds it.
        said: What else its lock file says, see `owners.this_process`.
    """

    def __init__(
        self,
        path: Path,
        lock_descriptor: int | None = None,
        target_name: str | None = None,
        said: Mapping[str, str | float | None] | None = None,
    ) -> None:
        self.path = path
        self._target_name = target_name
        self._said = said
        self._descriptor = lock_descriptor
        self._moved: list[int] = []

    @property
    def nonce(self) -> str:
        """The name of the process that recorded here; no other process ever has it."""
        return self.path.name

    def ensure(self) -> bool:
        """Make the folder and lock it, if it is not there (any more); return whether it was made.

        It appears under its name only once locked.

        Raises:
            OSError: The spool cannot be written.
        """
        if self._descriptor is not None and self._is_linked(self._descriptor):
            return False
        new = f"{NEW}{uuid4()}"
        with trusted.folder(self.path.parent, own=1, make=True) as target:
            trusted.make_folder(new, target)
            try:
                descriptor = self._make(new, target)
            finally:
                trusted.remove_folder(new, target)
        lost, self._descriptor = self._descriptor, descriptor
        if lost is not None:
            if os.fstat(lost).st_nlink:  # moved away: nobody shall take us for dead there
                self._moved.append(lost)
            else:
                os.close(lost)
        return True

    def _make(self, new: str, target: int) -> int:
        """Give a folder that is being made its lock, and its name; return the lock."""
        with Held.lock:  # so that nobody here opens and closes the lock before it is held
            owner = Held.owners[self.nonce] = this_process(
                self.nonce, self._target_name, self._said
            )
            with trusted.folder(self.path.parent / new, make=True) as made:
                descriptor = _locked_file(made, owner)
            try:
                if self.path.exists():  # only its lock was removed
                    with trusted.folder(self.path) as there:
                        os.rename(f"{new}/{LOCK}", LOCK, src_dir_fd=target, dst_dir_fd=there)
                else:
                    os.rename(new, self.nonce, src_dir_fd=target, dst_dir_fd=target)
            except OSError:
                os.close(descriptor)
                raise
        return descriptor

    def owner(self) -> dict[str, Any]:
        """Return what the lock file says of the owner."""
        return {} if self._descriptor is None else read_owner(self._descriptor)

    @property
    def names_who_began(self) -> bool:
        """Whether outcomes in it say whose call it is, where that is not the owner's.

        Until there was a parent in the lock file they did not.
        """
        owner = Held.owners.get(self.nonce) or self.owner()
        return not owner or "parent" in owner

    def note_end(self) -> None:
        """Note for whoever ships the rest that the owner has ended in order, and was not killed."""
        self._note(ENDED)  # where the disk refuses, it counts as killed

    def note_adoption(self) -> None:
        """Note for whoever waits for the dead that another process has taken over."""
        self._note(ADOPTED)

    @property
    def ended_in_order(self) -> bool:
        """Whether the owner has noted its end."""
        try:
            with trusted.folder(self.path) as here:
                status = os.stat(ENDED, dir_fd=here, follow_symlinks=False)
                return trusted.doubt_of_file(status, here) is None
        except OSError as error:
            let_through(error)
            return False

    def _note(self, name: str) -> None:
        with passing_over(OSError), trusted.folder(self.path) as here:
            os.close(trusted.create(name, here))

    def touch(self) -> None:
        """Show other kernels on a shared volume that the owner lives."""
        if self._descriptor is not None:
            try:
                os.utime(self._descriptor)
            except OSError as error:
                let_through(error)
                log_once(f"The spool's lock file cannot be touched ({error}): {self.path}.")

    def remove(self) -> None:
        """Remove the folder once everything in it is in MongoDB, and free the lock."""
        with passing_over(OSError):
            self._keep_blobs_of_damaged()
        with passing_over(OSError), trusted.folder(self.path.parent, own=1) as target:
            going = f"{NEW}{self.nonce}"
            with passing_over(OSError):  # somebody has cleaned the spool
                # at once: nobody may find a folder that has lost its lock
                os.rename(self.nonce, going, src_dir_fd=target, dst_dir_fd=target)
            trusted.remove_folder(going, target)
        self.release()

    def release(self) -> None:
        """Free the lock and leave the folder for the next process that looks."""
        with passing_over(OSError), trusted.folder(self.path) as here:
            trusted.remove_file(ADOPTED, here)
        self.forget()
        with Held.lock:
            Held.owners.pop(self.nonce, None)

    def hand_over(self) -> None:
        """In a forked child: put a free lock in the place of the parent's, which records no more.

        Whoever looks next takes the folder for a dead process's, and ships what is in it.
        """
        new = f"{LOCK}.new"
        # suppressed: another child has done it, or it is gone
        with suppress(OSError), trusted.folder(self.path) as here:
            descriptor = trusted.create(new, here)
            os.write(descriptor, json.dumps(self.owner()).encode())
            os.close(descriptor)
            if self._descriptor is not None and self._is_linked(self._descriptor):
                os.rename(new, LOCK, src_dir_fd=here, dst_dir_fd=here)

    def forget(self) -> None:
        """Close the descriptors; in a forked child, the parent keeps its lock."""
        # first the numbers: a child forked meanwhile must close nothing that is closed already
        descriptor, self._descriptor = self._descriptor, None
        moved, self._moved = self._moved, []
        for number in (descriptor, *moved):
            if number is not None:
                os.close(number)

    def _keep_blobs_of_damaged(self) -> None:
        """Put the blobs that damaged segments may name beside what was set aside of these."""
        target_folder = self.path.parent
        with trusted.folder(rejected_in(target_folder)) as rejected:
            if any(name.startswith(f"{self.nonce}-") for name, _ in trusted.entries(rejected)):
                with trusted.folder(self.path) as here:
                    for name, _ in list(trusted.entries(here)):
                        if name.endswith(BLOB_SUFFIX):
                            os.rename(name, name, src_dir_fd=here, dst_dir_fd=rejected)

    def _is_linked(self, descriptor: int) -> bool:
        try:
            return (self.path / LOCK).stat().st_ino == os.fstat(descriptor).st_ino
        except OSError as error:
            let_through(error)
            return False


def _locked_file(folder_number: int, owner: dict[str, Any]) -> int:
    descriptor = trusted.create(LOCK, folder_number)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, json.dumps(owner).encode())
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_lock(folder_number: int) -> int:
    """Open the lock file in another process's folder, to write where it is ours.

    Raises:
        DoubtfulError: It is surely none of that process.
        OSError: It is not there, or cannot be opened.
    """
    is_ours = os.fstat(folder_number).st_uid == os.geteuid()
    return trusted.open_file(LOCK, folder_number, os.O_RDWR if is_ours else os.O_RDONLY)


def take_lock(descriptor: int) -> None:
    """Lock another process's folder, if that is dead.

    What another user's process has written we may only read, and so can share its lock only: that
    keeps out its owner, and who adopts as that user. Other members of a group are kept out by the
    agent's own lock: there is one agent.

    Raises:
        OSError: It lives, or another process has adopted the folder.
    """
    may_write = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    fcntl.lockf(descriptor, (fcntl.LOCK_EX if may_write else fcntl.LOCK_SH) | fcntl.LOCK_NB)


def used_bytes(spool_dir: Path, *, beside: Path | None = None, at_most: int = ENTRIES_MAX) -> int:
    """Return how much of ours, or of the group's, the spool holds, whatever target and process.

    Args:
        spool_dir: The spool, or a folder in it.
        beside: The folder of a process, the segments of which do not count.
        at_most: How many files and folders are looked at, or about as many.
    """
    total = seen = 0
    folders = [str(spool_dir)]
    us, group = os.geteuid(), whose.group_of(spool_dir)
    while folders and seen < at_most:
        folder = folders.pop()
        own = folder == str(beside)
        with passing_over(OSError), os.scandir(folder) as entries:
            for entry in islice(entries, at_most):
                seen += 1
                with passing_over(OSError):  # shipped and deleted a moment ago
                    status = entry.stat(follow_symlinks=False)
                    if status.st_uid != us and status.st_gid != group:
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        folders.append(entry.path)
                    elif not (own and entry.name.endswith(SUFFIX)):
                        total += room_bytes(status)
    return total


def free_bytes(spool_dir: Path) -> int | None:
    """Return how much this user may still write on the disk of the spool; None if nobody knows."""
    try:
        disk = os.statvfs(spool_dir)
    except OSError as error:
        let_through(error)
        return None
    return disk.f_bavail * disk.f_frsize


def room_bytes(status: os.stat_result) -> int:
    """Return the share of a file's room that one of its names takes: calls share media.

    A file with holes takes less than its size.
    """
    return min(status.st_size, status.st_blocks * 512) // max(1, status.st_nlink)


def rejected_in(target_folder: Path) -> Path:
    """Return the folder for what MongoDB refused: its shipper's alone, whoever shares the spool."""
    return whose.private(target_folder / REJECTED_FOLDER)

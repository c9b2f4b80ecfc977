"""The spool: a folder per target, in it a folder per recording process, kept alive by a lock.

    <spool_dir>/<target>/<nonce>/lock             held with lockf as long as the process lives
    <spool_dir>/<target>/<nonce>/00000001.bson    its journal segments
    <spool_dir>/<target>/<nonce>/ended            if it ended in order, but not all had arrived
    <spool_dir>/<target>/<nonce>/adopted          if it has died, and another process took over
    <spool_dir>/<target>/rejected/<nonce>.<hash>.bson    what MongoDB refused in every way
    <spool_dir>/<target>/rejected/<nonce>-00000001.damaged    from a segment, what cannot be read

POSIX record locks, not `flock`: a forked child inherits none of them, so it can neither hold a dead
parent's lock nor free a living one's. The price is that closing any descriptor on a lock file
frees the lock, so a process must never open a lock file of its own: `Held` knows them.
"""

import errno
import fcntl
import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from uuid import uuid4

from llm_audit.errors import let_through, log_once
from llm_audit.runtime.forks import OwnLock, begin_anew
from llm_audit.runtime.kept import kept

REJECTED_FOLDER = "rejected"
SUFFIX = ".bson"  # of what holds records
LOCK = "lock"
ENDED, ADOPTED = "ended", "adopted"  # empty files
NEW = ".new-"  # of a folder that is being made, or removed
TRANSIENT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN})


@kept
class Held:
    """The folders that this process holds locked; never opened by it a second time."""

    lock = OwnLock()
    owners: ClassVar[dict[str, dict[str, Any]]] = {}  # by nonce: who recorded there


@begin_anew
def _begin_anew() -> None:
    Held.owners.clear()


class ProcessFolder:
    """One process's folder in the spool, locked by whoever holds this object.

    Args:
        path: The folder; its name is the process's nonce.
        lock_descriptor: The lock file, if it is held; else `ensure` makes folder and lock.
        target_name: Where the calls in it go, for whoever finds it.
    """

    def __init__(
        self, path: Path, lock_descriptor: int | None = None, target_name: str | None = None
    ) -> None:
        self.path = path
        self._target_name = target_name
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
        new = self.path.parent / f"{NEW}{uuid4()}"
        self.path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        new.mkdir(mode=0o700)
        try:
            with Held.lock:  # so that nobody here opens and closes the lock before it is held
                Held.owners[self.nonce] = _this_process()
                descriptor = _locked_file(new / LOCK, self._target_name)
                try:
                    if self.path.exists():  # only its lock was removed
                        (new / LOCK).rename(self.path / LOCK)
                    else:
                        new.rename(self.path)
                except OSError:
                    os.close(descriptor)
                    raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
        lost, self._descriptor = self._descriptor, descriptor
        if lost is not None:
            if os.fstat(lost).st_nlink:  # moved away: nobody shall take us for dead there
                self._moved.append(lost)
            else:
                os.close(lost)
        return True

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
        return (self.path / ENDED).exists()

    def _note(self, name: str) -> None:
        with suppress(OSError):
            (self.path / name).touch(mode=0o600)

    def touch(self) -> None:
        """Show other kernels on a shared volume that the owner lives."""
        if self._descriptor is not None:
            try:
                os.utime(self._descriptor)
            except OSError as error:
                log_once(f"The spool's lock file cannot be touched ({error}): {self.path}.")

    def remove(self) -> None:
        """Remove the folder once everything in it is in MongoDB, and free the lock."""
        rejected = self.path.parent / REJECTED_FOLDER
        with suppress(OSError):
            if any(rejected.glob(f"{self.nonce}-*")):  # damaged segments may name these
                for blob in self.path.glob("*.blob"):
                    blob.rename(rejected / blob.name)
        going = self.path.with_name(f"{NEW}{self.nonce}")
        with suppress(OSError):  # somebody has cleaned the spool
            self.path.rename(going)  # at once: nobody may find a folder that has lost its lock
        shutil.rmtree(going, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Free the lock and leave the folder for the next process that looks."""
        with suppress(OSError):
            (self.path / ADOPTED).unlink(missing_ok=True)
        self.forget()
        with Held.lock:
            Held.owners.pop(self.nonce, None)

    def hand_over(self) -> None:
        """In a forked child: put a free lock in the place of the parent's, which records no more.

        Whoever looks next takes the folder for a dead process's, and ships what is in it.
        """
        new = self.path / f"{LOCK}.new"
        with suppress(OSError):  # another child has done it, or it is gone
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.write(descriptor, json.dumps(self.owner()).encode())
            os.close(descriptor)
            if self._descriptor is not None and self._is_linked(self._descriptor):
                new.replace(self.path / LOCK)

    def forget(self) -> None:
        """Close the descriptors; in a forked child, the parent keeps its lock."""
        # first the numbers: a child forked meanwhile must close nothing that is closed already
        descriptor, self._descriptor = self._descriptor, None
        moved, self._moved = self._moved, []
        for number in (descriptor, *moved):
            if number is not None:
                os.close(number)

    def _is_linked(self, descriptor: int) -> bool:
        try:
            return (self.path / LOCK).stat().st_ino == os.fstat(descriptor).st_ino
        except OSError as error:
            let_through(error)
            return False


def _locked_file(path: Path, target_name: str | None) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, json.dumps({**_this_process(), "target": target_name}).encode())
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def used_bytes(spool_dir: Path, *, beside: Path) -> int:
    """Return how much the spool holds, for whatever target and process.

    Args:
        spool_dir: The spool.
        beside: The folder of a process, the segments of which do not count.
    """
    total = 0
    folders = [str(spool_dir)]
    while folders:
        folder = folders.pop()
        own = folder == str(beside)
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                if own and entry.name.endswith(SUFFIX):
                    continue
                with suppress(OSError):  # shipped and deleted a moment ago
                    total += room_bytes(entry.stat(follow_symlinks=False))
    return total


def room_bytes(status: os.stat_result) -> int:
    """Return the share of a file's room that one of its names takes: calls share media."""
    return status.st_size // max(1, status.st_nlink)


def rejected_folder(target_folder: Path) -> Path:
    """Return the folder for what MongoDB refused, made if missing."""
    folder = target_folder / REJECTED_FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@cache
def boot_id() -> str:
    """Name this start of this kernel; the same in all its containers."""
    try:
        # bytes: a codec would be imported, while another thread may fork
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().decode().strip()
    except OSError as error:
        let_through(error)
        return socket.gethostname()  # no /proc: a reboot then looks like the same kernel


def this_machine() -> tuple[str, str]:
    """Name the container or machine, and the start of its kernel."""
    return socket.gethostname(), boot_id()


class Owner(NamedTuple):
    """Who recorded in a folder, and whether that process or one that adopted it lives.

    Its host and pid are for people: hosts are renamed, containers may have equal names, and a
    pid means something only in its namespace.
    """

    lives: bool
    host: str | None
    pid: int | None
    boot_id: str | None
    target: str | None = None
    parent: int | None = None
    pid_namespace: str | None = None
    adopted: bool | None = None

    @classmethod
    def known(cls, owner: Mapping[str, Any], *, lives: bool) -> "Owner":
        """Make one of what a lock file says, which may be nothing."""
        return cls(lives, *map(owner.get, cls._fields[1:]))

    @property
    def is_child(self) -> bool:
        """Whether this process has started it."""
        ours = os.getpid(), pid_namespace(), boot_id()
        return (self.parent, self.pid_namespace, self.boot_id) == ours

    def has_ended(self) -> bool:
        """Tell whether the process that recorded is gone; under another kernel it counts as alive.

        Where the lock is held, it is by that process or by one that adopted the folder.
        """
        return self.boot_id == boot_id() and bool(self.adopted or not self.lives)


def folders_in(parent: Path) -> list[Path]:
    """Return the folders of targets in the spool, or those of processes in a target's, by name."""
    try:
        paths = sorted(parent.iterdir())
    except OSError:
        return []  # no spool, or none that this process may read
    return [
        path for path in paths if path.name != REJECTED_FOLDER and not path.name.startswith(NEW)
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
        None where there is no lock file: the folder is of no process, or was removed a moment ago.
    """
    adopted = {"adopted": os.access(folder / ADOPTED, os.F_OK)}  # false too where nobody may look
    with Held.lock:  # closing a lock file that we come to hold meanwhile would free it
        if folder.name in Held.owners:
            return Owner.known(Held.owners[folder.name] | adopted, lives=True)
        try:
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            owner = read_owner(descriptor)
            os.lockf(descriptor, os.F_TEST, 0)
            lives = False
        except OSError:
            lives = True
        finally:
            os.close(descriptor)
    return Owner.known(owner | adopted, lives=lives)


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "parent": parent_pid(),
        "pid_namespace": pid_namespace(),
        "boot_id": boot_id(),
    }


def pid_namespace() -> str | None:
    """Name the pid namespace, as a container has its own; None where there are none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError as error:
        let_through(error)
        return None


def parent_pid() -> int:
    """Return who started this process; in a child of multiprocessing not the server that forks."""
    children = sys.modules.get("multiprocessing.process")
    parent = children.parent_process() if children is not None else None
    return os.getppid() if parent is None else parent.pid


def read_owner(lock_descriptor: int) -> dict[str, Any]:
    """Return what a lock file says of its owner, if it says anything."""
    try:
        owner = json.loads(os.pread(lock_descriptor, 4096, 0))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}

"""The spool: a folder per target, in it a folder per recording process, kept alive by a lock.

    <spool_dir>/<target>/<nonce>/lock             held with lockf as long as the process lives
    <spool_dir>/<target>/<nonce>/00000001.bson    its journal segments
    <spool_dir>/<target>/rejected/<nonce>.bson    what MongoDB refused, with its reason

POSIX record locks, not `flock`: a forked child inherits none of them, so it can neither hold a dead
parent's lock nor free a living one's. The price is that closing any descriptor on a lock file
frees the lock, so a process must never open a lock file of its own: `_Held` knows them.
"""

import fcntl
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from uuid_utils import uuid4

from llm_audit.errors import log_once

REJECTED = "rejected"
_NEW = ".new-"


class _Held:
    """The folders that this process holds locked; never opened by it a second time."""

    lock = threading.Lock()
    nonces: ClassVar[set[str]] = set()


@dataclass(eq=False, slots=True)
class ProcessFolder:
    """One process's folder in the spool, locked by whoever holds this object."""

    path: Path
    lock_descriptor: int

    @property
    def nonce(self) -> str:
        """The name of the process that recorded here; no other process ever has it."""
        return self.path.name

    def touch(self) -> None:
        """Show other kernels on a shared volume that the owner lives."""
        try:
            os.utime(self.lock_descriptor)
        except OSError as error:
            log_once(f"The spool's lock file cannot be touched ({error.strerror}): {self.path}.")

    def remove(self) -> None:
        """Remove the folder once everything in it is in MongoDB, and free the lock."""
        damaged = list(self.path.glob("*.damaged"))
        if damaged:
            aside = rejected_folder(self.path.parent)
            for file in damaged:
                file.rename(aside / f"{self.nonce}-{file.name}")
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Free the lock and leave the folder for the next process that looks."""
        os.close(self.lock_descriptor)
        with _Held.lock:
            _Held.nonces.discard(self.nonce)

    def forget(self) -> None:
        """Close the inherited descriptor in a forked child; the parent keeps its lock."""
        os.close(self.lock_descriptor)


def forget_held() -> None:
    """Start a forked child with no folder of its own."""
    _Held.lock = threading.Lock()
    _Held.nonces.clear()


def create_process_folder(target_folder: Path) -> ProcessFolder:
    """Make and lock a folder for this process; it appears under its name only once locked.

    Raises:
        OSError: The spool cannot be written.
    """
    nonce = str(uuid4())
    target_folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target_folder.mkdir(mode=0o700, exist_ok=True)
    new = target_folder / f"{_NEW}{nonce}"
    new.mkdir(mode=0o700)
    descriptor = os.open(new / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "boot_id": boot_id()}
        os.write(descriptor, json.dumps(owner).encode())
        path = target_folder / nonce
        with _Held.lock:
            _Held.nonces.add(nonce)
        new.rename(path)
    except OSError:
        os.close(descriptor)
        shutil.rmtree(new, ignore_errors=True)
        raise
    return ProcessFolder(path, descriptor)


def adopt_dead(target_folder: Path, lease_seconds: float) -> Iterator[ProcessFolder]:
    """Lock, one by one, the folders whose owners are dead, and hand them over.

    A free lock proves death only under the same kernel. Under another boot id (a reboot, a volume
    shared between hosts) the lock file must also have been left untouched for the lease.

    Args:
        target_folder: The spool's folder for one target.
        lease_seconds: How long a lock file from another boot must have been left untouched.

    Yields:
        Folders that now belong to this process, until `remove` or `release`.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(target_folder))
    except OSError:
        return  # no spool, or none that this process may read
    for name in names:
        if name == REJECTED or name.startswith(_NEW):
            continue
        with _Held.lock:
            if name in _Held.nonces:
                continue
            folder = _try_adopt(target_folder / name, lease_seconds)
            if folder is not None:
                _Held.nonces.add(name)
        if folder is not None:
            yield folder


def waiting_elsewhere(spool_dir: Path, target: str, lease_seconds: float) -> list[Path]:
    """Return the folders of dead processes whose calls go to other targets than ours.

    They wait for a process that is configured for their MongoDB, database and collection: after a
    change of any of these, perhaps for ever.
    """
    waiting: list[Path] = []
    try:
        names = [entry.name for entry in os.scandir(spool_dir) if entry.name != target]
    except OSError:
        return waiting  # no spool, or none that this process may read
    for name in names:
        for folder in adopt_dead(spool_dir / name, lease_seconds):
            if any(folder.path.glob("*.bson")):
                waiting.append(folder.path)
            folder.release()
    return waiting


def _try_adopt(path: Path, lease_seconds: float) -> ProcessFolder | None:
    lock = path / "lock"
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None  # adopted and removed by somebody else a moment ago, or no folder of ours
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
        still_linked = lock.stat().st_ino == status.st_ino
        same_kernel = _owner_boot_id(descriptor) == boot_id()
        dead = same_kernel or time.time() - status.st_mtime > lease_seconds
    except OSError:
        still_linked = dead = False  # its owner lives, or another process was faster
    if not (still_linked and dead):
        os.close(descriptor)
        return None
    return ProcessFolder(path, descriptor)


def rejected_folder(target_folder: Path) -> Path:
    """Return the folder for what MongoDB refused, made if missing."""
    folder = target_folder / REJECTED
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@cache
def boot_id() -> str:
    """Name this start of this kernel; the same in all its containers."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()  # no /proc: a reboot then looks like the same kernel


def _owner_boot_id(descriptor: int) -> str | None:
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return None
    return owner.get("boot_id") if isinstance(owner, dict) else None

"""Who recorded in a folder of the spool: what its lock file says, and how that is read.

Host and pid in it are for people: hosts are renamed, containers may have equal names, and a pid
means something only in its namespace.
"""

import json
import os
import socket
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from llm_audit.errors import let_through

OWNER_MAX_BYTES = 2**16
_TEXT_MAX = 2**14
_TEXTS = frozenset({"host", "pid_namespace", "boot_id", "target", "nonce"})
# What it says besides, cut to what can be shown in a line.
_SHORT_TEXTS = frozenset({"shipper", "service", "environment", "version"})
SHORT_MAX = 256
_KEPT = "retention_days"  # how long its calls are to be kept, whoever ships them
_KEPT_MAX_DAYS = 365_000
_NUMBERS = frozenset({"pid", "parent"})


class Owner(NamedTuple):
    """Who recorded in a folder, and whether that process or one that adopted it lives."""

    lives: bool
    host: str | None
    pid: int | None
    boot_id: str | None
    target: str | None = None
    parent: int | None = None
    pid_namespace: str | None = None
    adopted: bool | None = None
    shipper: str | None = None
    service: str | None = None
    environment: str | None = None
    version: str | None = None

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


def this_process(
    nonce: str, target_name: str | None, said: Mapping[str, str | float | None] | None = None
) -> dict[str, Any]:
    """Return what this process says of itself in the lock file of its folder.

    Args:
        nonce: The folder's name.
        target_name: Where the calls in it go.
        said: What else it says: `_SHORT_TEXTS`, and how many days its calls are to be kept.
    """
    besides = {
        name: short(one) if isinstance(one, str) else one
        for name, one in (said or {}).items()
        if one
    }
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "parent": parent_pid(),
        "pid_namespace": pid_namespace(),
        "boot_id": boot_id(),
        "nonce": nonce,
        "target": target_name,
        **besides,
    }


def short(text: str) -> str:
    """Return a text as it can be shown in a line."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)[
        :SHORT_MAX
    ]


def read_owner(lock_descriptor: int) -> dict[str, Any]:
    """Return what a lock file says of its owner, as far as that is what a process says."""
    try:
        owner = json.loads(os.pread(lock_descriptor, OWNER_MAX_BYTES, 0))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(owner, dict):
        return {}
    return {name: value for name, value in owner.items() if _is_said(name, value)}


def _is_said(name: str, value: object) -> bool:
    if name in _TEXTS or name in _SHORT_TEXTS:
        at_most = _TEXT_MAX if name in _TEXTS else SHORT_MAX
        return type(value) is str and len(value) <= at_most and value.isprintable()
    if name == _KEPT:
        return type(value) in {int, float} and 0 < value <= _KEPT_MAX_DAYS  # type: ignore[operator]
    return name in _NUMBERS and type(value) is int and 0 <= value < 2**31


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

"""Being other users for a while, which only root can; and a place that all of them may enter."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

APP, OTHER_APP, AGENT, STRANGER = 12345, 12346, 12347, 65534
GROUP = 54321  # of the first three
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@contextmanager
def user(uid: int, *groups: int) -> Iterator[None]:
    """Be a user for the length of the block, as the kernel sees it, in a group of his own.

    Args:
        uid: The user.
        groups: In which he is besides.
    """
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


def become(uid: int, *groups: int) -> None:
    """Be a user from now on, in this process."""
    os.setgroups(groups)
    os.setgid(uid)
    os.setuid(uid)


@contextmanager
def place_for_all() -> Iterator[Path]:
    """Give a folder that other users may enter, as they may not enter pytest's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        Path(path).chmod(0o755)
        yield Path(path)


def group_folder(path: Path, mode: int = 0o2770, owner: int = 0, group: int = GROUP) -> Path:
    """Make a folder as an administrator makes a spool for a group."""
    path.mkdir()
    os.chown(path, owner, group)
    path.chmod(mode)
    return path


def listing(folder: Path) -> dict[str, tuple[int, int, str, int, int]]:
    """Return all that is below a folder: owner, group, mode, inode and size of each."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        kind_and_mode = oct(status.st_mode)
        found[str(path.relative_to(folder))] = (
            *(status.st_uid, status.st_gid, kind_and_mode),
            *(status.st_ino, status.st_size),
        )
    return found

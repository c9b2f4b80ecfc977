"""Folders and files that are ours alone: what others may have put in their place is not opened.

Whoever may write into a folder may put anything there: a link to another file of ours, a pipe on
which a reader waits for ever, a journal that nobody recorded. So the whole way to a folder is
looked at, as OpenSSH does under its StrictModes: each folder above belongs to root or to us, and
nobody else may write into it. Two kinds of such folders are taken all the same:

- with the sticky bit, as /tmp has it: others may add to it, and not touch what is ours;
- a volume, root's and mounted by whoever runs the machine, as Kubernetes gives them to pods: there
  others may take our folders away, and put there none that pass for ours.

A link above is followed if root or we have made it. Every folder is opened from the one above it,
so nothing can be exchanged between the look and the use.
"""

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = 0
FOLDER_MODE, FILE_MODE = 0o700, 0o600
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_LINKS_MAX = 40
_ENTER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class DoubtfulError(OSError):
    """A folder or a file may be somebody else's; `strerror` names it, why, and the fix.

    Args:
        path: What it is about.
        why: The rest of the sentence.
    """

    def __init__(self, path: object, why: str) -> None:
        super().__init__(errno.EPERM, f"{path} {why}")
        self.path, self.why = str(path), why


@contextmanager
def folder(path: Path, *, own: int = 2, make: bool = False) -> Iterator[int]:
    """Open a folder for the length of the block, to be given as `dir_fd`.

    Args:
        path: Its absolute path.
        own: How many of the last folders have to be ours alone, and no links.
        make: Make what is missing of the way, each folder for us alone, whatever the umask.

    Raises:
        DoubtfulError: Somebody else may have a hand in it.
        OSError: It is not there, or cannot be opened or made.
    """
    number = _walk(path, own, make=make)
    try:
        yield number
    finally:
        os.close(number)


def names_in(folder_number: int) -> list[str]:
    """Return the names of everything in an open folder."""
    number = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder_number)
    try:
        return os.listdir(number)  # noqa: PTH208  (a Path is no descriptor)
    finally:
        os.close(number)


def entries(folder_number: int) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the name of everything in an open folder, and what it is; links are not followed."""
    number = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder_number)
    try:
        with os.scandir(number) as found:
            for entry in found:
                with suppress(FileNotFoundError):  # removed a moment ago
                    yield entry.name, entry.stat(follow_symlinks=False)
    finally:
        os.close(number)


def open_file(name: str, dir_fd: int, flags: int = os.O_RDONLY, *, linked: bool = False) -> int:
    """Open a file that only we can have written; nothing else is opened at all, nothing waits.

    Args:
        name: Its name in the folder.
        dir_fd: The open folder.
        flags: As of `os.open`.
        linked: Whether it may have several names.

    Raises:
        DoubtfulError: It is something else.
        OSError: It is not there, or cannot be opened.
    """
    _check_name(name)
    before = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    refuse(name, doubt_of_file(before, linked=linked))
    number = os.open(name, flags | _LOOK, dir_fd=dir_fd)
    opened = os.fstat(number)
    if not os.path.samestat(before, opened):
        os.close(number)
        raise DoubtfulError(name, "was exchanged in this moment")
    return number


def doubt_of_file(status: os.stat_result, *, linked: bool = False) -> str | None:
    """Return why something is not surely a file of ours; None if it is."""
    if not stat.S_ISREG(status.st_mode):
        return "is no file"
    if status.st_uid != os.geteuid():
        return f"belongs to {user_name(status.st_uid)}"
    if status.st_mode & _OTHERS_WRITE:
        return "may be written by others"
    if status.st_nlink != 1 and not linked:
        return "has more names than one"
    return None


def doubt_of_folder(status: os.stat_result) -> str | None:
    """Return why something is not surely a folder of ours; None if it is."""
    if stat.S_ISLNK(status.st_mode):
        return "is a link"
    if not stat.S_ISDIR(status.st_mode):
        return "is no folder"
    if status.st_uid != os.geteuid():
        return f"belongs to {user_name(status.st_uid)}, not to {user_name(os.geteuid())}"
    if status.st_mode & _OTHERS_WRITE:
        return "may be written by others (chmod go-w)"
    return None


def refuse(path: object, why: str | None) -> None:
    """Raise DoubtfulError if there is a doubt about something."""
    if why is not None:
        raise DoubtfulError(path, why)


def create(name: str, dir_fd: int, flags: int = os.O_RDWR) -> int:
    """Make a file that was not there, for us alone, whatever the umask, and open it.

    Raises:
        OSError: It is there, or cannot be made.
    """
    _check_name(name)
    number = os.open(name, flags | _NEW, FILE_MODE, dir_fd=dir_fd)
    try:
        os.fchmod(number, FILE_MODE)
    except BaseException:
        os.close(number)
        raise
    return number


def make_folder(name: str, dir_fd: int) -> None:
    """Make a folder for us alone, whatever the umask; it may be there.

    Raises:
        OSError: It cannot be made.
    """
    _check_name(name)
    with suppress(FileExistsError):  # another process has made it
        os.mkdir(name, FOLDER_MODE, dir_fd=dir_fd)
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if status.st_mode & FOLDER_MODE != FOLDER_MODE:  # the umask takes rights from us, too
            os.chmod(name, FOLDER_MODE, dir_fd=dir_fd)


def put(name: str, dir_fd: int, data: bytes | bytearray) -> None:
    """Have a file hold this, whole or not at all; what had its name before is replaced.

    Raises:
        OSError: It cannot be written.
    """
    with aside(name, dir_fd) as number, open(number, "wb", closefd=False) as file:
        file.write(data)


@contextmanager
def aside(name: str, dir_fd: int) -> Iterator[int]:
    """Give a new file to write into, which gets its name, and is seen, once the block is left."""
    new = f"{name}.new"
    with suppress(FileNotFoundError):  # of somebody who was killed at it
        os.unlink(new, dir_fd=dir_fd)
    number = create(new, dir_fd)
    try:
        yield number
        os.rename(new, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        with suppress(OSError):
            os.unlink(new, dir_fd=dir_fd)
        raise
    finally:
        os.close(number)


def remove_file(name: str, dir_fd: int) -> None:
    """Remove a file, if it is there."""
    _check_name(name)
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=dir_fd)


def remove_folder(name: str, dir_fd: int) -> None:
    """Remove a folder and all that is in it, as far as that can be; links are not followed.

    By hand: beside a patched `os` (eventlet's) `shutil.rmtree` takes no `dir_fd`.
    """
    _check_name(name)
    with suppress(OSError):
        here = os.open(
            name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd
        )
        try:
            for inner in os.listdir(here):  # noqa: PTH208  (a Path is no descriptor)
                status = os.stat(inner, dir_fd=here, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    remove_folder(inner, here)
                else:
                    remove_file(inner, here)
        finally:
            os.close(here)
        os.rmdir(name, dir_fd=dir_fd)


def owner_of(path: str) -> str | None:
    """Name another user to whom something belongs, as `sudo -u` takes it; None if that is us."""
    uid = os.lstat(path).st_uid
    if uid == os.geteuid():
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"'#{uid}'"


def user_name(uid: int) -> str:
    """Name a user for people."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _check_name(name: str) -> None:
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise DoubtfulError(ascii(name), "is no name of a file")


def _walk(path: Path, own: int, *, make: bool) -> int:
    """Open one folder after the other, and close that above; return the last."""
    names = list(path.parts[:0:-1])  # the first is the last
    links = 0
    number, way = os.open("/", _ENTER), Path("/")
    try:
        above = os.fstat(number)
        while names:
            name = names.pop()
            try:
                below = os.open(name, _ENTER, dir_fd=number)
            except FileNotFoundError:
                if not make:
                    raise
                make_folder(name, number)
                below = os.open(name, _ENTER, dir_fd=number)
            except OSError as error:
                if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                    raise
                links += 1
                target = _followed(name, number, way, follow=len(names) >= own, links=links)
                names += target.parts[:0:-1] if target.is_absolute() else target.parts[::-1]
                if not target.is_absolute():
                    continue
                below, name = os.open("/", _ENTER), "/"
            number, left = below, number
            os.close(left)
            way /= name
            status = os.fstat(number)
            if len(names) < own:
                refuse(way, doubt_of_folder(status))
            else:
                refuse(way, _doubt_above(status, is_volume=status.st_dev != above.st_dev))
            above = status
    except BaseException:
        os.close(number)
        raise
    return number


def _doubt_above(status: os.stat_result, *, is_volume: bool) -> str | None:
    """Return why others may exchange what is in a folder on the way; None if they may not."""
    if status.st_uid not in {ROOT, os.geteuid()}:
        return f"belongs to {user_name(status.st_uid)}, not to {user_name(os.geteuid())}"
    if not status.st_mode & _OTHERS_WRITE or status.st_mode & stat.S_ISVTX:
        return None
    if is_volume and status.st_uid == ROOT:
        return None
    if not status.st_mode & stat.S_IWOTH and _is_group_of_ours_alone(status.st_gid):
        return None
    return "may be written by others (chmod go-w)"


def _is_group_of_ours_alone(gid: int) -> bool:
    """Tell whether a group is the one that many systems make for each user, and nobody is in it.

    These systems also have users make folders that their group may write. Root's group is often
    that of others as well: of every container's user on OpenShift.
    """
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    private = gid != ROOT and gid == user.pw_gid and group.gr_name == user.pw_name
    return private and {*group.gr_mem} <= {user.pw_name}


def _followed(name: str, dir_fd: int, way: Path, *, follow: bool, links: int) -> Path:
    """Return where a link leads that stands in the place of a folder."""
    status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(way / name))
    if not follow:
        raise DoubtfulError(way / name, "is a link")
    if status.st_uid not in {ROOT, os.geteuid()} or status.st_nlink != 1:
        raise DoubtfulError(way / name, f"is a link of {user_name(status.st_uid)}")
    if links > _LINKS_MAX:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(way / name))
    return Path(os.readlink(name, dir_fd=dir_fd))

"""Folders and files are opened only if nobody but `whose` says can have written them.

Whoever may write into a folder may put anything there: a link to another file of ours, a pipe on
which a reader waits for ever, a journal that nobody recorded. So the whole way to a folder is
looked at, as OpenSSH does under its StrictModes. A link above what is ours is followed if root or
we have made it. Every folder is opened from the one above it, so nothing can be exchanged between
the look and the use.

Where a group shares a spool, what is made in it is for the group as well: it may add to folders and
remove from them, and read files.
"""

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from llm_audit.runtime import whose
from llm_audit.runtime.whose import ROOT, user_name

FOLDER_MODE, FILE_MODE = 0o700, 0o600
GROUPS_FOLDER_MODE, GROUPS_FILE_MODE = 0o2770, 0o640
DEEPEST = 8  # folders below one that is removed; we make two
NAMES_MAX = 100_000
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
        path: Its absolute path; it says where a group shares it, see `whose`.
        own: How many of the last folders have to be ours alone, and no links; what a group shares
            has to be the group's instead.
        make: Make what is missing of the way, whatever the umask: each folder for us alone, or for
            the group. Above what a group shares nothing is made.

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
    """Return the names of what is in an open folder, of very much only some."""
    number = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder_number)
    try:
        with os.scandir(number) as found:
            return [entry.name for entry in islice(found, NAMES_MAX)]
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


def open_file(
    name: str,
    dir_fd: int,
    flags: int = os.O_RDONLY,
    *,
    blob: bool = False,
    of_any_member: bool = False,
) -> int:
    """Open a file that is surely its folder's; nothing else is opened at all, nothing waits.

    Args:
        name: Its name in the folder.
        dir_fd: The open folder.
        flags: As of `os.open`.
        blob: As of `whose.doubt_of_file`.
        of_any_member: As well.

    Raises:
        DoubtfulError: It is something else.
        OSError: It is not there, or cannot be opened.
    """
    _check_name(name)
    before = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    refuse(name, doubt_of_file(before, dir_fd, blob=blob, of_any_member=of_any_member))
    number = os.open(name, flags | _LOOK, dir_fd=dir_fd)
    opened = os.fstat(number)
    if not os.path.samestat(before, opened):
        os.close(number)
        raise DoubtfulError(name, "was exchanged in this moment")
    return number


def doubt_of_file(
    status: os.stat_result, dir_fd: int, *, blob: bool = False, of_any_member: bool = False
) -> str | None:
    """Return why something in an open folder is not surely a file of it; None if it is.

    The parameters are those of `open_file`.
    """
    return whose.doubt_of_file(status, os.fstat(dir_fd), blob=blob, of_any_member=of_any_member)


def doubt_of_folder(name: str, status: os.stat_result, parent: Path) -> str | None:
    """Return why something in a folder is not surely a folder as `folder` opens them.

    Args:
        name: Its name.
        status: What it is.
        parent: The folder, of which the path says whether a group shares it.
    """
    group = whose.group_of(parent)
    if group is None:
        return whose.doubt_of_folder(status)
    return whose.doubt_of_groups_folder(status, group) or whose.doubt_of_name(name, status)


def refuse(path: object, why: str | None) -> None:
    """Raise DoubtfulError if there is a doubt about something."""
    if why is not None:
        raise DoubtfulError(path, why)


def create(name: str, dir_fd: int, flags: int = os.O_RDWR, *, told: bool = False) -> int:
    """Make a file that was not there, whatever the umask, and open it.

    It is for us alone; where a group shares the folder and that is ours, for the group to read.

    Args:
        name: Its name in the folder.
        dir_fd: The open folder.
        flags: As of `os.open`.
        told: Whether another member, whose folder it is, shall read it.

    Raises:
        OSError: It is there, or cannot be made.
    """
    _check_name(name)
    folder_status = os.fstat(dir_fd)
    is_read = whose.group_in(folder_status) is not None
    is_read = is_read and (told or folder_status.st_uid == os.geteuid())
    number = os.open(name, flags | _NEW, FILE_MODE, dir_fd=dir_fd)
    try:
        os.fchmod(number, GROUPS_FILE_MODE if is_read else FILE_MODE)
    except BaseException:
        os.close(number)
        raise
    return number


def make_folder(name: str, dir_fd: int) -> None:
    """Make a folder for us alone, or for the group of the one it is in; it may be there.

    Raises:
        OSError: It cannot be made.
    """
    _check_name(name)
    _make_folder(name, dir_fd, whose.group_in(os.fstat(dir_fd)))


def _make_folder(name: str, dir_fd: int, group: int | None) -> None:
    with suppress(FileExistsError):  # another process has made it
        os.mkdir(name, FOLDER_MODE, dir_fd=dir_fd)
        if group is not None:
            _give(name, dir_fd, group)
            return
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if status.st_mode & FOLDER_MODE != FOLDER_MODE:  # the umask takes rights from us, too
            os.chmod(name, FOLDER_MODE, dir_fd=dir_fd)


def _give(name: str, dir_fd: int, group: int) -> None:
    """Let a group have a folder that we have just made, where a member may have exchanged it.

    Raises:
        DoubtfulError: The file system takes us for another user.
        OSError: We are no member of the group.
    """
    number = os.open(
        name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd
    )
    try:
        made = os.fstat(number)
        if made.st_uid != os.geteuid():
            raise DoubtfulError(
                name,
                f"belongs to {user_name(made.st_uid)} as soon as {user_name(os.geteuid())} has "
                "made it: the file system takes one user for another, as NFS does with root "
                "(root_squash). Run as a user that it knows",
            )
        if made.st_gid != group:
            os.fchown(number, -1, group)
        os.fchmod(number, GROUPS_FOLDER_MODE)
    finally:
        os.close(number)


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
    number = create(new, dir_fd, told=True)
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


def remove_folder(name: str, dir_fd: int, *, deep: int = DEEPEST) -> None:
    """Remove a folder and all that is in it, as far as that can be; links are not followed.

    By hand: beside a patched `os` (eventlet's) `shutil.rmtree` takes no `dir_fd`.
    """
    _check_name(name)
    with suppress(OSError):
        here = os.open(
            name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd
        )
        try:
            for inner in names_in(here):
                status = os.stat(inner, dir_fd=here, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    if deep > 0:
                        remove_folder(inner, here, deep=deep - 1)
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


def _check_name(name: str) -> None:
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise DoubtfulError(ascii(name), "is no name of a file")


def _walk(path: Path, own: int, *, make: bool) -> int:
    """Open one folder after the other, and close that above; return the last."""
    group, shared = whose.group_of(path), whose.shared_of(path)
    if group is not None:
        refuse(whose.root_of(path), whose.doubt_of_membership(group))
    names = list(path.parts[:0:-1])  # the first is the last
    links = 0
    number, way = os.open("/", _ENTER), Path("/")
    try:
        above = os.fstat(number)
        while names:
            name = names.pop()
            groups = group if len(names) in shared else None
            makes = make and (group is None or len(names) < shared.stop)
            try:
                below = _enter(name, number, groups, make=makes)
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
            is_volume = status.st_dev != above.st_dev
            if groups is not None:
                refuse(way, whose.doubt_of_groups_folder(status, groups))
                refuse(way, whose.doubt_of_name(name, status))
            elif len(names) < own:
                refuse(way, whose.doubt_of_folder(status))
            else:
                refuse(way, whose.doubt_above(status, is_volume=is_volume))
            above = status
    except BaseException:
        os.close(number)
        raise
    return number


def _enter(name: str, dir_fd: int, group: int | None, *, make: bool) -> int:
    """Open a folder that is in another one, made if it is missing."""
    try:
        return os.open(name, _ENTER, dir_fd=dir_fd)
    except FileNotFoundError:
        if not make:
            raise
    _make_folder(name, dir_fd, group)
    return os.open(name, _ENTER, dir_fd=dir_fd)


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

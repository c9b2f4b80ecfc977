"""Who may have written this? This user alone; or, where a group shares a spool, its members.

A folder is ours if it belongs to us and nobody else may write into it. Each folder above it has to
be root's or ours, and nobody else may write into it either. Two kinds are taken all the same:

- with the sticky bit, as /tmp has it: others may add to it, and not touch what is ours;
- a volume, root's and mounted by whoever runs the machine, as Kubernetes gives them to pods: there
  others may take our folders away, and put there none that pass for ours.

A path says whether a group shares it (`shared`), and what pathlib makes of it says so, too. There a
folder may belong to any member, and each of them may add to it and remove from it. So

- a file is taken if it belongs to whoever its folder belongs to: what is in the folder of a process
  can only come from its user, whatever other members put there;
- and if the group may read it: nothing is read for a member that he may not read himself, by a hard
  link to a file of ours, say;
- a folder whose name says whose it is (`named`) belongs to that user: nobody can put one of his in
  the place of another's.
"""

import grp
import os
import pwd
import re
import stat
from functools import cache
from pathlib import Path, PosixPath
from typing import ClassVar

ROOT = 0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_GROUPS_FOLDER = stat.S_IRWXG
_NAMED = re.compile(r".+-u([0-9]{1,10})", re.ASCII)


class SharedPath(PosixPath):
    """A path of a spool that a group shares: what pathlib makes of one is of the same class.

    Attributes:
        gid: The group.
        root_folder: The folder that it shares, with all that is below.
        private: A folder below that belongs to one user alone, with all that is in it.
    """

    __slots__ = ()
    gid: ClassVar[int]
    root_folder: ClassVar[str]
    private: ClassVar[str | None]

    def __reduce__(self) -> tuple[object, ...]:
        """Have it copied as what it is."""
        return _made, (str(self), self.gid, self.root_folder, self.private)


@cache
def _class_of(gid: int, root: str, private: str | None) -> type[SharedPath]:
    says = {"__slots__": (), "gid": gid, "root_folder": root, "private": private}
    return type("SharedPath", (SharedPath,), says)


def _made(path: str, gid: int, root: str, private: str | None) -> Path:
    return _class_of(gid, root, private)(path)


def shared(path: Path, group: int) -> Path:
    """Return a path that says that a group shares it, with all that is below.

    Args:
        path: The folder that they share.
        group: Its number.
    """
    return _made(str(path), group, str(path), None)


def private(path: Path) -> Path:
    """Return a path that says that it is for one user alone, wherever it is."""
    if not isinstance(path, SharedPath):
        return path
    return _made(str(path), path.gid, path.root_folder, str(path))


def is_private(path: Path) -> bool:
    """Tell whether a path is one user's alone where a group shares what is around it."""
    return isinstance(path, SharedPath) and path.private is not None


def group_of(path: Path) -> int | None:
    """Return the group that shares a path, or what is above it; None if it is one user's."""
    return path.gid if isinstance(path, SharedPath) else None


def root_of(path: Path) -> str:
    """Return the folder that a group shares, on a path that says so."""
    return path.root_folder if isinstance(path, SharedPath) else str(path)


def shared_of(path: Path) -> range:
    """Return which folders of a path a group shares: by how many folders follow each."""
    if not isinstance(path, SharedPath):
        return range(0)
    alone = 0 if path.private is None else _below(path, path.private) + 1
    return range(max(0, alone), _below(path, path.root_folder) + 1)


def _below(path: Path, above: str) -> int:
    return len(path.parts) - len(PosixPath(above).parts)


def group_in(folder: os.stat_result) -> int | None:
    """Return the group that shares an open folder; None if it is for one user alone.

    Only where a path says so a folder is opened that its group may write.
    """
    return folder.st_gid if folder.st_mode & stat.S_IWGRP else None


def named(name: str, path: Path) -> str:
    """Return a name for something of ours in a folder: where a group shares it, it says whose."""
    return name if group_of(path) is None else f"{name}-u{os.geteuid()}"


def names_its_owner(name: str, path: Path) -> bool:
    """Tell whether a name says whose it is, as it has to in a folder that a group shares."""
    return group_of(path) is None or _NAMED.fullmatch(name) is not None


def doubt_of_file(
    status: os.stat_result,
    folder: os.stat_result,
    *,
    blob: bool = False,
    of_any_member: bool = False,
) -> str | None:
    """Return why something is not surely a file of a folder's; None if it is.

    Args:
        status: What it is.
        folder: The folder, which was opened.
        blob: Whether its name says what is in it: then it may have several names and, where a group
            shares the folder, be ours.
        of_any_member: Whether it may belong to any member of the group that shares the folder.
    """
    if not stat.S_ISREG(status.st_mode):
        return "is no file"
    if status.st_mode & _OTHERS_WRITE:
        return "may be written by others"
    if status.st_nlink != 1 and not blob:
        return "has more names than one"
    is_our_blob = blob and status.st_uid == os.geteuid()
    return None if is_our_blob else _doubt_of_writer(status, folder, of_any_member=of_any_member)


def _doubt_of_writer(
    status: os.stat_result, folder: os.stat_result, *, of_any_member: bool
) -> str | None:
    group, is_ours = group_in(folder), status.st_uid == os.geteuid()
    if group is None:
        return None if is_ours else f"belongs to {user_name(status.st_uid)}"
    if status.st_uid != folder.st_uid and not of_any_member:
        return f"belongs to {user_name(status.st_uid)}, its folder to {user_name(folder.st_uid)}"
    if status.st_gid != group or not status.st_mode & stat.S_IRGRP:
        return f"may not be read by {group_name(group)}"
    return None


def doubt_of_folder(status: os.stat_result) -> str | None:
    """Return why something is not surely a folder of ours alone; None if it is."""
    if stat.S_ISLNK(status.st_mode):
        return "is a link"
    if not stat.S_ISDIR(status.st_mode):
        return "is no folder"
    if status.st_uid != os.geteuid():
        return f"belongs to {user_name(status.st_uid)}, not to {user_name(os.geteuid())}"
    if status.st_mode & _OTHERS_WRITE:
        return "may be written by others (chmod go-w)"
    return None


def doubt_of_groups_folder(status: os.stat_result, group: int) -> str | None:
    """Return why something is not surely a folder that a group shares; None if it is."""
    if not stat.S_ISDIR(status.st_mode):
        return doubt_of_folder(status)
    if status.st_mode & stat.S_IWOTH:
        return "may be written by others (chmod o-w)"
    theirs = group_name(group)
    if status.st_gid != group:
        return (
            f"belongs to {group_name(status.st_gid)}, not to {theirs}, which spool_group names "
            f"(chgrp {group} and chmod g+rwxs)"
        )
    if status.st_mode & _GROUPS_FOLDER != _GROUPS_FOLDER:
        return f"may not be written by {theirs}, which spool_group names (chmod g+rwxs)"
    return None


def doubt_of_name(name: str, status: os.stat_result) -> str | None:
    """Return why a folder is not that of the user whom its name names; None if it may be."""
    said = _NAMED.fullmatch(name)
    if said is None or int(said[1]) == status.st_uid:
        return None
    return f"is named as that of user {said[1]}, and belongs to {user_name(status.st_uid)}"


def doubt_of_membership(group: int) -> str | None:
    """Return why this process is not in a group; None if it is, or is root."""
    if os.geteuid() == ROOT or group in {os.getegid(), *os.getgroups()}:
        return None
    return (
        f"is shared by {group_name(group)}, and {user_name(os.geteuid())} is no member of it "
        "(usermod -aG, then start the process anew; in a container --group-add or "
        "supplementalGroups)"
    )


def doubt_above(status: os.stat_result, *, is_volume: bool) -> str | None:
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


def user_name(uid: int) -> str:
    """Name a user for people."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def group_name(gid: int) -> str:
    """Name a group for people."""
    try:
        return f"group {grp.getgrgid(gid).gr_name}"
    except KeyError:
        return f"group {gid}"

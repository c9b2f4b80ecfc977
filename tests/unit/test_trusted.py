"""Folders and files are opened only if nobody else can have put something in their place."""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from llm_audit.runtime import trusted
from llm_audit.runtime.trusted import DoubtfulError

STRANGER = 65534
Place = Callable[[Path], Path]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


def opened(path: Path, *, make: bool = False) -> str | None:
    """Open a folder as ours; return why that is refused, if it is."""
    try:
        with trusted.folder(path, make=make) as number:
            assert os.path.samestat(os.stat(".", dir_fd=number), path.stat())
    except DoubtfulError as error:
        return str(error.strerror)
    return None


def folder(path: Path, mode: int = 0o700, owner: int | None = None) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if owner is not None:
        os.chown(path, owner, owner)
    return path


def below(parent: Path) -> Path:
    """Make a target's folder and a process's in what is a spool then."""
    folder(parent / "target")
    return folder(parent / "target" / "nonce")


def link(path: Path, to: Path | str) -> Path:
    path.symlink_to(to)
    return path


def link_of_stranger(path: Path, to: Path) -> Path:
    path.symlink_to(to)
    os.lchown(path, STRANGER, STRANGER)
    return path


DOUBTFUL: dict[str, tuple[Place, str]] = {
    "all may write above": (lambda at: below(folder(at / "shared", 0o777)), "shared"),
    "all may write far above": (lambda at: below(folder(at / "a", 0o757) / "b" / "c"), "a"),
    "a group may write above": (lambda at: below(folder(at / "shared", 0o770)), "shared"),
    "a group may write it": (lambda at: folder(below(at), 0o770), "nonce"),
    "all may add to it": (lambda at: folder(below(at), 0o1777), "nonce"),
    "a group may write the target": (
        lambda at: folder(below(at).parent, 0o770) / "nonce",
        "target",
    ),
    "it is a link": (lambda at: link(below(at).with_name("link"), "nonce"), "link"),
    "the target is a link": (lambda at: link(at / "t2", below(at).parent) / "nonce", "t2"),
}
OF_STRANGERS: dict[str, tuple[Place, str]] = {
    "somebody else's above": (lambda at: below(folder(at / "theirs", 0o755, STRANGER)), "theirs"),
    "somebody else's, sticky": (lambda at: below(folder(at / "tmp", 0o1777, STRANGER)), "tmp"),
    "somebody else's target": (lambda at: folder(below(at).parent, 0o755, STRANGER) / "nonce", "t"),
    "somebody else's": (lambda at: folder(below(at), 0o755, STRANGER), "nonce"),
    "a link of somebody else's": (
        lambda at: link_of_stranger(at / "link", below(at / "ours").parents[1]) / "target/nonce",
        "link",
    ),
}
TAKEN: dict[str, Place] = {
    "only ours": below,
    "others may look": lambda at: folder(below(folder(at / "home", 0o755)), 0o755),
    "others may add above, and not touch": lambda at: below(folder(at / "tmp", 0o1777)),
    "it may only be entered": lambda at: below(folder(at / "home", 0o711)),
    "a link of ours above": lambda at: (
        link(at / "link", below(at / "a").parents[1]) / "target/nonce"
    ),
    "the spool is a relative link": lambda at: (
        link(at / "spool", "there"),
        below(at / "there"),
        at / "spool/target/nonce",
    )[2],
    "a link to a link": lambda at: (
        link(at / "one", at / "two"),
        link(at / "two", "../" + at.name + "/three"),
        below(at / "three"),
        at / "one/target/nonce",
    )[3],
}


def test_only_our_own_folders_are_opened(tmp_path: Path) -> None:
    """Each folder on the way, a link too, has to be root's or ours; what is refused is named."""
    doubtful = DOUBTFUL | (OF_STRANGERS if os.geteuid() == 0 else {})
    for number, (name, (place, culprit)) in enumerate(doubtful.items()):
        path = place(folder(tmp_path / str(number)))
        for make in (False, True):
            why = opened(path, make=make)
            assert why is not None, name
            assert str(tmp_path / str(number)) in why, (name, why)
            assert culprit in why, (name, why)
    for name, taken in TAKEN.items():
        assert opened(taken(folder(tmp_path / name))) is None, name


@as_root
def test_root_opens_nobody_elses(tmp_path: Path) -> None:
    """Root could: but what lies there somebody else may have planted for just that."""
    path = below(folder(tmp_path / "theirs", 0o700, STRANGER))
    assert "belongs to user nobody, not to user root" in str(opened(path))
    assert trusted.owner_of(str(tmp_path / "theirs")) == "nobody"
    assert trusted.owner_of(str(tmp_path)) is None


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    """It is refused as the system refuses it."""
    link(tmp_path / "a", "b")
    link(tmp_path / "b", "a")
    with pytest.raises(OSError, match=r"[Tt]oo many"):
        opened(tmp_path / "a" / "target" / "nonce")


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
def test_what_is_made_is_ours_alone(tmp_path: Path, umask: int) -> None:
    """Every folder that is missing of the way gets 0700, every file 0600, whatever the umask."""
    path = tmp_path / "a" / "b" / "c"
    before = os.umask(umask)
    try:
        with trusted.folder(path, make=True) as number:
            os.close(trusted.create("made", number))
            trusted.put("put", number, b"1")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(made.stat().st_mode) for made in (path.parent.parent, path.parent, path)]
    assert modes == [0o700] * 3
    assert {stat.S_IMODE(made.stat().st_mode) for made in path.iterdir()} == {0o600}


def special(path: Path, kind: int) -> None:
    with suppress(PermissionError):  # not everybody may make a device
        os.mknod(path, kind | 0o600, os.makedev(1, 3))


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket may not be long
        server.bind(path.name)
        os.chdir(here)


def hard_link(path: Path) -> None:
    original = path.with_name("original")
    original.touch(0o600)
    path.hardlink_to(original)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a pipe": lambda path: os.mkfifo(path, 0o600),
    "a device": lambda path: special(path, stat.S_IFCHR),
    "a socket": bound,
    "a folder": lambda path: path.mkdir(),
    "a link to a file": lambda path: path.symlink_to(path.parent.parent / "precious"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a file of two names": hard_link,
    "a file that others may write": lambda path: (path.touch(), path.chmod(0o622)),
}


def test_only_files_of_ours_are_opened(tmp_path: Path) -> None:
    """Nothing else is opened at all, so nothing waits; nor is it written through."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "precious").chmod(0o600)
    for name, make in NO_FILES.items():
        here = folder(tmp_path / name)
        make(here / "file")
        with trusted.folder(here) as number:
            if not os.path.lexists(here / "file"):
                continue
            for flags in (os.O_RDONLY, os.O_RDWR):
                with pytest.raises(DoubtfulError):
                    trusted.open_file("file", number, flags)
            with pytest.raises(FileExistsError):
                trusted.create("file", number)
            if name != "a folder":
                trusted.put("file", number, b"ours")
                assert (here / "file").read_bytes() == b"ours", name
        assert (tmp_path / "precious").read_text() == "precious", name


def test_a_name_is_no_path(tmp_path: Path) -> None:
    """What a name holds leads nowhere else."""
    (tmp_path / "precious").touch(0o600)
    here = folder(tmp_path / "folder")
    with trusted.folder(here) as number:
        for name in ("../precious", str(tmp_path / "precious"), "", ".", "..", "a/b", "a\0b"):
            for action in (trusted.open_file, trusted.create, trusted.remove_file):
                with pytest.raises(DoubtfulError):
                    action(name, number)
            with pytest.raises(DoubtfulError):
                trusted.remove_folder(name, number)
    assert (tmp_path / "precious").exists()


def test_a_folder_is_opened_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who exchanges a folder after it was looked at changes nothing: it is already open."""
    path = below(folder(tmp_path / "spool"))
    (path / "file").touch(0o600)
    evil = folder(tmp_path / "evil")
    opened_now = os.open

    def exchange_then_open(name: str, flags: int, *given: int, **named: int) -> int:
        number = opened_now(name, flags, *given, **named)
        if name == "target":
            path.parent.rename(tmp_path / "away")
            link(path.parent, evil)
        return number

    monkeypatch.setattr(os, "open", exchange_then_open)
    with trusted.folder(path) as number:
        assert [name for name, _ in trusted.entries(number)] == ["file"]


@pytest.fixture
def place_for_all() -> Iterator[Path]:
    """Give a folder that other users may enter, as they may not enter pytest's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        Path(path).chmod(0o755)
        yield Path(path)


IN_A_VOLUME = """
import os, sys
from pathlib import Path
from llm_audit.runtime import trusted

mode, path = int(sys.argv[1], 8), Path(sys.argv[2])
os.chmod(path, mode)
os.setgroups([1])
os.setgid(1)
os.setuid(12345)
with trusted.folder(path / "target" / "nonce", make=True):
    print(*(oct(made.stat().st_mode & 0o777) for made in path.rglob("*")))
"""


@as_root
@pytest.mark.parametrize("mode", ["0777", "2775", "1777"])
def test_a_volume_for_all_is_taken(place_for_all: Path, mode: str) -> None:
    """Kubernetes mounts an emptyDir 0777, with fsGroup 2775: what we make in it is ours alone."""
    volume = folder(place_for_all / "volume", 0o755)
    os.chown(volume, 0, 1)
    command = (
        f'mount -t tmpfs -o gid=1 none {volume} && exec {sys.executable} -c "$0" {mode} {volume}'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, IN_A_VOLUME],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert (done.stdout.split(), done.stderr) == (["0o700", "0o700"], "")


IN_A_GROUP = """
import os, sys
from pathlib import Path
from llm_audit.runtime import trusted

path = Path(sys.argv[1])
uid, gid = map(int, sys.argv[2:])
os.chown(path, uid, gid)
os.chmod(path, 0o775)
import grp, pwd
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
try:
    with trusted.folder(path / "target" / "nonce", make=True):
        print("taken")
except trusted.DoubtfulError as error:
    print(error.why)
"""


@as_root
def test_a_group_of_nobody_else_may_write(place_for_all: Path) -> None:
    """Where each user has a group of his own, it may write many folders of his; not so root's."""
    home = place_for_all / "home"
    for uid, gid, taken in ((1, 1, True), (1, 2, False), (1, 0, False), (12345, 12345, False)):
        folder(home)
        done = subprocess.run(
            [sys.executable, "-c", IN_A_GROUP, str(home), str(uid), str(gid)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert (done.stdout.strip() == "taken") is taken, (uid, gid, done.stdout)
        subprocess.run(["rm", "-rf", str(home)], check=True)

"""Where a group shares a spool, each of its users says only what he could have said himself."""

import copy
import os
import pickle
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import users
from users import AGENT, APP, GROUP, OTHER_APP, STRANGER, as_root, group_folder, user

from llm_audit.agent.post import Post
from llm_audit.errors import ConfigurationError
from llm_audit.journal.spool import folder as spool
from llm_audit.journal.spool import looking
from llm_audit.journal.spool.agents import lock_name
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.journal.spool.progress import Progress, read_progress, write_progress
from llm_audit.runtime import trusted, whose
from llm_audit.runtime.trusted import DoubtfulError
from llm_audit.settings import Settings

BLOB = f"{'0' * 64}.x.blob"


@pytest.fixture
def place() -> Iterator[Path]:
    with users.place_for_all() as path:
        yield path


@pytest.fixture
def spool_dir(place: Path) -> Path:
    return whose.shared(group_folder(place / "spool"), GROUP)


def recorded_by(uid: int, spool_dir: Path, *names: str, nonce: str = "nonce") -> Path:
    """Have a user make a process's folder in the spool with files; return it."""
    with user(uid, GROUP):
        path = spool_dir / "target" / whose.named(nonce, spool_dir)
        with trusted.folder(path, make=True) as here:
            for name in names:
                os.close(trusted.create(name, here))
    return path


def refusal(
    path: Path, name: str | None = None, *, own: int = 2, make: bool = False, **given: bool
) -> str | None:
    """Open a file, or a folder; return why that is refused, if it is."""
    try:
        with trusted.folder(path, own=own, make=make) as here:
            if name is not None:
                os.close(trusted.open_file(name, here, **given))
    except DoubtfulError as error:
        return str(error.strerror)
    return None


def mode_of(path: Path) -> tuple[str, int, int]:
    status = path.lstat()
    return oct(stat.S_IMODE(status.st_mode)), status.st_uid, status.st_gid


def test_a_path_says_who_shares_it(tmp_path: Path) -> None:
    """Whatever is made of a path says so too, also copied; two paths of one process differ."""
    shared = whose.shared(tmp_path, GROUP)
    for path in (
        shared / "a", shared.parent, shared.with_name("b"), (shared / "a").with_suffix(".c"),
        shared.absolute(), shared.resolve(), whose.private(shared / "a") / "b",
        copy.deepcopy(shared), pickle.loads(pickle.dumps(shared)),
    ):  # fmt: skip
        assert whose.group_of(path) == GROUP, path
    assert [whose.group_of(path) for path in (tmp_path, tmp_path / "a")] == [None, None]
    assert whose.group_of(whose.shared(tmp_path, 1) / "a") == 1
    assert shared == tmp_path
    assert hash(shared) == hash(tmp_path)
    assert [*whose.shared_of(shared / "a" / "b")] == [0, 1, 2]
    assert [*whose.shared_of(whose.private(shared / "a" / "b") / "c")] == [2, 3]


@as_root
@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_what_is_made_is_for_the_group(place: Path, umask: int) -> None:
    """Its folders it may add to and remove from, its files it may read; others may do nothing."""
    spool_dir = whose.shared(group_folder(place / "spool"), GROUP)
    before = os.umask(umask)
    try:
        path = recorded_by(APP, spool_dir, "file")
        with user(APP, GROUP), trusted.folder(path) as here:
            trusted.put("put", here, b"1")
            with trusted.folder(spool.rejected_in(path.parent), make=True) as alone:
                os.close(trusted.create("file", alone))
    finally:
        os.umask(before)
    assert path.name == f"nonce-u{APP}"
    for made in (path.parent, path):
        assert mode_of(made) == ("0o2770", APP, GROUP), made
    for made in (path / "file", path / "put"):
        assert mode_of(made) == ("0o640", APP, GROUP), made
    rejected = path.parent / "rejected"
    assert (mode_of(rejected)[0], mode_of(rejected / "file")[0]) == ("0o2700", "0o600")


@as_root
def test_the_agent_may_do_its_work(spool_dir: Path) -> None:
    """It reads what each app has written, tells it how far it is, and removes what is done."""
    for app in (APP, OTHER_APP):
        path = recorded_by(app, spool_dir, "1.bson", BLOB)
        with user(AGENT, GROUP):
            assert (refusal(path, "1.bson"), refusal(path, BLOB, blob=True)) == (None, None)
            write_progress(path, Progress(through=7))
            with trusted.folder(path) as here:
                os.close(trusted.create(f"own{BLOB}", here))
                assert trusted.open_file(f"own{BLOB}", here, blob=True)
        with user(app, GROUP):
            assert read_progress(path).through == 7
            assert refusal(path, f"own{BLOB}", blob=True) is not None
        with user(AGENT, GROUP), trusted.folder(path.parent) as target:
            trusted.remove_folder(path.name, target)
        assert not path.exists()


Attack = Callable[[Path], object]


def moved_in(path: Path) -> None:
    """Put a file of the agent's with bytes of the attacker's choice in the place of a segment."""
    own = path.with_name("attackers-u12346") / BLOB
    own.rename(path / "2.bson")


ATTACKS: dict[str, tuple[Attack, str, str]] = {
    "a file of his": (lambda path: (path / "2.bson").touch(0o640), "2.bson", "belongs to user"),
    "a pipe": (lambda path: os.mkfifo(path / "2.bson", 0o640), "2.bson", "no file"),
    "a link": (lambda path: (path / "2.bson").symlink_to("1.bson"), "2.bson", "no file"),
    "a file that the agent has made for him": (moved_in, "2.bson", "belongs to user"),
    "his folder in the place of a file": (lambda path: (path / "2.bson").mkdir(), "2.bson", "no"),
    "his lock": (
        lambda path: ((path / "lock").unlink(), (path / "lock").touch(0o640)),
        "lock",
        "belongs to user",
    ),
    "his folder under the other's name": (
        lambda path: (
            path.rename(path.with_name("away")),
            (path.with_name("attackers-u12346")).rename(path),
        ),
        "lock",
        f"is named as that of user {APP}",
    ),
    "a link to his folder": (
        lambda path: (
            path.rename(path.with_name("away")),
            path.symlink_to(path.with_name("attackers-u12346")),
        ),
        "lock",
        "is a link",
    ),
}


@as_root
@pytest.mark.parametrize("name", ATTACKS)
def test_a_member_says_nothing_in_anothers_name(spool_dir: Path, name: str) -> None:
    """He may write into the folder of another; but what he puts there is not taken for his."""
    path = recorded_by(APP, spool_dir, "1.bson", "lock")
    own = recorded_by(OTHER_APP, spool_dir, "lock", nonce="attackers")
    with user(AGENT, GROUP), trusted.folder(own) as here:
        os.close(trusted.create(BLOB, here))
    attack, file, why = ATTACKS[name]
    with user(OTHER_APP, GROUP):
        attack(path)
    for uid in (AGENT, APP):
        with user(uid, GROUP):
            assert why in str(refusal(path, file)), uid


@as_root
def test_nothing_is_read_for_a_member_that_he_may_not_read(spool_dir: Path, place: Path) -> None:
    """A link to a file of the agent's, or of root's, is none of the group's, whoever drains."""
    path = recorded_by(APP, spool_dir, "lock")
    for owner, group, mode in ((AGENT, AGENT, 0o640), (0, 0, 0o644), (APP, GROUP, 0o600)):
        secret = place / "secret"
        secret.touch()
        os.chown(secret, owner, group)
        secret.chmod(mode)
        for name in ("2.bson", BLOB):
            (path / name).hardlink_to(secret)  # where the kernel lets everybody link
        for uid in (AGENT, 0):
            with user(uid, GROUP):
                assert refusal(path, "2.bson") is not None, (owner, uid)
                ours = owner == uid  # then its content has to have the hash that names it
                assert (refusal(path, BLOB, blob=True) is None) is ours, (owner, uid)
        for name in ("2.bson", BLOB):
            (path / name).unlink()
        secret.unlink()


@as_root
def test_only_a_member_says_what_is_acknowledged(spool_dir: Path) -> None:
    """A third user's file is not believed, nor one that others may write, nor a pipe."""
    path = recorded_by(APP, spool_dir, "lock")
    for make in (
        lambda file: (
            write_progress(path, Progress(through=9)),
            os.chown(file, STRANGER, STRANGER),
        ),
        lambda file: (write_progress(path, Progress(through=9)), file.chmod(0o660)),
        lambda file: os.mkfifo(file, 0o640),
        lambda file: file.mkdir(),
        lambda file: file.symlink_to("/dev/zero"),
        lambda file: file.touch(),
    ):
        make(path / "acknowledged")
        with user(APP, GROUP):
            assert read_progress(path) == Progress(refused=[], unreadable=[])
        if (path / "acknowledged").is_dir():
            (path / "acknowledged").rmdir()
        else:
            (path / "acknowledged").unlink()


@as_root
def test_who_is_no_member_gets_nowhere(spool_dir: Path) -> None:
    """Neither the kernel lets him, nor is what he owns taken; the fix is named."""
    path = recorded_by(APP, spool_dir, "lock")
    with user(STRANGER):
        why = str(refusal(path))
        assert why.startswith(f"{spool_dir} is shared by group {GROUP}, and user nobody is no mem")
        with pytest.raises(PermissionError):
            [*os.scandir(path.parent)]


def wrong(place: Path, **made: int) -> Path:
    return whose.shared(group_folder(place / "spool", **made), GROUP) / "target"


@as_root
def test_a_wrong_set_up_is_named_with_its_fix(place: Path) -> None:
    """What is wrong with a spool says what to type, whoever finds it, and nothing is made there."""
    for number, (made, fix) in enumerate(
        (
            ({"mode": 0o755}, "may not be written by group 54321"),
            ({"mode": 0o2750}, "chmod g+rwxs"),
            ({"mode": 0o2777}, "chmod o-w"),
            ({"group": 1}, "chgrp 54321"),
        )
    ):
        folder = place / str(number)
        folder.mkdir()
        path = wrong(folder, **made)
        for uid in (0, APP):
            with user(uid, GROUP):
                assert fix in str(refusal(path, own=1, make=True))
        assert not path.exists()


@as_root
def test_above_a_shared_spool_nothing_is_made(place: Path) -> None:
    """A folder made there would be one user's alone, where the others cannot pass."""
    with pytest.raises(FileNotFoundError):
        refusal(whose.shared(place / "a" / "spool", GROUP) / "target", make=True)
    with trusted.folder(whose.shared(place / "spool", GROUP) / "target", make=True):
        assert mode_of(place / "spool") == ("0o2770", 0, GROUP)


@as_root
def test_a_folder_that_does_not_say_whose_it_is_is_left_alone(spool_dir: Path) -> None:
    """Else a member could record under the name of a process that records elsewhere."""
    for name in ("11111111-0000-4000-8000-000000000000", f"nonce-u{APP}", f"x-u{OTHER_APP}"):
        folder = ProcessFolder(spool_dir / "target" / name)
        with user(OTHER_APP, GROUP):
            folder.ensure()
            folder.release()
    with user(AGENT, GROUP):
        assert [path.name for path in looking.folders_in(spool_dir / "target")] == ["x-u12346"]
        whys = [*looking.doubts_in(spool_dir / "target").values()]
    assert [why[:25] for why in whys] == ["does not say in its name ", "is named as that of user "]


@as_root
def test_the_quota_is_that_of_the_group(spool_dir: Path) -> None:
    """What each member has in the spool counts; in a spool of one's own only what is ours."""
    for app in (APP, OTHER_APP):
        path = recorded_by(app, spool_dir)
        (path / "1.bson").write_bytes(bytes(8192))
        os.chown(path / "1.bson", app, GROUP)
    with user(APP, GROUP):
        assert spool.used_bytes(spool_dir, beside=Path("/")) == 16384
        assert spool.used_bytes(Path(spool_dir), beside=Path("/")) == 8192


def test_the_setting_names_a_group() -> None:
    """By name or number; what is wrong says what to do."""
    assert whose.group_of(Settings(shipper="agent", spool_group="root").spool_dir) == 0
    assert whose.group_of(Settings(shipper="agent", spool_group="4242").spool_dir) == 4242
    assert whose.group_of(Settings(shipper="agent").spool_dir) is None
    shared = Settings(shipper="agent", spool_group="4242")
    assert whose.group_of(Settings(**dict(shared)).spool_dir) == 4242
    assert whose.group_of(Settings(spool_dir=shared.spool_dir).spool_dir) is None
    for given, why in (
        ({"spool_group": 1}, "set that, too"),
        ({"spool_group": "no such group", "shipper": "agent"}, "groupadd"),
        ({"spool_group": -1, "shipper": "agent"}, "no group has such a number"),
        ({"spool_group": 2**32, "shipper": "agent"}, "no group has such a number"),
        ({"spool_group": 1.5, "shipper": "agent"}, "name of a group"),
        ({"spool_group": "a\0b", "shipper": "agent"}, "groupadd"),
    ):
        with pytest.raises((ValueError, ConfigurationError), match=why):
            Settings(**given)


@as_root
def test_an_agent_of_another_user_takes_over_once_the_last_has_ended(spool_dir: Path) -> None:
    """Its lock stays, and is not the next one's to write; while it is held the next stands by."""
    settings = Settings(shipper="agent", spool_group=GROUP, spool_dir=spool_dir)
    lock = Post(settings).target_folder / "agent" / lock_name()
    read, write = os.pipe()
    holder = os.fork()
    if holder == 0:
        users.become(AGENT, GROUP)
        os.write(write, str(Post(settings).take()).encode())
        signal.pause()
    assert os.read(read, 10) == b"True"
    with user(OTHER_APP, GROUP):
        assert not Post(settings).take()
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    for number in (read, write):
        os.close(number)
    assert mode_of(lock) == ("0o640", AGENT, GROUP)
    with user(OTHER_APP, GROUP):
        post = Post(settings)
        assert post.take()
        assert mode_of(lock) == ("0o640", OTHER_APP, GROUP)
        lock.rename(lock.with_name("away"))
        post.keep()
        assert mode_of(lock) == ("0o640", OTHER_APP, GROUP)
        post.leave()


@as_root
def test_a_file_system_that_takes_root_for_nobody_is_named(
    spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS with root_squash: what root makes belongs to nobody, who is no user to share with."""
    mkdir = os.mkdir

    def squashing(name: str, mode: int, *, dir_fd: int) -> None:
        mkdir(name, mode, dir_fd=dir_fd)
        os.chown(name, STRANGER, STRANGER, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", squashing)
    assert "(root_squash). Run as" in str(refusal(spool_dir / "target", own=1, make=True))

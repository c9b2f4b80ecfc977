"""The spool: which folders belong to the dead, and who may take them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from made_up_records import create_process_folder

from llm_audit.journal.spool import folder as spool
from llm_audit.journal.spool import looking
from llm_audit.journal.spool.adoption import (
    UNFINISHED_SECONDS,
    OtherKernels,
    adopt_dead,
    waiting_elsewhere,
)
from llm_audit.journal.spool.folder import ProcessFolder, used_bytes
from llm_audit.runtime import trusted

LEASE_SECONDS = 100.0

# Tells whether another process could take over a folder.
TRY_TO_ADOPT = """
import sys
from pathlib import Path
from llm_audit.journal.spool.adoption import OtherKernels, adopt_dead
print(sum(1 for _ in adopt_dead(Path(sys.argv[1]), OtherKernels(100.0, 0.0))))
"""


def adopted_by_another_process(target: Path) -> int:
    command = [sys.executable, "-c", TRY_TO_ADOPT, str(target)]
    return int(subprocess.check_output(command))


def adopted(target: Path, other_kernels: OtherKernels | None = None) -> list[ProcessFolder]:
    other_kernels = other_kernels or OtherKernels(LEASE_SECONDS, 0.0)
    return list(adopt_dead(target, other_kernels))


def from_another_boot(folder: ProcessFolder, silent_for_seconds: float) -> Path:
    """Let a folder look like one that another kernel's process has left; return its lock."""
    lock = folder.path / "lock"
    owner = json.loads(lock.read_text()) | {"boot_id": "another"}
    folder.release()
    lock.write_text(json.dumps(owner))
    touched = lock.stat().st_mtime - silent_for_seconds
    os.utime(lock, (touched, touched))
    return lock


def test_the_living_keep_their_folder(tmp_path: Path) -> None:
    """Neither this process nor another can adopt the folder of one that lives."""
    folder = create_process_folder(tmp_path)
    assert adopted(tmp_path) == []
    assert adopted_by_another_process(tmp_path) == 0
    folder.release()


def test_looking_does_not_free_a_lock(tmp_path: Path) -> None:
    """After this process has looked for the dead, its own folder is still locked."""
    folder = create_process_folder(tmp_path)
    adopted(tmp_path)
    assert adopted_by_another_process(tmp_path) == 0
    folder.release()


def test_a_free_lock_is_the_sign_of_death(tmp_path: Path) -> None:
    """A folder whose lock is free is adopted, once, and then locked by the adopter."""
    folder = create_process_folder(tmp_path)
    folder.release()
    (found,) = adopted(tmp_path)
    assert found.nonce == folder.nonce
    assert adopted(tmp_path) == []
    assert adopted_by_another_process(tmp_path) == 0
    found.release()
    assert adopted_by_another_process(tmp_path) == 1


def test_a_killed_process_is_dead(tmp_path: Path) -> None:
    """The kernel frees the lock of a process that was killed."""
    script = (
        "import os, sys, pathlib\n"
        "from llm_audit.journal.spool.folder import ProcessFolder\n"
        "folder = ProcessFolder(pathlib.Path(sys.argv[1]) / 'nonce')\n"
        "folder.ensure()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert ended.returncode == -9
    (found,) = adopted(tmp_path)
    found.release()


def test_a_child_neither_holds_nor_frees_its_parents_lock(tmp_path: Path) -> None:
    """A forked child that forgets the folder leaves the lock as it was."""
    folder = create_process_folder(tmp_path)
    pid = os.fork()
    if pid == 0:
        spool.Held.owners.clear()
        folder.forget()
        os._exit(len(adopted(tmp_path)))
    assert os.waitpid(pid, 0)[1] == 0
    assert adopted_by_another_process(tmp_path) == 0
    folder.release()


@pytest.mark.parametrize(("silent_for_seconds", "dead"), [(0.0, False), (LEASE_SECONDS + 60, True)])
def test_another_kernels_process_is_dead_after_its_lease(
    tmp_path: Path, silent_for_seconds: float, *, dead: bool
) -> None:
    """Under another boot id a free lock proves nothing: only long silence does."""
    from_another_boot(create_process_folder(tmp_path), silent_for_seconds)
    found = adopted(tmp_path)
    assert bool(found) is dead
    for folder in found:
        folder.release()


def test_a_touch_shows_life(tmp_path: Path) -> None:
    """Touching moves the time by which another kernel tells that the owner lives."""
    folder = create_process_folder(tmp_path)
    lock = folder.path / "lock"
    os.utime(lock, (0, 0))
    folder.touch()
    assert lock.stat().st_mtime > 0
    folder.release()


def test_an_adopted_folder_is_still_the_dead_ones(tmp_path: Path) -> None:
    """Who looks at a folder that this process has adopted is told who recorded there."""
    folder = create_process_folder(tmp_path)
    lock = folder.path / "lock"
    owner = json.loads(lock.read_text()) | {"pid": 4_000_000}
    folder.release()
    lock.write_text(json.dumps(owner))
    (taken,) = adopted(tmp_path)

    seen = looking.look_at(taken.path)
    assert seen is not None
    assert (seen.lives, seen.pid) == (True, 4_000_000)
    taken.release()


def test_neither_host_nor_pid_tells_who_has_ended(tmp_path: Path) -> None:
    """Hosts are renamed, containers may have equal names, and all of them have a process 1."""
    ours = {"host": socket.gethostname(), "pid": os.getpid()}
    other_name, other_pid = ours | {"host": "renamed"}, ours | {"pid": 4_000_000}
    for said in (ours, other_name, other_pid):  # our own pid, as a container's next process 1
        folder = create_process_folder(tmp_path)
        lock = folder.path / "lock"
        changed = json.loads(lock.read_text()) | said
        lock.write_text(json.dumps(changed))
        spool.Held.owners[folder.nonce] |= said

        def has_ended(folder: ProcessFolder = folder) -> bool:
            owner = looking.look_at(folder.path)
            assert owner is not None
            return owner.has_ended()

        assert not has_ended()  # it holds its lock
        folder.release()
        lock.write_text(json.dumps(changed))
        assert has_ended()
        (taken,) = adopted(tmp_path)
        assert has_ended()  # whoever is at what it left
        taken.release()
        assert has_ended()
        lock.write_text(json.dumps(changed | {"boot_id": "another"}))
        assert not has_ended()  # as far as anybody can tell
        shutil.rmtree(folder.path)


def test_what_is_just_made_is_not_taken_for_left(tmp_path: Path) -> None:
    """The clock may be put forward while a folder is being made: its lock is held."""
    folder = create_process_folder(tmp_path)
    in_the_making = folder.path.rename(tmp_path / f"{spool.NEW}folder")
    an_hour_ago = time.time() - UNFINISHED_SECONDS - 1
    os.utime(in_the_making, (an_hour_ago, an_hour_ago))
    assert adopted_by_another_process(tmp_path) == 0
    assert in_the_making.exists()
    folder.release()
    assert adopted_by_another_process(tmp_path) == 0
    assert not in_the_making.exists()


def test_a_fork_while_a_folder_is_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child forked in that moment has no number of a descriptor that may be closed already."""
    folder = create_process_folder(tmp_path)
    close = os.close

    def close_and_fork(descriptor: int) -> None:
        close(descriptor)
        folder.forget()  # as the child does, with the state of this moment

    monkeypatch.setattr(os, "close", close_and_fork)
    folder.release()
    assert adopted_by_another_process(tmp_path) == 1


def test_what_is_no_process_folder_is_left_alone(tmp_path: Path) -> None:
    """Half-made folders, the rejected journal and foreign files are not adopted."""
    for name in (f"{spool.NEW}half", spool.REJECTED_FOLDER, "foreign"):
        (tmp_path / name).mkdir()
    (tmp_path / spool.REJECTED_FOLDER / "lock").touch()
    (tmp_path / f"{spool.NEW}half" / "lock").touch()
    (tmp_path / "file").touch()
    assert adopted(tmp_path) == []
    assert adopted(tmp_path / "missing") == []
    assert adopted(tmp_path / "file") == []


def test_a_lock_without_an_owner_is_taken_for_one_of_another_kernel(tmp_path: Path) -> None:
    """An empty or broken lock file, cut short by a full disk, waits for its lease."""
    for number, content in enumerate(["", "{", "[]", '{"boot_id": 5}']):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "lock").write_text(content)
    assert adopted(tmp_path) == []


def test_killed_while_removing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is killed in the middle of removing a folder leaves nothing that looks like one."""
    folder = create_process_folder(tmp_path)
    with monkeypatch.context() as killed:
        killed.setattr(
            trusted, "remove_folder", lambda name, _: (tmp_path / name / "lock").unlink()
        )
        folder.remove()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(spool.NEW)

    an_hour_ago = time.time() - UNFINISHED_SECONDS - 1
    os.utime(left, (an_hour_ago, an_hour_ago))
    assert adopted(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_removing_frees_the_name(tmp_path: Path) -> None:
    """A removed folder is gone with all that is in it."""
    folder = create_process_folder(tmp_path)
    for name in ("00000001.bson", "1.blob"):
        (folder.path / name).touch()
    folder.remove()
    assert list(tmp_path.iterdir()) == []
    assert folder.nonce not in spool.Held.owners


def test_blobs_that_damaged_segments_may_name_are_kept(tmp_path: Path) -> None:
    """Beside the damaged rest of a segment lie the blobs whose records nobody can read."""
    folder = create_process_folder(tmp_path)
    (folder.path / "1.blob").touch()
    damaged = spool.rejected_in(tmp_path) / f"{folder.nonce}-00000001.damaged"
    damaged.parent.mkdir(mode=0o700)
    damaged.touch()
    folder.remove()
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"1.blob", damaged.name}


def test_calls_for_other_targets_are_found(tmp_path: Path) -> None:
    """Journals that wait for other settings are named, and stay free for who has them."""
    ours, other = tmp_path / "ours", tmp_path / "other"
    for target in (ours, other):
        folder = create_process_folder(target)
        (folder.path / "00000001.bson").touch()
        folder.release()
    empty = create_process_folder(other)
    empty.release()

    other_kernels = OtherKernels(LEASE_SECONDS, 0.0)
    (waiting,) = waiting_elsewhere(tmp_path, {"ours"}, other_kernels)
    assert waiting.path.parent == other
    assert adopted_by_another_process(other) == 2


def test_a_crowd_is_looked_at_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred thousand folders some are looked at at once, by lot: each has its turn."""
    folders_max = 20
    monkeypatch.setattr(looking, "FOLDERS_MAX", folders_max)
    for number in range(5 * folders_max):
        (tmp_path / f"planted-{number}").mkdir(0o700)
    dead = [create_process_folder(tmp_path) for _ in range(3)]
    for folder in dead:
        folder.release()
    looks: list[Path] = []
    open_folder = trusted.folder

    def noted(path: Path, **given: Any) -> AbstractContextManager[int]:
        looks.append(path)
        return open_folder(path, **given)

    monkeypatch.setattr(trusted, "folder", noted)
    found: set[str] = set()
    for _ in range(10_000):
        looks.clear()
        adopted_now = adopted(tmp_path)
        assert len(looks) < 3 * folders_max
        found |= {folder.nonce for folder in adopted_now}
        for folder in adopted_now:
            folder.remove()
        if len(found) == len(dead):
            break
    assert found == {folder.nonce for folder in dead}
    assert looking.is_crowded(tmp_path)


def test_who_has_gone_is_forgotten(tmp_path: Path) -> None:
    """A process that looks for months remembers nothing of the folders that were removed."""
    other_kernels = OtherKernels(LEASE_SECONDS, watch_seconds=20)
    locks = [from_another_boot(create_process_folder(tmp_path), 0) for _ in range(3)]
    assert adopted(tmp_path, other_kernels) == []
    for lock in locks[1:]:
        shutil.rmtree(lock.parent)
    other_kernels.forget_removed()
    assert list(other_kernels.touches) == [str(locks[0].parent)]


def test_what_the_spool_holds_is_measured(tmp_path: Path) -> None:
    """Everything counts, for whatever target and process; a spool that is not there is empty."""
    for name in ("a/nonce/00000001.bson", "a/nonce/1.blob", "b/rejected/nonce.bson"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1_000)
    (tmp_path / "a" / "nonce" / "2.blob").hardlink_to(tmp_path / "a" / "nonce" / "1.blob")
    own = tmp_path / "a" / "nonce"
    assert used_bytes(tmp_path, beside=tmp_path / "a" / "other") == 3_000
    assert used_bytes(tmp_path, beside=own) == 2_000
    assert used_bytes(tmp_path / "missing", beside=own) == 0


def lose_folder(folder: ProcessFolder) -> None:
    shutil.rmtree(folder.path)


def lose_spool(folder: ProcessFolder) -> None:
    shutil.rmtree(folder.path.parent)


def lose_lock(folder: ProcessFolder) -> None:
    (folder.path / "lock").unlink()


def replace_lock(folder: ProcessFolder) -> None:
    lose_lock(folder)
    (folder.path / "lock").touch()


@pytest.mark.parametrize("lose", [lose_folder, lose_spool, lose_lock, replace_lock])
def test_what_was_removed_is_made_again(
    tmp_path: Path, lose: Callable[[ProcessFolder], None]
) -> None:
    """A removed folder or lock is there again, under the same name and held by the same process."""
    target = tmp_path / "target"
    folder = create_process_folder(target)
    segment = folder.path / "00000001.bson"
    segment.touch()
    assert not folder.ensure()
    lose(folder)
    assert folder.ensure()
    assert not folder.ensure()

    assert (folder.path / "lock").is_file()
    assert segment.exists() is (lose in {lose_lock, replace_lock})
    assert [path.name for path in target.iterdir()] == [folder.nonce]
    assert adopted(target) == []
    assert adopted_by_another_process(target) == 0
    folder.release()
    assert adopted_by_another_process(target) == 1


def test_a_removed_folder_leaves_no_descriptor(tmp_path: Path) -> None:
    """However often the folder is removed, only one lock is held."""
    folder = create_process_folder(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        lose_folder(folder)
        assert folder.ensure()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    folder.release()


def test_a_moved_folder_is_still_ours(tmp_path: Path) -> None:
    """Where the spool was moved away, nobody takes us for dead, neither there nor here."""
    here, there = tmp_path / "here", tmp_path / "there"
    folder = create_process_folder(here)
    (folder.path / "00000001.bson").touch()
    here.rename(there)
    assert folder.ensure()

    for target in (here, there):
        assert adopted(target) == []
        assert adopted_by_another_process(target) == 0
    folder.release()
    assert adopted_by_another_process(here) == adopted_by_another_process(there) == 1


def test_a_folder_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    """Where the spool cannot be written, that is said, and it works once it can be."""
    in_the_way = tmp_path / "spool"
    in_the_way.touch()
    folder = ProcessFolder(in_the_way / "target" / "nonce")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(OSError, match=r"[Dd]irectory|exists"):
            folder.ensure()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    folder.touch()

    in_the_way.unlink()
    assert folder.ensure()
    assert adopted_by_another_process(folder.path.parent) == 0
    folder.release()


def test_an_old_lock_alone_proves_nothing(
    tmp_path: Path, pass_seconds: Callable[[float], None]
) -> None:
    """Another kernel's process is dead only once this one has seen it untouched for a while."""
    from_another_boot(create_process_folder(tmp_path), 10 * LEASE_SECONDS)
    other_kernels = OtherKernels(LEASE_SECONDS, watch_seconds=20)
    for _ in range(3):
        assert adopted(tmp_path, other_kernels) == []
        pass_seconds(9)
    assert adopted(tmp_path, OtherKernels(LEASE_SECONDS, watch_seconds=20)) == []
    (found,) = adopted(tmp_path, other_kernels)
    found.release()


def test_watching_alone_proves_nothing(
    tmp_path: Path, pass_seconds: Callable[[float], None]
) -> None:
    """A lock that was touched within the lease is not taken, however long it was watched."""
    lock = from_another_boot(create_process_folder(tmp_path), 0.0)
    other_kernels = OtherKernels(LEASE_SECONDS, watch_seconds=20)
    assert adopted(tmp_path, other_kernels) == []
    pass_seconds(3600)
    assert adopted(tmp_path, other_kernels) == []
    assert lock.exists()


def test_a_touch_begins_the_watch_anew(
    tmp_path: Path, pass_seconds: Callable[[float], None]
) -> None:
    """Any touch, even with a clock that is far behind, is a sign of life."""
    lock = from_another_boot(create_process_folder(tmp_path), 10 * LEASE_SECONDS)
    other_kernels = OtherKernels(LEASE_SECONDS, watch_seconds=20)
    for _ in range(4):
        assert adopted(tmp_path, other_kernels) == []
        pass_seconds(15)
        touched = lock.stat().st_mtime + 1  # by a clock that is behind
        os.utime(lock, (touched, touched))
    assert adopted(tmp_path, other_kernels) == []
    pass_seconds(20)
    (found,) = adopted(tmp_path, other_kernels)
    found.release()


def test_our_own_clock_does_not_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The age of a lock is told by the file system's clock, whatever ours says."""
    lock = from_another_boot(create_process_folder(tmp_path), 0.0)
    monkeypatch.setattr("time.time", lambda: lock.stat().st_mtime + 10 * LEASE_SECONDS)
    assert adopted(tmp_path) == []

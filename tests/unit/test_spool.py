"""The spool: which folders belong to the dead, and who may take them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm_audit.recorder import spool
from llm_audit.recorder.spool import ProcessFolder, adopt_dead, create_process_folder

LEASE_SECONDS = 100.0

# Tells whether another process could take over a folder.
TRY_TO_ADOPT = """
import sys
from pathlib import Path
from llm_audit.recorder.spool import adopt_dead
print(sum(1 for _ in adopt_dead(Path(sys.argv[1]), 100.0)))
"""


def adopted_by_another_process(target: Path) -> int:
    command = [sys.executable, "-c", TRY_TO_ADOPT, str(target)]
    return int(subprocess.check_output(command))


def adopted(target: Path) -> list[ProcessFolder]:
    return list(adopt_dead(target, LEASE_SECONDS))


def from_another_boot(folder: ProcessFolder, silent_for_seconds: float) -> None:
    """Let a folder look like one that another kernel's process has left."""
    lock = folder.path / "lock"
    owner = json.loads(lock.read_text()) | {"boot_id": "another"}
    folder.release()
    lock.write_text(json.dumps(owner))
    touched = lock.stat().st_mtime - silent_for_seconds
    os.utime(lock, (touched, touched))


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
        "from llm_audit.recorder.spool import create_process_folder\n"
        "create_process_folder(pathlib.Path(sys.argv[1]))\n"
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
        spool.forget_held()
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


def test_what_is_no_process_folder_is_left_alone(tmp_path: Path) -> None:
    """Half-made folders, the rejected journal and foreign files are not adopted."""
    for name in (f"{spool._NEW}half", spool.REJECTED, "foreign"):
        (tmp_path / name).mkdir()
    (tmp_path / spool.REJECTED / "lock").touch()
    (tmp_path / f"{spool._NEW}half" / "lock").touch()
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


def test_removing_frees_the_name(tmp_path: Path) -> None:
    """A removed folder is gone with all that is in it, damaged segments excepted."""
    folder = create_process_folder(tmp_path)
    (folder.path / "00000001.bson").touch()
    (folder.path / "00000002.damaged").touch()
    folder.remove()
    left = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [Path(spool.REJECTED) / f"{folder.nonce}-00000002.damaged"]


def test_calls_for_other_targets_are_found(tmp_path: Path) -> None:
    """Journals that wait for other settings are named, and stay free for who has them."""
    ours, other = tmp_path / "ours", tmp_path / "other"
    for target in (ours, other):
        folder = create_process_folder(target)
        (folder.path / "00000001.bson").touch()
        folder.release()
    empty = create_process_folder(other)
    empty.release()

    (waiting,) = spool.waiting_elsewhere(tmp_path, "ours", LEASE_SECONDS)
    assert waiting.parent == other
    assert adopted_by_another_process(other) == 2

"""What the doctor sees in this machine's spool; looking changes nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from children import child
from made_up_records import create_process_folder, journal_of, packed
from waiting import PATIENCE, Calls, Recording, arrived, until

import llm_audit
from llm_audit import LLMLogger
from llm_audit.diagnosis.journals import examine_journals
from llm_audit.diagnosis.results import Diagnosis, JournalReport
from llm_audit.journal.spool.folder import LOCK, NEW, SUFFIX
from llm_audit.recorder import process
from llm_audit.settings import get_settings

RECORD_AND_WAIT = """
from llm_audit import LLMLogger, flush
from llm_audit.recorder import process
from patience import PATIENCE
LLMLogger.start(model="m", messages=[])
assert flush(PATIENCE)
print(process.recorder().constants["process_nonce"])
input()
"""

# Holds a lock as a recording process does; asked from outside, because a process that opens a file
# that it has locked, and closes it, frees the lock.
TELL_WHETHER_LOCKED = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
try:
    os.lockf(descriptor, os.F_TEST, 0)
except OSError:
    print("locked")
else:
    print("free")
"""

pytestmark = pytest.mark.usefixtures("recording")


def own_nonce() -> str:
    return str(process.recorder().constants["process_nonce"])


def target_folder() -> Path:
    settings = get_settings()
    return settings.spool_dir / settings.target()


def dead_journal(
    records: Iterable[bytes] = (), *, target: Path | None = None, age_seconds: float = 0
) -> JournalReport:
    """Leave a journal as a killed process does; give what the doctor has to say of it."""
    folder = create_process_folder(target or target_folder(), "elsewhere, database d, collection c")
    journal_of(folder.path, records or [packed(number, "x" * 100) for number in range(5)]).close()
    segments = list(folder.path.glob(f"*{SUFFIX}"))
    for segment in segments:
        began = segment.stat().st_mtime - age_seconds
        os.utime(segment, (began, began))
    owner = json.loads((folder.path / LOCK).read_bytes())
    folder.release()
    return JournalReport(
        path=str(folder.path),
        nonce=folder.nonce,
        host=owner["host"],
        pid=owner["pid"],
        target=owner["target"],
        state="waiting",
        segments=len(segments),
        bytes=sum(segment.stat().st_size for segment in segments),
        age_seconds=age_seconds,
    )


def is_locked(nonce: str) -> bool:
    """Ask another process whether a process's folder is locked."""
    lock = target_folder() / nonce / LOCK
    command = [sys.executable, "-c", TELL_WHETHER_LOCKED, str(lock)]
    return subprocess.check_output(command, text=True).strip() == "locked"


def problems_about(text: str) -> list[str]:
    return [problem for problem in llm_audit.doctor().problems if text in problem]


def test_a_waiting_journal_is_a_problem() -> None:
    """A dead process's journal is reported with its size and age, until somebody ships it."""
    expected = dead_journal(age_seconds=7000)
    found = llm_audit.doctor()
    (report,) = found.journals
    assert report.age_seconds is not None
    assert report.age_seconds >= 7000
    assert report == expected.model_copy(update={"age_seconds": report.age_seconds})
    (problem,) = [problem for problem in found.problems if expected.path in problem]
    assert f"{expected.bytes} bytes" in problem


def test_looking_takes_nothing_over(calls: Calls) -> None:
    """A journal that the doctor has looked at is shipped as if it had not."""
    dead = dead_journal()
    llm_audit.doctor()
    assert not is_locked(dead.nonce)
    llm_audit.recover()
    until(lambda: not Path(dead.path).exists())
    assert calls.count_documents({}) == 5


def test_journals_are_reported_oldest_first() -> None:
    """What has waited longest comes first, and folders without a journal last."""
    empty = create_process_folder(target_folder())
    empty.release()
    younger = dead_journal(age_seconds=10)
    older = dead_journal(age_seconds=1000)
    reports = llm_audit.doctor().journals
    assert [report.nonce for report in reports] == [older.nonce, younger.nonce, empty.nonce]
    assert (reports[-1].bytes, reports[-1].age_seconds) == (0, None)
    assert problems_about(empty.nonce) == []


def test_a_journal_from_another_kernel() -> None:
    """A journal from before a reboot, or from another machine, is not called waiting."""
    dead = dead_journal()
    lock = Path(dead.path) / LOCK
    owner = json.loads(lock.read_bytes())
    lock.write_text(json.dumps({**owner, "boot_id": "another", "host": "elsewhere", "pid": 1}))
    (report,) = llm_audit.doctor().journals
    assert (report.state, report.host, report.pid) == ("other kernel", "elsewhere", 1)
    assert len(problems_about(dead.path)) == 1


def test_a_journal_for_another_target() -> None:
    """A journal that no process with these settings will ship is named as such."""
    dead = dead_journal(target=target_folder().parent / "0123456789abcdef")
    (report,) = llm_audit.doctor().journals
    assert (report.state, report.path) == ("other target", dead.path)
    (problem,) = problems_about(dead.path)
    assert "elsewhere, database d, collection c" in problem


def test_a_journal_that_is_moved_goes_there(calls: Calls) -> None:
    """Moved into the folder of another target, a journal is shipped to that one."""
    dead = dead_journal(target=target_folder().parent / "0123456789abcdef")
    target_folder().mkdir(exist_ok=True)
    Path(dead.path).rename(target_folder() / dead.nonce)

    assert llm_audit.recover(PATIENCE)
    assert calls.count_documents({}) == 5


def test_what_the_dead_left_open_is_a_problem(recording: Recording) -> None:
    """A journal that was shipped by somebody who then ended is not called waiting in itself."""
    with child(RECORD_AND_WAIT, recording()) as living:
        assert living.stdout is not None
        nonce = living.stdout.readline().strip()
    for segment in (target_folder() / nonce).glob(f"*{SUFFIX}"):
        segment.unlink()
    (problem,) = problems_about(nonce)
    assert "not closed yet" in problem


def test_a_lock_whose_owner_is_not_known() -> None:
    """An empty lock file, as a kill may leave it, is reported without host and pid."""
    dead = dead_journal()
    (Path(dead.path) / LOCK).write_text("")
    (report,) = llm_audit.doctor().journals
    assert (report.host, report.pid, report.bytes) == (None, None, dead.bytes)


def test_a_living_process_keeps_its_lock(recording: Recording) -> None:
    """Looking at the folder of a living process neither takes its lock nor frees it."""
    with child(RECORD_AND_WAIT, recording()) as living:
        assert living.stdout is not None
        nonce = living.stdout.readline().strip()
        (report,) = llm_audit.doctor().journals
        assert (report.nonce, report.pid, report.state) == (nonce, living.pid, "in use")
        assert is_locked(nonce)
        assert problems_about(nonce) == []


def test_the_own_lock_stays(calls: Calls) -> None:
    """A recording process may ask the doctor: its own folder stays locked, and it goes on."""
    LLMLogger.start(model="m", messages=[])
    for _ in range(3):
        (report,) = llm_audit.doctor().journals
        assert (report.nonce, report.state) == (own_nonce(), "in use")
    assert is_locked(own_nonce())
    assert arrived(calls, LLMLogger.start(model="m", messages=[]))


def test_asked_while_recording(recording: Recording, calls: Calls) -> None:
    """Asked while others record, and segments come and go, the doctor answers."""
    recording(segment_max_bytes=5_000)
    recorded = [LLMLogger.start(model="m", messages=[])]
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(lambda: [llm_audit.doctor().journals for _ in range(5)])
        while not asked.done():
            recorded.append(LLMLogger.start(model="m", messages=[]))
    assert {report.state for journals in asked.result() for report in journals} == {"in use"}
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({}) == len(recorded)


def test_no_spool_at_all(recording: Recording, tmp_path: Path) -> None:
    """Where nobody has recorded there are no journals, and nothing is made by looking."""
    recording(spool_dir=tmp_path / "nowhere")
    assert llm_audit.doctor().journals == []
    assert not (tmp_path / "nowhere").exists()


def test_damaged_files_are_named() -> None:
    """What could not be read of a journal is named, and so is the process whose it was."""
    dead = dead_journal([packed(1)])
    (segment,) = Path(dead.path).glob(f"*{SUFFIX}")
    segment.write_bytes(segment.read_bytes() + b"\0" * 64)
    llm_audit.recover()
    until(lambda: not Path(dead.path).exists())
    (damaged,) = llm_audit.doctor().damaged_files
    assert Path(damaged).name == f"{dead.nonce}-{segment.stem}.damaged"
    assert len(problems_about(damaged)) == 1


def test_the_diagnosis_is_data() -> None:
    """A diagnosis goes through JSON unchanged, for whoever watches by a script."""
    dead_journal()
    found = llm_audit.doctor()
    assert found.journals
    assert Diagnosis.model_validate_json(found.model_dump_json()) == found


def test_looking_while_a_folder_is_being_made_frees_no_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What has its lock but not yet its name is not opened, which would free that lock."""
    looked: list[str] = []
    rename = os.rename

    def look_first(source: str, target: str, **folders: int) -> None:
        looked.append(source)
        examine_journals(get_settings())
        rename(source, target, **folders)

    monkeypatch.setattr(os, "rename", look_first)
    folder = create_process_folder(target_folder())
    assert looked[0].startswith(NEW)

    command = [sys.executable, "-c", TELL_WHETHER_LOCKED, str(folder.path / LOCK)]
    assert subprocess.check_output(command, text=True) == "locked\n"
    folder.remove()

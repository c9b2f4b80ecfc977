"""A disk that is full, gone or read-only, and a quota: the audited call goes on.

What has to be dropped in the end is counted, by reason: the newest content first, then the newest
records. Nothing else is lost.
"""

import functools
import shutil
from pathlib import Path

import pytest
from faults import scenes
from faults.harmed import Harmed, process_folders, settle
from faults.promises import Child, Verdict, child, judge
from faults.table import Report
from waiting import until

from llm_audit.settings import Settings

PACED = {"threads": 4, "pause_seconds": 0.002}


@pytest.fixture
def lenient(harmed: Harmed) -> Settings:
    """Record as in production, where a full disk is no error of the caller."""
    return harmed.settings(strict=False, segment_max_bytes=20_000)


def folder_of(settings: Settings) -> Path:
    """Return the only folder that a process has in the spool; if it was removed, its next one."""
    target_folder = settings.spool_dir / settings.target()
    until(lambda: process_folders(target_folder))
    (folder,) = process_folders(target_folder)
    return folder


def counted(process: Child, what: str) -> int:
    """Return how often a process counted something as dropped."""
    return sum(entry["count"] for entry in process.stats["dropped"] if entry["what"] == what)


def less_what_is_counted(verdict: Verdict, process: Child) -> str:
    """Take from a verdict what the process counts as dropped, and return that in words."""
    records, contents = counted(process, "record"), counted(process, "content")
    assert verdict.lost + verdict.wrong_status <= records, verdict
    assert verdict.without_content <= contents, verdict
    verdict.lost = verdict.without_content = 0
    verdict.wrong_status = verdict.pending  # whatever was dropped, every call has to end
    return f"dropped and counted: {contents} contents, {records} records"


@pytest.mark.parametrize("outage", [False, True], ids=["MongoDB up", "MongoDB frozen"])
def test_full_for_a_while(
    harmed: Harmed, lenient: Settings, report: Report, *, outage: bool
) -> None:
    """What a full disk refuses for a while goes through memory, and nothing is lost."""
    with child(lenient, meanwhile=scenes.fill_the_disk, **PACED) as process:
        if outage:
            with harmed.frozen():
                until(lambda: process.said)
        process.wait()
    settle(lenient)
    where = ", MongoDB frozen" if outage else ""
    report(f"disk full for a while{where}", 3, judge(harmed.calls, [process]))
    assert process.stats["not_journaled"] > 0
    assert process.stats["dropped"] == []
    assert len([line for line in process.log if "journal in spool_dir" in line]) == 1


def test_small_disk(harmed: Harmed, lenient: Settings, report: Report) -> None:
    """On a disk too small for the outage, what memory takes is not lost; the rest is counted."""
    first = functools.partial(scenes.on_a_small_disk, lenient.spool_dir, "256k")
    with harmed.frozen(), child(lenient, first=first, threads=4) as process:
        try:
            process.wait_for_promises(6_000)
        except AssertionError:
            if any("unshare" in line or "mount" in line for line in process.raised):
                pytest.skip("this machine allows no mount namespaces")
            raise
        harmed.server.thaw()
        process.stop()
    verdict = judge(harmed.calls, [process])
    remark = less_what_is_counted(verdict, process)
    report("disk of 256 KiB and memory full in an outage", 1, verdict, remark)
    assert_newest_first(process)


def test_quota(harmed: Harmed, report: Report) -> None:
    """Beyond its quota the spool takes no content, then nothing; MongoDB learns what it missed."""
    settings = harmed.settings(strict=False, spool_max_bytes=1_000_000)
    with harmed.frozen(), child(settings, threads=4) as process:
        process.wait_for_promises(2_000)
        harmed.server.thaw()
        process.stop()
    verdict = judge(harmed.calls, [process])
    remark = less_what_is_counted(verdict, process)
    report("quota spool_max_bytes reached in an outage", 1, verdict, remark)
    assert_newest_first(process)
    (about,) = harmed.calls.database["llm_audit_processes"].find({"pid": process.pid})
    for said, stored in zip(process.stats["dropped"], about["dropped"], strict=True):
        assert (said["what"], said["reason"]) == (stored["what"], stored["reason"])
        assert said["count"] <= stored["count"]  # the end of the process may have added some


def assert_newest_first(process: Child) -> None:
    """Assert that contents were dropped before records, and neither from the beginning."""
    (content,) = (entry for entry in process.stats["dropped"] if entry["what"] == "content")
    (record,) = (entry for entry in process.stats["dropped"] if entry["what"] == "record")
    assert 0 < content["first_seq"] <= record["first_seq"]


def test_folder_removed(harmed: Harmed, lenient: Settings, report: Report) -> None:
    """With its folder removed again and again, a process goes on, and counts what was in it."""
    times = 5
    with child(lenient, **PACED) as process:
        for _ in range(times):
            process.wait_for_promises(100)
            shutil.rmtree(folder_of(lenient), ignore_errors=True)  # it may be made anew meanwhile
        process.wait_for_promises(100)
        process.stop()
    settle(lenient)
    verdict = judge(harmed.calls, [process])
    remark = less_what_is_counted(verdict, process)
    report("spool folder removed", times, verdict, remark)


def test_folder_removed_in_an_outage(harmed: Harmed, report: Report) -> None:
    """What the file in use held when the whole spool was removed in an outage still arrives."""
    settings = harmed.settings(strict=False)
    with harmed.frozen(), child(settings, **PACED) as process:
        process.wait_for_promises(200)
        shutil.rmtree(settings.spool_dir)
        process.wait_for_promises(200)
        harmed.server.thaw()
        process.stop()
    report("spool removed, MongoDB frozen", 1, judge(harmed.calls, [process]))
    assert process.stats["dropped"] == []


def test_read_only(harmed: Harmed, lenient: Settings, report: Report) -> None:
    """What a folder does not take that became read-only goes through memory."""
    with harmed.frozen(), child(lenient, first=scenes.without_root_powers, **PACED) as process:
        for _ in range(2):
            process.wait_for_promises(100)
            folder_of(lenient).chmod(0o500)
            process.wait_for_promises(200)
            folder_of(lenient).chmod(0o700)
        harmed.server.thaw()
        process.stop()
    report("spool folder read-only, MongoDB frozen", 2, judge(harmed.calls, [process]))
    assert process.stats["not_journaled"] > 0
    assert process.stats["dropped"] == []

"""What lies in this machine's spool, looked at without taking anything over."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from llm_audit.diagnosis.results import JournalReport
from llm_audit.journal import spool
from llm_audit.journal.segments import DAMAGED, SUFFIX
from llm_audit.settings import Settings
from llm_audit.store import rejected

IN_USE = "in use"
WAITING = "waiting"
OTHER_KERNEL = "other kernel"
OTHER_TARGET = "other target"


def examine_journals(settings: Settings) -> list[JournalReport]:
    """Report on the folder of every process, for whatever target, oldest journal first."""
    reports = [
        report
        for target in spool.folders_in(settings.spool_dir)
        for folder in spool.folders_in(target)
        if (report := _examine(folder, ours=target.name == settings.target())) is not None
    ]
    return sorted(reports, key=lambda report: -(report.age_seconds or 0.0))


def kept_aside(settings: Settings) -> tuple[list[str], list[str]]:
    """Return the files of what MongoDB refused, and of what could not be read."""
    target_folder = settings.spool_dir / settings.target()
    damaged = (target_folder / spool.REJECTED_FOLDER).glob(f"*{DAMAGED}")
    return [str(path) for path in rejected.files(target_folder)], sorted(map(str, damaged))


def _examine(folder: Path, *, ours: bool) -> JournalReport | None:
    owner = spool.look_at(folder)
    if owner is None:
        return None
    if owner.lives:
        state = IN_USE
    elif not ours:
        state = OTHER_TARGET
    else:
        state = WAITING if owner.boot_id == spool.boot_id() else OTHER_KERNEL
    report = JournalReport(
        path=str(folder),
        nonce=folder.name,
        host=owner.host,
        pid=owner.pid,
        target=owner.target,
        state=state,
    )
    oldest = None
    for name, status in _files(folder):
        if name == spool.LOCK:
            continue
        report.bytes += spool.room_bytes(status)
        if name.endswith(SUFFIX):
            report.segments += 1
            oldest = min(oldest or status.st_mtime, status.st_mtime)
    if oldest is not None:
        report.age_seconds = max(0.0, time.time() - oldest)
    return report


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files in a folder, whose owner may ship and delete them meanwhile."""
    with suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            with suppress(FileNotFoundError):
                yield path.name, path.stat()

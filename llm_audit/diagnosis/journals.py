"""What lies in this machine's spool, looked at without taking anything over."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

import bson
from bson.codec_options import DatetimeConversion

from llm_audit.diagnosis.agents import kernels_served, targets_of
from llm_audit.diagnosis.results import JournalReport
from llm_audit.errors import ConfigurationError
from llm_audit.ids import created_at
from llm_audit.journal.records import (
    DamagedRecordError,
    InvalidRecordError,
    JournalVersionError,
    Record,
)
from llm_audit.journal.segments.files import DAMAGED, first_record
from llm_audit.journal.spool import folder as spool
from llm_audit.journal.spool import looking, seen_agents
from llm_audit.journal.spool.folder import SUFFIX
from llm_audit.journal.spool.owners import Owner, boot_id
from llm_audit.journal.spool.progress import read_progress
from llm_audit.runtime import trusted, whose
from llm_audit.settings import Settings
from llm_audit.settings.fields import AGENT
from llm_audit.store.refused import waiting

IN_USE = "in use"
NO_AGENT = "no agent"
ADOPTED = "adopted"
WAITING = "waiting"
OTHER_KERNEL = "other kernel"
OTHER_TARGET = "other target"
_NO_RECORD = (
    *(OSError, DamagedRecordError, InvalidRecordError, JournalVersionError),
    *(bson.errors.BSONError, AttributeError, OverflowError),  # of what is no date
)
_DATES: "bson.CodecOptions[dict[str, Any]]" = bson.CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)


def examine_journals(settings: Settings) -> list[JournalReport]:
    """Report on the folder of every process, for whatever target, oldest journal first."""
    ours = targets_of(settings)
    served: dict[Path, frozenset[str]] = {}
    reports = []
    for folder in looking.folders_of_all(settings.spool_dir):
        target = folder.parent
        if target not in served:
            served[target] = kernels_served(target, settings)
        report = _examine(folder, ours=target.name in ours, served=served[target])
        if report is not None:
            reports.append(report)
    return sorted(reports, key=lambda report: -(report.age_seconds or 0.0))


def unreadable_in(settings: Settings) -> list[str]:
    """Return the folders in the spool that this user may not look into: they may hold anything."""
    targets = looking.folders_in(settings.spool_dir, own=0)
    folders = looking.folders_of_all(settings.spool_dir)
    return [str(path) for path in (settings.spool_dir, *targets, *folders) if not _may_look(path)]


def doubtful_in(settings: Settings) -> dict[str, str]:
    """Return what in the spool, or on the way to it, may be somebody else's, and why."""
    spool_dir = settings.spool_dir
    doubts = looking.doubts_in(spool_dir, own=0)
    targets = looking.folders_in(spool_dir, own=0)
    for target in targets:
        doubts |= looking.doubts_in(target) | dict(seen_agents.doubts_in(target))
    rejected_folders = (spool.rejected_in(target) for target in targets)
    for folder in chain(rejected_folders, looking.folders_of_all(spool_dir)):
        doubts |= looking.doubts_among_files(folder)
    return {str(path): why for path, why in doubts.items()}


def check_spool(settings: Settings) -> None:
    """Look whether this user may ship what lies in the spool at all.

    Raises:
        ConfigurationError: It is another user's, or others may write there; the fix is named.
    """
    try:
        with trusted.folder(settings.spool_dir / settings.target(), own=1):
            return
    except trusted.DoubtfulError as error:
        if settings.spool_group is not None:  # what is wrong there has its own fix
            raise ConfigurationError(f"{error.strerror}: nothing there is touched.") from None
        owner = trusted.owner_of(error.path)
        fix = (
            "see llm-audit doctor"
            if owner is None
            else f"ship it as that user, e.g. sudo -u {owner} llm-audit spool drain"
        )
        raise ConfigurationError(f"{error.strerror}: nothing there is touched; {fix}.") from None
    except OSError:
        return  # there is nothing to ship, or it is said elsewhere why it cannot be


def _may_look(folder: Path) -> bool:
    """Tell whether this user may look into a folder and at its lock, or there is none."""
    of_lock = os.R_OK | (os.W_OK if whose.group_of(folder) is None else 0)
    for path, rights in ((folder, os.R_OK | os.X_OK), (folder / spool.LOCK, of_lock)):
        try:
            path.stat()
        except PermissionError:
            return False
        except OSError:
            continue
        if not os.access(path, rights, effective_ids=True):
            return False
    return True


def kept_aside(settings: Settings) -> tuple[list[str], list[str]]:
    """Return the files of what MongoDB refused, and of what could not be read."""
    refused, damaged = [], []
    for target_folder in (settings.spool_dir / name for name in targets_of(settings)):
        rejected_folder = spool.rejected_in(target_folder)
        try:
            with trusted.folder(rejected_folder) as here:
                names = sorted(name for name, _ in islice(trusted.entries(here), spool.ENTRIES_MAX))
        except OSError:  # there is none, or it is `unreadable_in` the spool, or doubtful
            continue
        refused += [str(path) for path in waiting.files(target_folder)]
        damaged += [str(rejected_folder / name) for name in names if name.endswith(DAMAGED)]
    return refused, damaged


def _examine(folder: Path, *, ours: bool, served: frozenset[str]) -> JournalReport | None:
    """Report on a process's folder.

    Args:
        folder: It.
        ours: Whether what is in it goes where the settings say.
        served: The boot ids of the kernels for which an agent serves its target.
    """
    owner = looking.look_at(folder)
    if owner is None:
        return None
    report = JournalReport(
        path=str(folder),
        nonce=folder.name,
        host=owner.host,
        pid=owner.pid,
        service=owner.service,
        shipper=owner.shipper,
        target=owner.target,
        state=_state(owner, ours=ours, served=served),
        ours=ours,
    )
    oldest = None
    segments = []
    for name, status in _files(folder):
        if name == spool.LOCK:
            continue
        report.bytes += spool.room_bytes(status)
        if name.endswith(SUFFIX):
            segments.append((folder / name, status.st_size))
            oldest = min(oldest or status.st_mtime, status.st_mtime)
    report.segments = len(segments)
    segments.sort()
    if oldest is not None:
        report.age_seconds = max(0.0, time.time() - oldest)
    if owner.shipper == AGENT:
        _see_what_waits(report, folder, segments)
    elif owner.lives:
        report.oldest_seconds = _oldest_seconds([path for path, _ in segments])
    return report


def _state(owner: Owner, *, ours: bool, served: frozenset[str]) -> str:
    here = owner.boot_id == boot_id()
    if owner.lives:
        if owner.has_ended():
            return ADOPTED
        return NO_AGENT if owner.shipper == AGENT and owner.boot_id not in served else IN_USE
    if owner.shipper == AGENT and not here and owner.boot_id in served:
        return IN_USE  # its lock tells nothing here, but its agent lives, and knows
    if not ours:
        return OTHER_TARGET
    return WAITING if here else OTHER_KERNEL


def _see_what_waits(report: JournalReport, folder: Path, segments: list[tuple[Path, int]]) -> None:
    """Find what an agent is not known to have shipped; a segment stays until it is through."""
    through = read_progress(folder).through
    report.waiting_bytes = 0
    for path, size in segments:
        with suppress(*_NO_RECORD):
            found = first_record(path, after=through)
            if found is not None:
                offset, record = found
                report.waiting_bytes += max(0, size - offset)
                if report.oldest_seconds is None:
                    report.oldest_seconds = _age_of(record, path)


def _oldest_seconds(segments: list[Path]) -> float | None:
    """Return for how long the oldest record has been there; a file's date is its newest one's."""
    for path in segments:
        with suppress(*_NO_RECORD):
            found = first_record(path)
            if found is not None:
                return _age_of(found[1], path)
    return None


def _age_of(record: Record, path: Path) -> float | None:
    with suppress(*_NO_RECORD):
        began = bson.decode(record.doc, _DATES).get("completed_at") or created_at(record.id)
        at = began.timestamp() if began else path.stat().st_mtime
        return max(0.0, time.time() - at)
    return None


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files in a folder, whose owner may ship and delete them meanwhile."""
    with suppress(OSError), trusted.folder(folder) as here:
        yield from islice(trusted.entries(here), spool.ENTRIES_MAX)

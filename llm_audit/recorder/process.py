"""This process's recorder: made at the first call, anew in a forked child, flushed at the end."""

import atexit
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import bson
from bson.raw_bson import RawBSONDocument

from llm_audit.call import SCHEMA_VERSION
from llm_audit.encoding.encode import Blob, encode_carefully, encode_plain
from llm_audit.errors import ConfigurationError, log_once
from llm_audit.journal import spool
from llm_audit.journal.blob_files import missing_bytes, write_blobs
from llm_audit.journal.operations import (
    OUTCOME_MAX_BYTES,
    START_MAX_BYTES,
    without_content,
)
from llm_audit.journal.records import START, record_fields
from llm_audit.journal.writer import DISK_REFUSED, QUOTA, Journal, JournalClosedError
from llm_audit.recorder import open_calls
from llm_audit.recorder.shipper import FlushResult, Shipper
from llm_audit.settings import Settings, get_settings

LEFT_BEHIND_POLL_SECONDS = 0.1


class Recorder:
    """One process's journal with the thread that ships it.

    Args:
        settings: In force for its whole life; a change of settings makes a new recorder.

    Raises:
        ConfigurationError: In strict mode, if the spool cannot be written.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ended_twice = 0
        self.first_call_id: str | None = None
        nonce = str(uuid4())
        self.path = settings.spool_dir / settings.target() / nonce
        self._folder = spool.ProcessFolder(self.path, target_name=settings.target_name())
        _make(self._folder, settings)
        self.journal = Journal(
            self.path,
            settings.segment_max_bytes,
            settings.spool_max_bytes,
            self._folder.ensure,
        )
        self.shipper = Shipper(settings, self.journal, self._folder, self.stats)
        self.shipper.start()
        constants = {
            "schema_version": SCHEMA_VERSION,
            "environment": settings.environment,
            "service": settings.service,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_nonce": nonce,
        }
        self.constants = {name: value for name, value in constants.items() if value is not None}

    def stop(self, timeout_seconds: float) -> FlushResult:
        """Flush and end the thread, which leaves the folder, or nothing if all has arrived."""
        deadline = time.monotonic() + timeout_seconds
        self.journal.close()
        result = self.shipper.flush(timeout_seconds)
        self.shipper.verdicts.wait(deadline - time.monotonic())
        self.shipper.stop(max(0.0, deadline - time.monotonic()))
        if not result and os.path.exists(self.path):  # noqa: PTH110  (it may be out of our reach)
            _Home.left_behind[self.path] = result.unacknowledged_operations
        return result

    def forget(self) -> None:
        """Close inherited descriptors in a forked child; its parent goes on recording."""
        self.journal.forget()
        self.shipper.recovery.forget()
        self._folder.forget()

    def stats(self) -> dict[str, Any]:
        """Return how many operations were recorded, and what became of them."""
        shipper, journal = self.shipper, self.journal
        unfinished = shipper.backlog.unfinished
        age_seconds = time.monotonic() - unfinished[0].began if unfinished else 0.0
        return {
            "recorded": journal.last_seq,
            "acked_through": shipper.acknowledged.through,
            "backlog_bytes": sum(segment.end for segment in unfinished),
            "backlog_age_seconds": round(age_seconds, 3),
            "not_journaled": journal.not_journaled,
            "ended_twice": self.ended_twice,
            "superseded": shipper.delivery.superseded,
            "closed_for_the_dead": shipper.closing.closed,
            "rejected": shipper.delivery.rejected.entries(),
            "dropped": journal.losses.entries(),
        }

    def record(
        self, op: str, call_id: str, key: int, fields: dict[str, Any], notes: Sequence[str]
    ) -> None:
        """Encode an operation once and journal it; it is on disk when this returns.

        Args:
            op: START; OWN, if this process holds the call open and ends it for the first time;
                else OTHER.
            call_id: The call.
            key: The outcome's precedence; 0 for a start.
            fields: The operation's fields.
            notes: What was changed in them before.
        """
        if self.first_call_id is None:
            self.first_call_id = call_id
        max_bytes = START_MAX_BYTES if op == START else OUTCOME_MAX_BYTES
        media_limit_bytes = self.settings.media_limit_bytes
        given = fields, notes
        lost = self.journal.full
        if lost is not None:
            fields, note = without_content(fields, f"dropped: {lost}")
            notes = (*notes, note)
        record = encode_plain(
            record_fields(op, call_id, key, fields, notes=notes), max_bytes, media_limit_bytes
        )
        if record is None:
            encoded = encode_carefully(fields, max_bytes, media_limit_bytes)
            doc = RawBSONDocument(encoded.raw)
            names, media_lost = self._write_blobs(encoded.blobs)
            notes = (*notes, *encoded.notes)
            if media_lost is not None:
                notes = (*notes, f"what moved to GridFS is lost: {media_lost} in the spool")
            lost = lost or media_lost
            record = bson.encode(record_fields(op, call_id, key, doc, notes=notes, blobs=names))
        try:
            self.journal.append(record, call_id, lost)
        except JournalClosedError:  # stopped a moment ago by another thread
            successor = recorder()
            fields, notes = given
            if op == START:  # whoever adopts a journal closes the calls of the nonce it is named by
                fields = fields | {"process_nonce": successor.constants["process_nonce"]}
            successor.record(op, call_id, key, fields, notes)

    def _write_blobs(self, blobs: Sequence[Blob]) -> tuple[list[str], str | None]:
        """Write blobs to the spool; return their names, or why they are lost."""
        try:
            if not blobs or self.journal.take_room(missing_bytes(self.journal.folder, blobs)):
                return write_blobs(self.journal.folder, blobs), None
        except OSError as error:
            return [], str(error.strerror)
        return [], QUOTA


class _Home:
    """The one place where this process's recorder lives."""

    recorder: Recorder | None = None
    left_behind: ClassVar[dict[Path, int]] = {}  # how much earlier recorders could not deliver
    lock = threading.RLock()
    # Kept, never used: the garbage collector must not close what belongs to the parent.
    inherited: Recorder | None = None
    stopping: ClassVar[list[threading.Thread]] = []


def recorder() -> Recorder:
    """Return this process's recorder for the settings in force, made if there is none.

    Raises:
        ConfigurationError: In strict mode, if the spool cannot be written.
    """
    current = _Home.recorder
    if current is not None and current.settings is get_settings():
        return current
    with _Home.lock:
        settings = get_settings()
        current = _Home.recorder
        if current is None or current.settings is not settings:
            outdated, current = current, Recorder(settings)
            _Home.recorder = current
            if outdated is not None:
                _stop_aside(outdated)
        return current


def running() -> Recorder | None:
    """Return this process's recorder, if it has recorded anything."""
    return _Home.recorder


def recover(timeout_seconds: float) -> bool:
    """Have what dead processes left here finished; return whether it was within the time."""
    began = time.monotonic()
    shipper = recorder().shipper
    shipper.wake()
    while not shipper.dead_left_nothing(began):
        if time.monotonic() - began >= timeout_seconds:
            return False
        time.sleep(LEFT_BEHIND_POLL_SECONDS)
    return True


def flush(timeout_seconds: float, call_id: str | None = None) -> FlushResult:
    """Wait until MongoDB has acknowledged what this process recorded, under whatever settings.

    Args:
        timeout_seconds: How long at the most.
        call_id: Only this call and what was recorded with it matter.
    """
    deadline = time.monotonic() + timeout_seconds
    current = _Home.recorder
    result = current.shipper.flush(timeout_seconds) if current else FlushResult(0)
    # ids are in the order of time
    if call_id and current and current.first_call_id and call_id >= current.first_call_id:
        return result
    return _with_left_behind(result, deadline)


def stop(timeout_seconds: float | None = None) -> FlushResult:
    """Flush and stop this process's recorder; the next call makes a new one."""
    if timeout_seconds is None:
        timeout_seconds = get_settings().exit_timeout_seconds
    deadline = time.monotonic() + timeout_seconds
    _with_left_behind(FlushResult(0), deadline)  # as long as there is somebody to ship it
    with _Home.lock:
        current, _Home.recorder = _Home.recorder, None
    left = max(0.0, deadline - time.monotonic())
    result = current.stop(left) if current else FlushResult(0)
    if current and current.path in _Home.left_behind:
        result = FlushResult(0, result.reason)  # counted there
    return _with_left_behind(result, deadline)


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """Forget for the length of the block what earlier recorders could not deliver."""
    before, _Home.left_behind = _Home.left_behind, {}
    try:
        yield
    finally:
        _Home.left_behind = before


def _with_left_behind(result: FlushResult, deadline: float) -> FlushResult:
    """Add what earlier recorders of this process have left in journals that nobody shipped yet."""
    for thread in tuple(_Home.stopping):
        thread.join(max(0.0, deadline - time.monotonic()))
    _Home.stopping[:] = [thread for thread in _Home.stopping if thread.is_alive()]
    current = _Home.recorder
    while _Home.left_behind:
        for folder in tuple(_Home.left_behind):
            if not os.path.exists(folder):  # noqa: PTH110
                _Home.left_behind.pop(folder, None)
        ours = current and any(
            current.path.parent == folder.parent for folder in tuple(_Home.left_behind)
        )
        if current is None or not ours or time.monotonic() > deadline:
            break
        current.shipper.wake()  # it ships them like those of any dead process
        time.sleep(LEFT_BEHIND_POLL_SECONDS)
    if not _Home.left_behind:
        return result
    left = sum(tuple(_Home.left_behind.values()))
    reason = result.reason or f"the journal in {next(iter(_Home.left_behind))} waits"
    return FlushResult(result.unacknowledged_operations + left, reason)


def _stop_aside(stopped: Recorder) -> None:
    """Stop a recorder whose settings are no longer in force, without making the caller wait."""
    thread = threading.Thread(
        target=stopped.stop,
        args=(stopped.settings.exit_timeout_seconds,),
        name="llm-audit-stop",
        daemon=True,
    )
    _Home.stopping.append(thread)
    thread.start()


def _make(folder: spool.ProcessFolder, settings: Settings) -> None:
    try:
        folder.ensure()
    except OSError as error:
        message = (
            f"spool_dir {settings.spool_dir} cannot be written ({error.strerror}): give this "
            "process a writable folder on a local disk through llm_audit.configure(spool_dir=...) "
            "or LLM_AUDIT_SPOOL_DIR."
        )
        if settings.strict:
            raise ConfigurationError(message) from None
        log_once(
            f"{message} Until then calls are kept in memory only.",
            level=logging.ERROR,
            key=DISK_REFUSED,
        )


def _after_fork_in_child() -> None:
    open_calls.forget_open_calls()
    spool.forget_held()
    _Home.lock = threading.RLock()
    _Home.stopping.clear()
    _Home.left_behind.clear()
    current, _Home.recorder = _Home.recorder, None
    if current is not None:
        _Home.inherited = current
        current.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(stop)

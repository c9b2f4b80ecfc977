"""This process's recorder: made at the first call, anew in a forked child, flushed at the end."""

import atexit
import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar
from uuid import uuid4

import bson
from bson.raw_bson import RawBSONDocument

from llm_audit.call import SCHEMA_VERSION
from llm_audit.errors import ConfigurationError, log_once
from llm_audit.recorder import open_calls, spool
from llm_audit.recorder.blobs import write_blobs
from llm_audit.recorder.encode import Blob, encode, encode_plain
from llm_audit.recorder.journal import (
    DISK_REFUSED,
    START,
    Journal,
    JournalClosedError,
    record_fields,
)
from llm_audit.recorder.shipper import FlushResult, Shipper
from llm_audit.settings import Settings, get_settings

START_MAX_BYTES = 10 * 2**20
OUTCOME_MAX_BYTES = 4 * 2**20


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
        target_folder = settings.spool_dir / settings.target()
        self._folder = _create_folder(settings)
        nonce = self._folder.nonce if self._folder else str(uuid4())
        self._journal = Journal(
            self._folder.path if self._folder else target_folder / nonce,
            settings.segment_max_bytes,
        )
        self.shipper = Shipper(settings, self._journal, self._folder, target_folder, nonce)
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
        """Flush and end the thread, and clear the folder if nothing is left in it."""
        deadline = time.monotonic() + timeout_seconds
        self._journal.close()
        result = self.shipper.flush(timeout_seconds)
        self.shipper.stop(max(0.0, deadline - time.monotonic()))
        # While calls begun here are open, the lock says that their process lives; it is freed, and
        # the folder found by another process, when this one ends.
        if self._folder is not None and not open_calls.open_calls.unended(None):
            if result and self.shipper.backlog.empty:
                self._folder.remove()
            else:
                self._folder.release()
        return result

    def forget(self) -> None:
        """Close inherited descriptors in a forked child; its parent goes on recording."""
        self._journal.forget()
        self.shipper.recovery.forget()
        if self._folder is not None:
            self._folder.forget()

    def stats(self) -> Mapping[str, int]:
        """Return how many operations were recorded, and what became of them."""
        shipper, journal = self.shipper, self._journal
        return {
            "recorded": journal.last_seq,
            "acknowledged": shipper.acknowledged_through,
            "ended_twice": self.ended_twice,
            "superseded": shipper.delivery.superseded,
            "rejected": shipper.delivery.rejected.total(),
            "not_journaled": journal.not_journaled,
            "dropped": journal.dropped + shipper.delivery.dropped,
            "closed_for_the_dead": shipper.recovery.closed,
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
        max_bytes = START_MAX_BYTES if op == START else OUTCOME_MAX_BYTES
        media_limit_bytes = self.settings.media_limit_bytes
        record = encode_plain(
            record_fields(op, call_id, key, fields, notes=notes), max_bytes, media_limit_bytes
        )
        if record is None:
            encoded = encode(fields, max_bytes, media_limit_bytes)
            doc = RawBSONDocument(encoded.raw)
            names, lost = self._write_blobs(encoded.blobs)
            notes = (*notes, *encoded.notes, *lost)
            record = bson.encode(record_fields(op, call_id, key, doc, notes=notes, blobs=names))
        try:
            self._journal.append(record)
        except JournalClosedError:  # stopped a moment ago by another thread
            recorder().record(op, call_id, key, fields, notes)

    def _write_blobs(self, blobs: Iterable[Blob]) -> tuple[list[str], list[str]]:
        """Write blobs to the spool; return their names, and a note if they are lost."""
        try:
            return write_blobs(self._journal.folder, blobs), []
        except OSError as error:
            log_once(f"Media of a call could not be written to the spool ({error.strerror}).")
            return [], [f"what moved to GridFS is lost: {error.strerror} in the spool"]


class _Home:
    """The one place where this process's recorder lives."""

    recorder: Recorder | None = None
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


def stop(timeout_seconds: float | None = None) -> FlushResult:
    """Flush and stop this process's recorder; the next call makes a new one."""
    with _Home.lock:
        current, _Home.recorder = _Home.recorder, None
    if timeout_seconds is None:
        timeout_seconds = get_settings().exit_timeout_seconds
    deadline = time.monotonic() + timeout_seconds
    while _Home.stopping:
        _Home.stopping.pop().join(max(0.0, deadline - time.monotonic()))
    if current is None:
        return FlushResult(0)
    return current.stop(max(0.0, deadline - time.monotonic()))


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


def _create_folder(settings: Settings) -> spool.ProcessFolder | None:
    try:
        return spool.create_process_folder(settings.spool_dir / settings.target())
    except OSError as error:
        message = (
            f"spool_dir {settings.spool_dir} cannot be written ({error.strerror}): give this "
            "process a writable folder on a local disk through llm_audit.configure(spool_dir=...) "
            "or LLM_AUDIT_SPOOL_DIR."
        )
        if settings.strict:
            raise ConfigurationError(message) from None
        log_once(
            f"{message} Until this process starts anew, calls are kept in memory only.",
            level=logging.ERROR,
            key=DISK_REFUSED,
        )
        return None


def _after_fork_in_child() -> None:
    open_calls.forget_open_calls()
    spool.forget_held()
    _Home.lock = threading.RLock()
    _Home.stopping.clear()
    current, _Home.recorder = _Home.recorder, None
    if current is not None:
        _Home.inherited = current
        current.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(stop)

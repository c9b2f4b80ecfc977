"""What records: one journal, its way out, and the calls that go into it."""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from llm_audit import gate
from llm_audit.call import SCHEMA_VERSION
from llm_audit.context.faults import ContextFaults
from llm_audit.encoding.notes import Notes
from llm_audit.errors import ConfigurationError, let_through, log, log_once
from llm_audit.journal.complaints import DISK_REFUSED, UNTIL_THEN
from llm_audit.journal.precedence import Rank, outcome_key
from llm_audit.journal.records import STARTS, VERDICT
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.journal.writer import Journal
from llm_audit.recorder.calls import Calls
from llm_audit.recorder.captured import Captured, captured_stats
from llm_audit.recorder.content import ContentPolicy
from llm_audit.recorder.journaling import Journaling
from llm_audit.recorder.open_calls import OpenCall, OpenCalls, Origin
from llm_audit.recorder.shipping.acknowledged import FlushResult
from llm_audit.recorder.way_out import way_out
from llm_audit.redaction.apply import Redaction
from llm_audit.runtime import clock, whose
from llm_audit.runtime.trusted import DoubtfulError
from llm_audit.settings import Settings

# In the lock file, for whoever ships; or for people.
_SAID = ("shipper", "service", "environment", "retention_days")


class Recorder:
    """One process's journal with its way out.

    Args:
        settings: In force for its whole life.
        open_calls: The calls of this process, which outlive a recorder that is stopped.
        successor: Returns who records from now on, once this one is stopped: where some settings
            say or, given none, whatever begins now.

    Raises:
        ConfigurationError: In strict mode, if the spool cannot be written.
    """

    def __init__(
        self,
        settings: Settings,
        open_calls: OpenCalls,
        successor: Callable[[Settings | None], "Recorder"],
    ) -> None:
        self.settings = settings
        self._successor = successor
        nonce = whose.named(str(uuid4()), settings.spool_dir)
        self.origin = Origin(settings, nonce)
        self.path = settings.spool_dir / settings.target() / nonce
        said = {name: getattr(settings, name) for name in _SAID}
        self._folder = ProcessFolder(self.path, target_name=settings.target_name(), said=said)
        _make(self._folder, settings)
        self.journal = Journal(
            self.path,
            settings.segment_max_bytes,
            settings.spool_max_bytes,
            self._folder.ensure,
        )
        self.redaction = Redaction(settings)
        self.constants = _constants(settings, nonce)
        self.shipper = way_out(settings, self.journal, self._folder, open_calls, self.stats)
        journaling = Journaling(
            *(settings, self.redaction, self.journal, self.constants, self._hand_on),
            look=self.shipper.look,
        )
        self.record, self.reads_ends_later = journaling.record, journaling.reads_ends_later
        self._content = ContentPolicy(settings, open_calls)
        self.calls = Calls(self.origin, self.constants, open_calls, self._content, self.record)
        self._captured = Captured.counts
        self.shipper.start()

    def pass_verdict(self, attempt_id: str, fields: dict[str, Any]) -> None:
        """Journal how an attempt of a task ended, and look soon at what its process has left.

        Args:
            attempt_id: The attempt.
            fields: How the calls end that it left open, and of which task it is.
        """
        now = datetime.now(UTC)
        key = outcome_key(Rank.MAIN_PROCESS, now.timestamp())
        fields = {**fields, "completed_at": now, "outcome_key": key}
        if not self._content.is_full:
            fields = self._content.of_end(None, fields)
        self.record(VERDICT, attempt_id, key, fields, ())
        self.shipper.expect_death()

    def stop(self, timeout_seconds: float, *, waits: bool = True) -> FlushResult:
        """Deliver, and leave the folder to others, or nothing if all has arrived.

        Args:
            timeout_seconds: How long it may take.
            waits: As of `WayOut.deliver`.
        """
        deadline = clock.monotonic() + timeout_seconds
        self.journal.close()
        self.journal.save_memory()
        result = self.shipper.deliver(timeout_seconds, waits=waits)
        if not result:
            self.journal.save_memory()  # as late as can be: the disk may take it by now
            self._folder.note_end()
        lost = self.shipper.stop(max(0.0, deadline - clock.monotonic()))
        if not lost:
            return result
        log(
            logging.ERROR,
            "%s operations are lost: they were in memory only, because spool_dir cannot be "
            "written, and MongoDB did not acknowledge them in time (%s).",
            lost,
            result.reason,
        )
        reason = f"{result.reason}; {lost} operations were in memory only, and are lost"
        return FlushResult(result.unacknowledged_operations, reason)

    def forget(self) -> None:
        """Close inherited descriptors in a forked child; its parent goes on recording."""
        self.shipper.forget()
        self.journal.forget()
        self._folder.forget()

    def stats(self) -> dict[str, Any]:
        """Return how many operations were recorded, and what became of them."""
        journal = self.journal
        begun = journal.begun  # first: at least so many of those recorded
        return {
            "recorded": journal.last_seq,
            "begun": begun,
            "not_journaled": journal.not_journaled,
            "ended_twice": self.calls.ended_twice,
            **self.shipper.stats(),
            **captured_stats(self._captured),
            **self._content.stats(),
            **({"context_faults": ContextFaults.count} if ContextFaults.count else {}),
        }

    def _hand_on(
        self,
        op: str,
        call_id: str,
        key: int,
        fields: dict[str, Any],
        notes: Sequence[str],
        *,
        of: OpenCall | None,
        doubtful: bool,
    ) -> None:
        """Have an operation recorded by whoever takes the place of this one. As of `record`."""
        successor = self._successor(None if op in STARTS else self.settings)
        if op in STARTS and of is not None and not (of.over or of.unfinished):
            # whoever adopts a journal closes the calls of the nonce it is named by; one that was
            # ended meanwhile, as this recorder was stopped, keeps the nonce that its end has
            fields = fields | {"process_nonce": successor.constants["process_nonce"]}
            of.origin = successor.origin
        elif of is not None:
            fields = fields | {"process_nonce": self.calls.nonce_of(of)}
        successor.record(op, call_id, key, fields, notes, of=of, doubtful=doubtful)


def _constants(settings: Settings, nonce: str) -> dict[str, Any]:
    """Return the fields that are the same for each call of a process."""
    constants = {
        "schema_version": SCHEMA_VERSION,
        "environment": settings.environment,
        "service": settings.service,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_nonce": nonce,
    }
    found = {name: value for name, value in constants.items() if value is not None}
    gate.fit(found, Notes())
    return found


def _make(folder: ProcessFolder, settings: Settings) -> None:
    try:
        folder.ensure()
    except OSError as error:
        let_through(error)
        why = f"cannot be written ({error.strerror})"
        if isinstance(error, DoubtfulError):
            why = f"is not safe: {error.strerror}"
        message = (
            f"spool_dir {settings.spool_dir} {why}. Give this process a folder of its own on a "
            "local disk through llm_audit.configure(spool_dir=...) or LLM_AUDIT_SPOOL_DIR."
        )
        if settings.spool_group is not None:
            message = (
                f"spool_dir {settings.spool_dir} {why}. To share it in spool_group: "
                f"install -d -m 2770 -g {settings.spool_group} {settings.spool_dir} as root."
            )
        if settings.strict:
            raise ConfigurationError(message) from None
        log_once(
            f"{message} {UNTIL_THEN}",
            level=logging.ERROR,
            key=DISK_REFUSED,
        )

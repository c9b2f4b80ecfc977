"""What a test recorded, read from the journal that the recorder wrote; no server is asked."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, overload

import bson
import pytest

from llm_audit.call import CallFields, LLMCallStatusEnum
from llm_audit.encoding.reading import READ_OPTIONS
from llm_audit.ids import created_at
from llm_audit.journal.blob_files import sha256_of
from llm_audit.journal.records import LATER, START, VERDICT, Record
from llm_audit.journal.segments.found import find_segments
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.journal.statements.retention import Retention
from llm_audit.journal.writer import Journal
from llm_audit.recorder import recorder
from llm_audit.recorder.captured import end_dropped
from llm_audit.recorder.open_calls import OpenCalls
from llm_audit.recorder.shipping.acknowledged import FlushResult
from llm_audit.recorder.shipping.shipper import Shipper
from llm_audit.settings import Settings, get_settings
from llm_audit.testing.isolation import isolated

UNREACHABLE_URL = "mongodb://llm-audit-records.invalid"  # RFC 6761: no name server knows it
READ_BYTES = 2**20


class RecordedCall(CallFields):
    """A call as a test recorded it: the fields of `LLMCall`, without a database."""

    id: str


class RecordedCalls(Sequence[RecordedCall]):
    """The calls that a test has recorded so far, in the order in which they started.

    Every look at it reads the journal anew. It equals a list of the same calls.

    Args:
        spool_dir: Where this process and those that it starts record.
    """

    def __init__(self, spool_dir: Path) -> None:
        self._spool_dir = spool_dir
        self.folders: set[Path] = set()

    @overload
    def __getitem__(self, index: int) -> RecordedCall: ...
    @overload
    def __getitem__(self, index: slice) -> list[RecordedCall]: ...
    def __getitem__(self, index: int | slice) -> RecordedCall | list[RecordedCall]:
        return self._read()[index]

    def __iter__(self) -> Iterator[RecordedCall]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, list | RecordedCalls):
            return self._read() == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Show what tells one call from another, which is what a failed assertion prints."""
        calls = [f"{call.call_type} {call.model} {call.status}" for call in self]
        return f"<{len(calls)} recorded calls: {', '.join(calls) or 'none'}>"

    def _read(self) -> list[RecordedCall]:
        end_dropped()  # as the shipper would, which does not run here
        folders = self.folders | set(self._spool_dir.glob("*/*-*"))
        return merged(record for folder in sorted(folders) for record in _records(folder))


@contextmanager
def recorded_nowhere(spool_dir: Path) -> Iterator[RecordedCalls]:
    """Record into a spool that nobody ships for the length of the block.

    Args:
        spool_dir: An empty folder.

    Yields:
        What is recorded in the block.
    """
    calls = RecordedCalls(spool_dir)

    def unshipped(
        settings: Settings,
        journal: Journal,
        folder: ProcessFolder,
        open_calls: OpenCalls,
        stats: Callable[[], Mapping[str, Any]],
    ) -> Shipper:
        calls.folders.add(folder.path)  # the program may configure another spool
        return _Unshipped(settings, journal, folder, open_calls, stats)

    # the environment: other processes of the test have a shipper, which finds nobody
    nowhere = {"mongo_url": UNREACHABLE_URL, "exit_timeout_seconds": 0.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "way_out", unshipped)  # until the last recorder has stopped
        with isolated(spool_dir, 0, **nowhere):
            yield calls


def merged(records: Iterable[Record]) -> list[RecordedCall]:
    """Return the calls that records make, as MongoDB would hold them, in the order of their ids.

    Args:
        records: In any order.
    """
    retention_days = get_settings().retention_days
    calls: dict[str, dict[str, Any]] = {}
    outcomes: dict[str, tuple[int, dict[str, Any]]] = {}
    later: list[tuple[Record, dict[str, Any]]] = []
    for record in records:
        if record.op == VERDICT:  # about calls of other processes
            continue
        call = calls.setdefault(record.id, _empty(record.id, retention_days))
        call["encoding_notes"] |= dict.fromkeys(record.notes)
        call["media"] |= dict.fromkeys(map(sha256_of, record.blobs))
        for rule, count in record.redacted.items():
            call["redacted"][rule] = max(count, call["redacted"].get(rule, 0))
        fields = bson.decode(record.doc, READ_OPTIONS)
        if record.op == START:
            call |= fields
        elif record.op == LATER:
            later.append((record, fields))
        elif record.key > outcomes.get(record.id, (-1, {}))[0]:
            outcomes[record.id] = (record.key, fields)
    for call_id, (_, outcome) in outcomes.items():
        calls[call_id] |= outcome
    for record, said in sorted(later, key=lambda one: one[0].key):
        _add_later(calls[record.id], said, record.key)
    return [
        RecordedCall(**call | {name: list(call[name]) for name in ("encoding_notes", "media")})
        for _, call in sorted(calls.items())
    ]


def _add_later(call: dict[str, Any], said: dict[str, Any], key: int) -> None:
    """Add what is said of a call later to what it has: the same as `journal.later` in MongoDB."""
    tags, more = call.get("tags", []), said.get("tags", [])
    if not {*more} <= {*tags}:
        call["tags"] = sorted({*tags, *more})
    if metadata := said.get("metadata"):
        call["metadata"] = call.get("metadata", {}) | metadata
        known = [one for one in call.get("annotations", []) if one["name"] not in metadata]
        call["annotations"] = known + [{"name": name, "key": key} for name in sorted(metadata)]
    for score in said.get("scores", []):
        who = [score.get(name) for name in ("name", "source")]
        others = (
            other
            for other in call.get("scores", [])
            if [other.get(name) for name in ("name", "source")] != who
        )
        call["scores"] = [*others, score]


def _empty(call_id: str, retention_days: float | None) -> dict[str, Any]:
    return {
        "id": call_id,
        "status": LLMCallStatusEnum.PENDING,
        "created_at": created_at(call_id),
        "expires_at": Retention(retention_days, lambda _: datetime.now(UTC)).expires_at(call_id),
        "encoding_notes": {},
        "redacted": {},
        "media": {},
    }


def _records(folder: Path) -> Iterator[Record]:
    for segment in find_segments(folder):
        while segment.read < segment.end:
            yield from segment.read_on(READ_BYTES)


class _Unshipped(Shipper):
    """Leaves the journal where it is, and keeps nobody waiting for a server that is not there."""

    def start(self) -> None:
        """Start no thread and open no connection."""
        self.acknowledged.end()

    def recover(self, timeout_seconds: float) -> bool:  # noqa: ARG002
        """Say that nobody left anything: the folder is this test's alone."""
        return True

    def flush(self, timeout_seconds: float) -> FlushResult:  # noqa: ARG002
        """Say that all has arrived, as it would have by now."""
        return FlushResult(0)

"""How far a backlog reads ahead."""

from collections import deque
from pathlib import Path

import bson

from llm_audit.recorder import backlog
from llm_audit.recorder.backlog import Backlog
from llm_audit.recorder.journal import START, Segment, record_fields


def test_reading_ahead_is_bounded(tmp_path: Path) -> None:
    """However many starts wait for their outcome, only a window of them is held in memory."""
    path = tmp_path / "00000001.bson"
    record = bson.encode(record_fields(START, "call", 0, {"system_prompt": "x" * 2**20}))
    path.write_bytes(record * 64)
    held = Backlog(
        deque([Segment(path, end=len(record) * 64, open=False)]),
        pending_after_seconds=3600,
        batch_size=500,
    )

    batch = held.next_batch(everything=False)

    read = 64 - held.unread_bytes // len(record)
    assert batch is not None
    assert read * len(record) <= 2 * backlog.WINDOW_MAX_BYTES

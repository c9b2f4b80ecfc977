"""Handlers of the program's own that record what they are given."""

import logging
import threading
from pathlib import Path

import pytest
from waiting import PATIENCE, Calls, Recording

import llm_audit
from llm_audit import LLMLogger

OURS = logging.getLogger("llm_audit")
complaining = threading.Event()


class AsksAModel(logging.Handler):
    """Asks a model about what the app logs; as every handler it holds its lock meanwhile."""

    asking = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Record a call, once another thread of ours is just about to log."""
        if record.name == "app":
            self.asking.set()
            assert complaining.wait(PATIENCE)
            LLMLogger.start(model="m", messages=[])


def note(_: logging.LogRecord) -> bool:
    complaining.set()
    return True


def test_a_recorder_that_has_to_complain_does_so_without_a_lock(
    recording: Recording, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would wait for the handler, and the handler for it, for ever."""
    (tmp_path / "file").touch()
    recording(strict=False, spool_dir=tmp_path / "file" / "spool")
    handler = AsksAModel()
    monkeypatch.setattr(logging.root, "handlers", [*logging.root.handlers, handler])
    monkeypatch.setattr(OURS, "filters", [note])

    app = threading.Thread(target=logging.getLogger("app").warning, args=["said"], daemon=True)
    one = {"model": "m", "messages": []}
    ours = threading.Thread(target=LLMLogger.start, kwargs=one, daemon=True)
    app.start()
    assert handler.asking.wait(PATIENCE)
    ours.start()
    for thread in (ours, app):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({}) == 2

"""Looking for what the dead left: what it costs a process that has nothing to recover."""

from pathlib import Path
from typing import Any

import pytest
from made_up_records import create_process_folder

from llm_audit.journal.spool import looking
from llm_audit.recorder.recovery import Recovery
from llm_audit.settings import Settings


def test_between_looks_nobody_looks_at_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipper asks many times a second: only a look, now and then, opens others' locks."""
    living = create_process_folder(tmp_path)
    nothing: Any = None
    settings = Settings(recovery_interval_seconds=1000)
    recovery = Recovery(settings, tmp_path, nothing, nothing, nothing)
    assert not recovery.step()

    looked_at: list[Path] = []
    monkeypatch.setattr(looking, "look_at", looked_at.append)
    assert not any(recovery.step() for _ in range(10))
    assert looked_at == []
    living.release()

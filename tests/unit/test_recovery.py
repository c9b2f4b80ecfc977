"""Looking for what the dead left: what it costs a process that has nothing to recover."""

import errno
from pathlib import Path
from typing import Any

import pytest
from made_up_records import create_process_folder

from llm_audit.journal.segments.found import FoundSegments
from llm_audit.journal.spool import looking
from llm_audit.journal.spool.folder import Held
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


def test_a_journal_that_cannot_be_listed_now_is_not_kept_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock is free again: who looks next, here or elsewhere, ships it."""

    def no_descriptor(_: FoundSegments) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    dead = create_process_folder(tmp_path)
    dead.release()
    nothing: Any = None
    recovery = Recovery(Settings(), tmp_path, nothing, nothing, nothing)
    monkeypatch.setattr(FoundSegments, "look", no_descriptor)
    assert not recovery.step()
    assert dead.nonce not in Held.owners
    (owner,) = (owner for _, owner in looking.owners(tmp_path))
    assert owner.has_ended()

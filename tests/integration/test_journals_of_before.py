"""Journals that an earlier llm-audit has left say less, and are shipped as they were meant."""

import json
from datetime import UTC, datetime

import bson
import pytest
from made_up_records import create_process_folder, journal_of
from waiting import PATIENCE, Calls, Recording

import llm_audit
from llm_audit import LLMLogger
from llm_audit.journal.precedence import Rank, outcome_key
from llm_audit.journal.records import OWN, pack
from llm_audit.journal.spool.folder import LOCK


@pytest.mark.parametrize("names_who_began", [True, False])
def test_an_outcome_without_the_process_that_began_the_call(
    recording: Recording, calls: Calls, names_who_began: bool
) -> None:
    """It went to another journal after a `shutdown()`: that is no id drawn twice."""
    settings = recording()
    call_id = LLMLogger.start(model="m", messages=[])
    assert llm_audit.shutdown(PATIENCE)

    now = datetime.now(UTC)
    key = outcome_key(Rank.OWNER, now.timestamp())
    outcome = {"status": "SUCCESS", "completed_at": now, "outcome_key": key}
    folder = create_process_folder(settings.spool_dir / settings.target())
    journal = journal_of(folder.path, [pack(OWN, call_id, key, bson.encode(outcome))])
    journal.close()
    if not names_who_began:
        owner = {name: folder.owner()[name] for name in ("host", "pid", "boot_id")}
        (folder.path / LOCK).write_text(json.dumps(owner))
    folder.release()

    assert llm_audit.recover(PATIENCE)
    (call,) = calls.find()
    assert call["status"] == ("INCOMPLETE" if names_who_began else "SUCCESS")

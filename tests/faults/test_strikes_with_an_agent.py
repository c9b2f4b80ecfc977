"""What strikes a thread that records while it looks after a journal that it leaves to an agent."""

from itertools import count
from pathlib import Path

from faults.promises import Verdict
from faults.table import Report
from faults.test_strikes import KINDS, Strikes, held
from made_up_records import read, seqs
from patience import LONG

import llm_audit
from llm_audit import LLMLogger
from llm_audit.journal.segments.found import find_segments
from llm_audit.recorder.process import recorder

STEP = 211 if LONG else 997  # of some 25,000 instructions


def everything_is_due() -> None:
    """Have the next record followed by all that is done now and then."""
    shipper = recorder().shipper
    for chore in (shipper.look, *shipper._chores):
        chore.soon()


def refuse_one(call_id: str) -> None:
    """Have a record in memory, which the disk takes again a moment later."""
    written = recorder().journal._written
    written.refused(OSError(28, "No space left on device"))
    LLMLogger.score(call_id, "helpful", 1.0)
    written.refused_until = 0.0


def test_an_exception_while_a_journal_is_looked_after(tmp_path: Path, report: Report) -> None:
    """It comes out, nothing stays held, and each record is on disk once."""
    llm_audit.configure(shipper="agent", spool_dir=tmp_path / "spool", segment_max_bytes=700)
    for point in count(0, STEP):
        call_id = LLMLogger.start(model="m")
        if point % 3 == 0:
            refuse_one(call_id)
        everything_is_due()
        strikes = Strikes(point, KINDS[point % len(KINDS)])
        came_out = strikes.comes_out_of(lambda call_id=call_id: LLMLogger.complete(call_id))
        if not strikes.where:
            break
        assert came_out, strikes.where
        assert not held(), strikes.where
    everything_is_due()
    LLMLogger.start(model="m")

    journal = recorder().journal
    records = read(find_segments(recorder().path))
    assert sorted(seqs(records)) == list(range(1, journal.last_seq + 1))
    assert (journal._memory_bytes, journal.losses.entries()) == (0, [])
    calls = {record.id for record in records}
    what = "an exception while a journal for an agent is looked after"
    report(what, point // STEP, Verdict(len(calls)))

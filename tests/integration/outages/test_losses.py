"""Losses are known afterwards: MongoDB away, the process killed, and still the database says so."""

import errno
import os

import pytest
from children import child
from dead_processes import RECOVER_AND_DIE, SCRIPT, counts, killed_during_an_outage, recovered
from refused import record_of, refusals
from short_leases import ours
from waiting import PATIENCE, Calls, Recording, until

import llm_audit
from llm_audit import LLMLogger, embedded
from llm_audit.journal.losses import JOURNAL, RECORD
from llm_audit.journal.room import QUOTA
from llm_audit.journal.writer import MEMORY_FULL
from llm_audit.recorder.shipping import availability
from llm_audit.settings import Settings

BEYOND_THE_QUOTA = f"""{SCRIPT}
llm_audit.configure(spool_max_bytes=60_000, segment_max_bytes=4_000)
record(400)
die()
"""
WITHOUT_ROOM_FOR_A_WHILE = f"""{SCRIPT}
written.REOPEN_AFTER_SECONDS = 0
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
record(5)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, unlimited[1]))
record(5)
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
record(5)
THEN
die()
"""
BEFORE_THE_DISK_HAS_IT = WITHOUT_ROOM_FOR_A_WHILE.replace("THEN", "").replace(
    "written.REOPEN", "writer.Journal.save_memory = lambda _: None\nwritten.REOPEN"
)
ONCE_THE_DISK_HAS_IT = WITHOUT_ROOM_FOR_A_WHILE.replace(
    "THEN",
    """
import time
from llm_audit.journal.segments.memory import unsaved
from llm_audit.recorder.process import running
while unsaved(running().journal.segments):
    time.sleep(0.01)
""",
)
TO_BE_DAMAGED = f"{SCRIPT}\nrecord(5)\ndie()"
TO_BE_REFUSED = f"""{SCRIPT}
llm_audit.configure(segment_max_bytes=500)
record(1, model="forbidden")
record(9)
die()
"""


def test_what_the_quota_has_dropped_is_known(
    settings: Settings, server: embedded.Mongod, calls: Calls
) -> None:
    """Killed before MongoDB came back, a process has left beside its journal what it dropped."""
    promised = killed_during_an_outage(BEYOND_THE_QUOTA, settings, server)
    document, report = recovered(calls)

    missing = len(promised) - calls.count_documents({"_id": {"$in": promised}})
    dropped = counts(document["dropped"], RECORD)
    assert missing > 0
    assert dropped.keys() == {QUOTA}
    assert missing / 2 <= dropped[QUOTA] <= missing  # written whenever the count had doubled
    assert report.everything_arrived is False
    assert QUOTA in report.summary


def test_what_was_in_memory_only_is_missed(
    settings: Settings, server: embedded.Mongod, calls: Calls
) -> None:
    """Records that the disk refused for a while, and that died with the process, are counted."""
    promised = killed_during_an_outage(BEFORE_THE_DISK_HAS_IT, settings, server)
    document, report = recovered(calls)

    assert calls.count_documents({"_id": {"$in": promised}}) == len(promised) - 5 == 10
    assert counts(document["dropped"], RECORD) == {"missing from the journal": 5}
    assert (document["recorded"], report.everything_arrived) == (15, False)
    assert MEMORY_FULL not in report.summary


def test_what_was_in_memory_goes_to_disk(
    settings: Settings, server: embedded.Mongod, calls: Calls
) -> None:
    """Once the disk takes records again, it gets those that it refused, and a kill costs none."""
    promised = killed_during_an_outage(ONCE_THE_DISK_HAS_IT, settings, server)
    document, _ = recovered(calls)

    assert {call["_id"] for call in calls.find()} == set(promised)
    assert (len(promised), document["recorded"], document["dropped"]) == (15, 15, [])


def test_damage_in_the_journal_of_one_that_never_beat_is_known(
    settings: Settings, server: embedded.Mongod, calls: Calls
) -> None:
    """Of a process that never reached MongoDB the database says what could not be read."""
    killed_during_an_outage(TO_BE_DAMAGED, settings, server)
    (segment,) = settings.spool_dir.glob(f"{settings.target()}/*/*.bson")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    document, report = recovered(calls)

    assert calls.count_documents({}) == 2
    assert sum(counts(document["dropped"], JOURNAL).values()) == 1
    assert document["host"]
    assert document["pid"]
    assert report.everything_arrived is False


def test_what_a_killed_recoverer_saw_refused_is_known(
    settings: Settings, server: embedded.Mongod, calls: Calls
) -> None:
    """Where whoever met the refusal was killed, the next one finds it among what was refused."""
    killed_during_an_outage(TO_BE_REFUSED, settings, server)
    calls.database.create_collection(calls.name, validator={"model": {"$ne": "forbidden"}})
    with child(RECOVER_AND_DIE, settings) as recoverer:
        assert recoverer.wait(PATIENCE) == -9
    (folder,) = {path.parent for path in settings.spool_dir.glob("*/*/*.bson")}
    assert [record_of(refusal).seq for refusal in refusals(calls)] == [1]
    document, report = recovered(calls)

    assert calls.count_documents({"model": "m"}) == 9
    assert document["_id"] == folder.name
    assert sum(counts(document["rejected"], RECORD).values()) == 1
    assert report.everything_arrived is False


def test_nobody_waits_for_what_was_dropped(
    recording: Recording, settings: Settings, server: embedded.Mongod
) -> None:
    """Dropped operations have numbers too, and are behind us once everything else has arrived."""
    recording(**{**dict(settings), "spool_max_bytes": 20_000})
    server.kill()
    for _ in range(100):
        LLMLogger.start(model="m", messages=[{"role": "user", "content": "x" * 300}])
    dropped = counts(llm_audit.stats()["dropped"], RECORD)
    assert dropped[QUOTA] > 0
    server.restart()
    assert llm_audit.flush(PATIENCE)

    stats = llm_audit.stats()
    assert (stats["recorded"], stats["acked_through"]) == (100, 100)
    assert counts(stats["dropped"], RECORD) == dropped


def test_a_passing_read_error_loses_nothing(
    settings: Settings, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that could not be read, as memory was short, arrives when it can be."""
    assert settings
    failed = []
    pread = os.pread

    def fail_once(*given: int) -> bytes:
        if not failed:
            failed.append(given)
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return pread(*given)

    monkeypatch.setattr(os, "pread", fail_once)
    monkeypatch.setattr(availability, "BACKOFF_MAX_SECONDS", 0.01)
    ids = [str(LLMLogger.start(model="m", messages=[])) for _ in range(50)]
    until(lambda: failed)
    ids += [str(LLMLogger.start(model="m", messages=[])) for _ in range(50)]
    assert llm_audit.flush(PATIENCE)

    assert calls.count_documents({"_id": {"$in": ids}}) == 100
    assert ours().journal.losses.entries() == []

"""What was learned from a dead process's journal outlives the recoverer that learned it."""

import pytest
from children import child, output_of
from dead_processes import RECOVER_AND_DIE, SCRIPT, counts, killed_during_an_outage, recovered
from refused import refusals
from waiting import PATIENCE, Calls

import llm_audit
from llm_audit import embedded
from llm_audit.journal.losses import JOURNAL, RECORD
from llm_audit.settings import Settings
from llm_audit.settings.names import PROCESSES

IN_SMALL_SEGMENTS = f"""{SCRIPT}
llm_audit.configure(segment_max_bytes=500)
record(20)
die()
"""
REFUSED_WHILE_ALIVE = f"""{SCRIPT}
llm_audit.configure()
record(5, model="forbidden")
record(5)
assert llm_audit.flush({PATIENCE})
die()
"""
# Ships all of a dead process's journal, and is killed when nothing but closing its calls is left.
DIE_AT_THE_END = """
import os, signal
import llm_audit
from llm_audit.recorder.shipping.other_process import OtherProcess

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

OtherProcess.finish = die
llm_audit.recover()
signal.pause()
"""
# Ends by itself at that moment.
END_AT_THE_END = """
import threading
import llm_audit
from llm_audit.errors import UnavailableError
from llm_audit.recorder.shipping.other_process import OtherProcess
from patience import PATIENCE

shipped, finish = threading.Event(), OtherProcess.finish
def not_yet(*_):
    OtherProcess.finish = finish
    shipped.set()
    raise UnavailableError("not yet")

OtherProcess.finish = not_yet
import logging; logging.disable()
llm_audit.recover()
assert shipped.wait(PATIENCE)
"""

# Cannot read the last segment of a dead process's journal.
CANNOT_READ_THE_LAST = """
import errno, os, signal
from llm_audit.journal.segments.files import FileSegment

read_at = FileSegment._read_at
def fail_at_the_last(self, *where):
    if self.path.name == "00000020.bson":
        raise OSError(errno.EIO, "Input/output error")
    return read_at(self, *where)
FileSegment._read_at = fail_at_the_last
"""
DIE_AT_ONCE = """
import llm_audit
def die(self):
    os.kill(os.getpid(), signal.SIGKILL)

FileSegment.give_up = die
llm_audit.recover()
signal.pause()
"""


@pytest.mark.parametrize("recoverer", [DIE_AT_THE_END, RECOVER_AND_DIE], ids=["at the end", "amid"])
def test_a_killed_recoverer_takes_no_knowledge_along(
    settings: Settings, server: embedded.Mongod, calls: Calls, recoverer: str
) -> None:
    """Of segments that are shipped and gone, how many records they held is still known."""
    killed_during_an_outage(IN_SMALL_SEGMENTS, settings, server)
    with child(recoverer, settings) as process:
        assert process.wait(PATIENCE) == -9
    document, report = recovered(calls)

    assert calls.count_documents({}) == 20
    assert (document["recorded"], document["acked_through"], document["dropped"]) == (20, 20, [])
    assert report.everything_arrived is True


def test_what_a_killed_recoverer_could_not_read_is_known(
    settings: Settings, server: embedded.Mongod, calls: Calls
) -> None:
    """Damage in a segment that is gone is in the document, once, and the doctor says so."""
    killed_during_an_outage(IN_SMALL_SEGMENTS, settings, server)
    _, second, *_ = sorted(settings.spool_dir.glob(f"{settings.target()}/*/*.bson"))
    second.write_bytes(second.read_bytes()[:-1])
    with child(DIE_AT_THE_END, settings) as process:
        assert process.wait(PATIENCE) == -9
    document, report = recovered(calls)

    assert sum(counts(document["dropped"], JOURNAL).values()) == 1
    assert sum(counts(document["dropped"], RECORD).values()) == 20 - calls.count_documents({}) == 1
    assert report.everything_arrived is False


@pytest.mark.parametrize(("recoverer", "lost"), [(DIE_AT_ONCE, 0), (DIE_AT_THE_END, 1)])
def test_what_one_could_not_read_others_may(
    settings: Settings, server: embedded.Mongod, calls: Calls, recoverer: str, lost: int
) -> None:
    """A file is set aside only once MongoDB knows of it; till then the next one tries again."""
    killed_during_an_outage(IN_SMALL_SEGMENTS, settings, server)
    with child(f"{CANNOT_READ_THE_LAST}{recoverer}", settings) as process:
        assert process.wait(PATIENCE) == -9
    document, report = recovered(calls)

    assert calls.count_documents({}) == 20 - lost
    assert sum(counts(document["dropped"], JOURNAL).values()) == lost
    assert report.everything_arrived is (lost == 0)
    assert len(list(settings.spool_dir.glob("*/rejected/*.damaged"))) == lost


def test_an_account_that_nobody_understands_holds_no_recovery_up(
    settings: Settings, server: embedded.Mongod, calls: Calls
) -> None:
    """What an earlier recoverer has noted may make no sense: then recovery begins anew."""
    killed_during_an_outage(IN_SMALL_SEGMENTS, settings, server)
    (lock,) = settings.spool_dir.glob(f"{settings.target()}/*/lock")
    about = {"_id": lock.parent.name, "recovery": {"of": "another version"}}
    calls.database[PROCESSES].insert_one(about)

    assert llm_audit.recover(timeout_seconds=PATIENCE)
    assert calls.count_documents({"ended_by": "worker_lost"}) == 20


def test_a_recoverer_that_ends_closes_what_it_has_shipped(
    settings: Settings, server: embedded.Mongod, calls: Calls
) -> None:
    """A short script that ships the last of a dead process's journal also closes its calls."""
    killed_during_an_outage(IN_SMALL_SEGMENTS, settings, server)
    output_of(END_AT_THE_END, settings)

    assert calls.count_documents({"ended_by": "worker_lost"}) == 20
    assert list(settings.spool_dir.glob(f"{settings.target()}/*/lock")) == []


def test_what_was_refused_before_is_not_counted_again(settings: Settings, calls: Calls) -> None:
    """A recoverer sends again what the dead one had seen refused, and keeps and counts it once."""
    calls.database.create_collection(calls.name, validator={"model": {"$ne": "forbidden"}})
    with child(REFUSED_WHILE_ALIVE, settings) as process:
        assert process.wait(PATIENCE) == -9
    document, _ = recovered(calls)

    assert sum(counts(document["rejected"], RECORD).values()) == 5
    assert len(refusals(calls)) == 5


def test_recover_waits_until_nothing_is_left(
    settings: Settings, server: embedded.Mongod, calls: Calls
) -> None:
    """With a time to wait, `recover` returns when the calls of the dead are closed."""
    killed_during_an_outage(IN_SMALL_SEGMENTS, settings, server)

    assert llm_audit.recover(timeout_seconds=PATIENCE)
    assert calls.count_documents({"ended_by": "worker_lost"}) == 20


def test_recover_does_not_wait_for_ever(settings: Settings, server: embedded.Mongod) -> None:
    """Without MongoDB it says that it does not know."""
    killed_during_an_outage(IN_SMALL_SEGMENTS, settings, server)
    server.kill()

    assert not llm_audit.recover(timeout_seconds=0.2)

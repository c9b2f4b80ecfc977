"""However a process ends that leaves its journal to an agent: at once, and with all it knows."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from children import environment, output_of, started
from ending_processes import COUNT, DONE, OPEN, WAYS
from made_up_records import read
from patience import LONG, PATIENCE

import llm_audit
from llm_audit import LLMCallStatusEnum
from llm_audit.journal.segments.found import find_segments
from llm_audit.journal.spool import looking
from llm_audit.journal.spool.folder import ENDED
from llm_audit.journal.spool.progress import read_stats
from llm_audit.settings import Settings, get_settings
from llm_audit.testing.records import merged

VANISHED = {"os._exit", "exec", "SIGTERM", "SIGKILL"}  # nothing at all can run
MORE = {"fork raises", "pool forkserver", "pool spawn", "executor forkserver", "executor spawn"}
PATCHED = """
import gevent.monkey
gevent.monkey.patch_all()
import threading, time
import gevent
from children import record_here
import llm_audit

def other():
    global turns
    while True:
        gevent.sleep(0)
        turns += 1

turns = 0
gevent.spawn(other)
record_here(2)
assert not llm_audit.flush(0.2)
assert turns > 1
"""
FORKED = """
import os
from children import record_here
from llm_audit.recorder.process import recorder

record_here(1)
ours = recorder().path.name
pid = os.fork()
if not pid:
    record_here(2)
    assert recorder().path.name != ours
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
record_here(3)
assert recorder().path.name == ours
"""


def settings(tmp_path: Path) -> Settings:
    """Leave shipping to an agent, which is not there."""
    llm_audit.configure(shipper="agent", strict=True, spool_dir=tmp_path / "spool")
    return get_settings()


def folders(ours: Settings) -> list[Path]:
    """Return the folders of processes, all of which have freed their locks."""
    found = list(looking.owners(ours.spool_dir / ours.target()))
    assert not [path for path, owner in found if owner.lives]
    return [path for path, _ in found]


def test_every_end(tmp_path: Path) -> None:
    """Where anything runs at all, open calls end, and the agent is told that it was in order."""
    ours = settings(tmp_path)
    ways = {way for way in WAYS if LONG or way not in MORE}
    more = {"LLM_AUDIT_EXIT_TIMEOUT_SECONDS": str(100 * PATIENCE)}  # for which nobody waits
    command = [sys.executable, "-m", "ending_processes", *sorted(ways)]
    variables = environment(ours) | more
    with started(command, variables, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
        print(process.communicate(timeout=PATIENCE)[0])

    ended = {}
    for path in folders(ours):
        calls = merged(read(find_segments(path)))
        if {call.model for call in calls} == {"parent"}:
            continue
        (way,) = {call.service for call in calls}
        assert Counter(call.model for call in calls) == {DONE: COUNT, OPEN: 1}, way
        (last,) = [call for call in calls if call.model == OPEN]
        ended[way] = (path / ENDED).exists(), last.status, last.ended_by
        if (path / ENDED).exists():
            assert read_stats(path)["recorded"] == 2 * COUNT + 2, way
    del ended["pool terminated"]  # which may be killed in any moment
    incomplete, pending = LLMCallStatusEnum.INCOMPLETE, LLMCallStatusEnum.PENDING
    expected = {
        way: (False, pending, None) if way in VANISHED else (True, incomplete, "process_exit")
        for way in ways - {"pool terminated"}
    }
    assert ended == expected | {"lifespan": (True, incomplete, "shutdown")}


def test_greenlets_go_on_while_one_waits(tmp_path: Path) -> None:
    """Where all is patched, too."""
    output_of(PATCHED, settings(tmp_path), anew=True)


def test_a_forked_child_has_a_journal_of_its_own(tmp_path: Path) -> None:
    """Its parent goes on with its own, and neither closes what is the other's."""
    ours = settings(tmp_path)
    output_of(FORKED, ours, anew=True)
    found = {(path / ENDED).exists(): read(find_segments(path)) for path in folders(ours)}
    assert {ended: len(records) for ended, records in found.items()} == {True: 8, False: 4}

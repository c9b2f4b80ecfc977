"""A process that leaves its journal to an agent: the tests play the agent, by its files."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bson
import pytest
from agents_held import agent_of_another_process as held
from children import output_of
from patience import PATIENCE
from waiting import until

import llm_audit
from llm_audit import LLMLogger
from llm_audit.journal.losses import find_left
from llm_audit.journal.spool import looking
from llm_audit.journal.spool.folder import ENDED, ProcessFolder
from llm_audit.journal.spool.owners import read_owner
from llm_audit.journal.spool.progress import Progress, Wanted, read_stats, write_progress
from llm_audit.recorder import handed_over
from llm_audit.recorder.process import recorder
from llm_audit.runtime import clock
from llm_audit.settings import Settings, get_settings

START_IT = "start `llm-audit agent`"

# Nothing of a driver, no thread, no socket: by any way that there is to record, and to an end.
ALONE = """
import sys, threading
told = []
sys.addaudithook(lambda event, _: told.append(event) if event.startswith("socket.") else None)
import llm_audit
from llm_audit import LLMLogger, audit_context

with audit_context(trace_id="t"):
    call_id = LLMLogger.start(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
LLMLogger.complete(call_id, response={"choices": [{"message": {"content": "y"}}]})
with LLMLogger.log_call(model="m") as other:
    LLMLogger.score(other, "good", 1.0)
assert not llm_audit.flush(0)
assert llm_audit.recover()
llm_audit.stats()
assert not llm_audit.shutdown(0)
LLMLogger.start(model="m", messages=[])
rooms = ("pymongo", "gridfs", "llm_audit.store", "genai_prices")
found = [name for name in sys.modules if name.startswith(rooms)]
threads = [thread.name for thread in threading.enumerate()]
sockets = [event for event in told if event != "socket.gethostname"]
print(found, threads, sockets)
"""


@pytest.fixture
def alone(tmp_path: Path) -> Settings:
    """Leave shipping to an agent, of which the tests play the part."""
    llm_audit.configure(shipper="agent", strict=True, spool_dir=tmp_path / "spool")
    return get_settings()


def folder() -> Path:
    """Return this process's folder."""
    return recorder().path


def record(count: int = 1) -> list[str]:
    """Record calls: two operations each."""
    ids = [LLMLogger.start(model="m", messages=[]) for _ in range(count)]
    for call_id in ids:
        LLMLogger.complete(call_id)
    return ids


def say(through: int, **more: object) -> None:
    """Be the agent that has shipped so much."""
    write_progress(folder(), Progress(through, through)._replace(**more))


def look() -> None:
    """Have the next operation find everything due."""
    recorder().shipper.look.due_at = 0.0
    for chore in recorder().shipper._chores:
        chore.due_at = 0.0


@contextmanager
def shipping() -> Iterator[threading.Thread]:
    """Be an agent that ships as soon as somebody waits."""
    path, over = folder(), threading.Event()

    def ship() -> None:
        wanted = Wanted(path)
        while not over.wait(0.001):
            if seq := wanted.look():
                write_progress(path, Progress(seq, seq))

    agent = threading.Thread(target=ship)
    agent.start()
    try:
        yield agent
    finally:
        over.set()
        agent.join()


def test_a_process_only_writes(alone: Settings) -> None:
    """It imports no driver, starts no thread, and opens no socket, from its start to its end."""
    assert output_of(ALONE, alone, anew=True) == ["[] ['MainThread'] []"]
    left = [owner for _, owner in looking.owners(alone.spool_dir / alone.target())]
    assert [(owner.lives, owner.shipper) for owner in left] == [(False, "agent")] * 2


def test_flush_waits_for_the_agent(alone: Settings) -> None:
    """It says for what it waits, and is done when that has arrived."""
    assert alone.shipper == "agent"
    record(3)
    with shipping():
        assert llm_audit.flush(PATIENCE)
        assert llm_audit.stats()["acked_through"] == 6
        (call_id,) = record()
        assert call_id.wait(PATIENCE)

        async def await_one() -> None:
            async with asyncio.timeout(PATIENCE):
                await recorder().shipper.arrives(recorder().journal.last_seq)

        record()
        asyncio.run(await_one())
        assert recorder().shipper.through == 10
        assert llm_audit.shutdown(PATIENCE)


def test_an_awaited_call_is_acknowledged(alone: Settings) -> None:
    """With `durability="acknowledged"` the event loop goes on meanwhile."""
    llm_audit.configure(durability="acknowledged", acknowledged_timeout_seconds=PATIENCE)
    assert alone.shipper == "agent"

    async def main() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        ticking = asyncio.create_task(tick())
        await LLMLogger.start(model="m", messages=[])
        ticking.cancel()
        return ticks

    recorder()
    with shipping():
        assert asyncio.run(main()) > 0
    assert recorder().shipper.through == 1


def test_without_an_agent_it_says_what_to_start(alone: Settings) -> None:
    """In the result of a flush, and once in the log, but not in the first moments."""
    record()
    assert START_IT in str(llm_audit.flush(0).reason)
    target = alone.spool_dir / alone.target()
    with held(target):
        assert llm_audit.flush(0).reason == "time is over"
        say(1, unavailable="nobody answers")
        result = llm_audit.flush(0)
        assert (result.unacknowledged_operations, result.reason) == (1, "nobody answers")


def test_the_log_names_a_missing_agent_once(
    alone: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten seconds after the first operation at the earliest: it may be started a moment later."""
    target = alone.spool_dir / alone.target()
    record()
    recorder().shipper.look.due_at = 0.0
    record()
    assert caplog.messages == []
    with held(target):
        look()
        record()
    assert caplog.messages == []
    for _ in range(3):
        look()
        record()
    (message,) = caplog.messages
    assert START_IT in message
    assert str(target) in message


def test_closed_segments_are_left_to_the_agent(alone: Settings) -> None:
    """They are forgotten, and stay on disk; what was dropped at the end holds nobody up."""
    llm_audit.configure(segment_max_bytes=1)
    assert alone.shipper == "agent"
    record(2)
    look()
    record(1)
    assert len(recorder().journal.segments) <= 2
    assert len(list(folder().glob("*.bson"))) == 6
    assert llm_audit.stats()["backlog_bytes"] > 0

    say(6)
    recorder().journal.room.bytes = 0
    record()
    stats = llm_audit.stats()
    assert (stats["recorded"], stats["acked_through"], stats["backlog_bytes"]) == (8, 8, 0)
    assert llm_audit.flush(0)


def test_segments_end_by_age(alone: Settings) -> None:
    """The agent deletes none that is still written."""
    assert alone.shipper == "agent"
    record()
    recorder().journal._written.current.began -= handed_over.SEGMENT_SECONDS
    look()
    record()
    record()
    assert len(list(folder().glob("*.bson"))) == 2


def test_what_the_disk_refused_is_saved_later(alone: Settings) -> None:
    """Until it has been shipped from there, it is not acknowledged, whatever the agent has read."""
    assert alone.shipper == "agent"
    record()
    journal = recorder().journal
    journal._written.refused(OSError(28, "No space left on device"))
    record()
    look()
    journal._written.refused_until = 0.0
    say(4)
    assert llm_audit.stats()["acked_through"] == 2  # 3 and 4 are in memory
    record()
    (saved,) = [path for path in folder().glob("*.bson") if path.name == "00000002.bson"]
    say(6)
    assert llm_audit.flush(0).unacknowledged_operations == 4
    assert len(bson.decode_all(saved.read_bytes())) == 2

    saved.unlink()  # as the agent does with what has arrived
    assert llm_audit.flush(0)
    assert journal._memory_bytes == 0


def test_what_was_saved_a_moment_ago_has_not_arrived(alone: Settings) -> None:
    """As at the end of a process, which saves what is in memory before it waits for the rest."""
    assert alone.shipper == "agent"
    record()
    journal = recorder().journal
    journal._written.refused(OSError(28, "No space left on device"))
    record()
    journal._written.refused_until = 0.0
    recorder().shipper.look.due_at = clock.monotonic() + PATIENCE
    record()
    say(6)
    assert llm_audit.stats()["acked_through"] == 2  # 3 and 4 are in memory
    journal.save_memory()
    assert llm_audit.stats()["acked_through"] == 2
    assert not llm_audit.shutdown(0)


def test_the_agent_measures_the_spool(alone: Settings) -> None:
    """What is recorded between its looks is counted here; what others take away, with the next."""
    record()
    with held(alone.spool_dir / alone.target()):
        room = recorder().journal.room
        look()
        record()

        say(0, used_bytes=alone.spool_max_bytes - 10_000, measured=1)
        look()
        record()
        assert 5_000 < room.bytes <= 10_000
        look()
        before = room.bytes
        record()
        assert before - 2_000 < room.bytes < before  # the same measure does not count twice

        say(0, used_bytes=alone.spool_max_bytes, measured=2)
        look()
        record(2)
        assert room.bytes <= 0
        assert [entry["reason"] for entry in llm_audit.stats()["dropped"]].count(
            "spool_max_bytes"
        ) >= 1
        say(0, used_bytes=0, measured=3)
        look()
        record(2)
        assert room.bytes > alone.spool_max_bytes / 2


def test_the_end_waits_for_nobody(alone: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves figures and losses, notes that it was in order, and frees the lock."""
    record(2)
    path = folder()
    recorder().journal.losses.add("record", "a test", seq=5)
    monkeypatch.setattr(handed_over.time, "sleep", None)

    from llm_audit.recorder import process

    result = process.stop(waits=False)
    assert result.unacknowledged_operations == 4
    owner = looking.look_at(path)
    assert owner is not None
    assert not owner.lives
    assert (path / ENDED).exists()
    assert read_stats(path)["recorded"] == 4
    assert [entry["reason"] for entry in find_left(path)["dropped"]] == ["a test"]
    assert alone.shipper == "agent"


def test_who_recorded_nothing_leaves_nothing(alone: Settings) -> None:
    """A worker's main process, say, that only asked for the dead to be looked after."""
    assert llm_audit.recover()
    llm_audit.shutdown()
    assert list((alone.spool_dir / alone.target()).iterdir()) == []


def test_recover_waits_until_the_dead_are_gone(alone: Settings) -> None:
    """The agent finishes what they left; until then it is false."""
    target = alone.spool_dir / alone.target()
    dead = ProcessFolder(target / "dead", target_name=alone.target_name())
    dead.ensure()
    dead.release()
    assert not llm_audit.recover()
    remover = threading.Timer(0.01, dead.remove)
    remover.start()
    assert llm_audit.recover(PATIENCE)
    remover.join()


def test_a_lock_tells_whose_process_it_is(alone: Settings) -> None:
    """For whoever ships, or says what waits."""
    llm_audit.configure(service="billing\nworker", environment="test", retention_days=0.5)
    record()
    said = json.loads((folder() / "lock").read_text())
    assert said["service"] == "billing\N{REPLACEMENT CHARACTER}worker"
    assert (said["shipper"], said["environment"]) == ("agent", "test")
    assert said["target"] == alone.target_name("agent")
    assert said["retention_days"] == 0.5


@pytest.mark.parametrize("kept", [0, -1, True, "3", float("nan"), float("inf"), 10**400, [3]])
def test_odd_words_on_how_long_to_keep_calls_count_for_nothing(tmp_path: Path, kept: Any) -> None:
    """Others may have written the lock file."""
    lock = tmp_path / "lock"
    lock.write_text(json.dumps({"pid": 7, "retention_days": kept}))
    with lock.open() as file:
        assert read_owner(file.fileno()) == {"pid": 7}


def test_what_the_agent_tells_is_in_the_stats(alone: Settings) -> None:
    """As if this process had shipped it."""
    assert alone.shipper == "agent"
    record()
    say(2, superseded=1, of_no_call=2, closed=3)
    stats = llm_audit.stats()
    names = ("acked_through", "superseded", "of_no_call", "closed_for_the_dead")
    assert [stats[name] for name in names] == [2, 1, 2, 3]
    until(lambda: llm_audit.stats()["backlog_bytes"] == 0)

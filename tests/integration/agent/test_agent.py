"""An agent in this process, which ships what others record, and never what this one does."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bson
import pytest
from children import child, environment
from made_up_records import numbered
from waiting import PATIENCE, Call, Calls, Recording, until

import llm_audit
from llm_audit.agent.agent import Agent, AgentRunsError
from llm_audit.agent.post import Post
from llm_audit.journal.records import FORMAT_VERSION, seal
from llm_audit.journal.segments.found import FoundSegments
from llm_audit.journal.spool.progress import read_progress, write_progress
from llm_audit.settings import Settings
from llm_audit.settings.names import PROCESSES

# Does what it is told, line by line, and says when it is done.
OBEY = """
import sys
import llm_audit
from llm_audit import LLMLogger
from llm_audit.context import CallContext, enter
from llm_audit.journal.spool.progress import Progress
from llm_audit.lifecycle import end_calls_of_attempt
from llm_audit.recorder.process import recorder
from patience import PATIENCE

class TimeLimitExceeded(Exception): ...
calls = []
def start(text):
    calls.append(LLMLogger.start(model="m", messages=[text]))
def end():
    LLMLogger.complete(calls.pop(), response_message={"role": "assistant", "content": "y"})
def both(text):
    start(text)
    end()
def be_in_task():
    enter(CallContext(task_id="task", task={"attempt_id": "attempt"}))
def verdict():
    end_calls_of_attempt("attempt", TimeLimitExceeded(5), task_id="task")
for line in sys.stdin:
    exec(line)
    print(recorder().constants["process_nonce"])
"""


class Obeying:
    """A process that does what it is told."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.nonce = ""

    def do(self, *lines: str) -> None:
        """Have it do something, and wait until it is done."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        for line in lines:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
            said = self.process.stdout.readline().strip()
            assert said, self.process.communicate()
            self.nonce = said

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Let it end in order."""
        assert self.process.stdin is not None
        self.process.stdin.write("sys.exit()\n")
        self.process.stdin.flush()
        assert self.process.wait(PATIENCE) == 0


@contextmanager
def obeying(settings: Settings) -> Iterator[Obeying]:
    """Run a process that does what it is told, until the block is left."""
    with child(OBEY, settings) as process:
        yield Obeying(process)


@contextmanager
def running(settings: Settings) -> Iterator[Agent]:
    """Run an agent in a thread of this process until the block is left."""
    agent = Agent(settings)
    thread = threading.Thread(target=agent.run, name="agent")
    thread.start()
    try:
        yield agent
    finally:
        agent.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def settings(recording: Recording) -> Settings:
    """Leave shipping to an agent."""
    return recording(shipper="agent", heartbeat_seconds=0.2, recovery_interval_seconds=0.2)


def ends(calls: Calls) -> dict[str, tuple[str, str | None]]:
    """Return how calls stand, by what was said in them."""
    return {call["messages"][0]: (call["status"], call.get("ended_by")) for call in calls.find()}


def document(calls: Calls, nonce: str) -> Call:
    """Return the document of a process."""
    return calls.database[PROCESSES].find_one({"_id": nonce}) or {}


def in_state(calls: Calls, nonce: str, state: str) -> Call:
    """Wait until a process is in a state, and return its document."""
    until(lambda: document(calls, nonce).get("state") == state)
    return document(calls, nonce)


def folder_of(settings: Settings, nonce: str) -> Path:
    """Return the folder of a process that leaves shipping to an agent."""
    return settings.spool_dir / settings.target("agent") / nonce


def segments_of(settings: Settings, nonce: str) -> list[str]:
    """Return the names of the segments that a process has on disk."""
    return sorted(path.name for path in folder_of(settings, nonce).glob("*.bson"))


def test_a_process_is_shipped_for_from_its_first_call_to_its_end(
    settings: Settings, calls: Calls
) -> None:
    """Open calls are seen, ends follow, and who ends in order has ended, not been recovered."""
    with running(settings), obeying(settings) as process:
        process.do("both('done')", "start('open')")
        until(lambda: ends(calls) == {"done": ("SUCCESS", None), "open": ("PENDING", None)})
        assert document(calls, process.nonce)["state"] == "alive"
        process.do("end()", "assert llm_audit.flush(PATIENCE)")
        assert ends(calls)["open"] == ("SUCCESS", None)
        process.end()
        said = in_state(calls, process.nonce, "ended")
        until(lambda: not folder_of(settings, process.nonce).exists())
    assert (said["recorded"], said["acked_through"], said["begun"]) == (4, 4, 2)
    assert (said["dropped"], said["rejected"], said["shipped_by"]) == ([], [], "agent")
    assert "recovery" not in said


def test_what_the_killed_leave_ends_as_their_worker_says_or_as_lost(
    settings: Settings, calls: Calls
) -> None:
    """Also where the agent comes when all are dead; calls of the living are left alone."""
    with obeying(settings) as early:
        early.do("be_in_task()", "start('killed early')")
        early.kill()
        with running(settings), obeying(settings) as main, obeying(settings) as late:
            late.do("start('lost')", "be_in_task()", "start('killed')")
            main.do("start('lives')")
            until(lambda: len(ends(calls)) == 4)
            late.kill()
            until(lambda: ends(calls)["lost"] == ("ABANDONED", "worker_lost"))
            main.do("verdict()")
            expected = ("TIMEOUT", "hard_time_limit")
            until(lambda: ends(calls)["killed"] == ends(calls)["killed early"] == expected)
            assert ends(calls)["lives"] == ("PENDING", None)
            in_state(calls, late.nonce, "recovered")


def test_closed_segments_go_and_an_agent_killed_in_the_middle_loses_nothing(
    recording: Recording, calls: Calls
) -> None:
    """Agents of their own processes are killed again and again while a process records."""
    settings = recording(shipper="agent", recovery_interval_seconds=0.2)
    variables = environment(settings) | {"LLM_AUDIT_SEGMENT_MAX_BYTES": "2000"}
    os.environ["LLM_AUDIT_SEGMENT_MAX_BYTES"] = "2000"
    try:
        with obeying(settings) as process:
            count = 0
            for _ in range(3):
                process.do(*(f"both({number})" for number in range(count, count + 20)))
                agent = subprocess.Popen(
                    [sys.executable, "-m", "llm_audit.cli", "agent"],
                    env=variables,
                    stderr=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
                process.do(*(f"both({number})" for number in range(count + 20, count + 40)))
                until(lambda count=count: calls.count_documents({}) > count + 10)
                agent.send_signal(signal.SIGKILL)
                agent.wait()
                count += 40
            with running(settings):
                process.do("assert llm_audit.flush(PATIENCE)")
                assert calls.count_documents({"status": "SUCCESS"}) == count
                until(lambda: len(segments_of(settings, process.nonce)) <= 1)
                process.end()
                said = in_state(calls, process.nonce, "ended")
    finally:
        del os.environ["LLM_AUDIT_SEGMENT_MAX_BYTES"]
    assert (said["recorded"], said["begun"], said["dropped"]) == (2 * count, count, [])


def test_a_second_agent_stands_by(settings: Settings, calls: Calls) -> None:
    """It takes over when the first ends; one that would ship once says who ships already."""
    with obeying(settings) as process:
        with running(settings) as first:
            until(lambda: first.state() is not None)
            with running(settings) as second:
                with pytest.raises(AgentRunsError, match=f"pid {os.getpid()}"):
                    Agent(settings).once(PATIENCE)
                assert second.state() is None
                first.stop()
                until(lambda: second.state() is not None)
                process.do("both('late')", "assert llm_audit.flush(PATIENCE)")
        assert ends(calls) == {"late": ("SUCCESS", None)}
        assert Post(settings).holder is not None  # it tells where the last one shipped to
        process.do("start('open')")
        shipped = Agent(settings).once(PATIENCE)
        assert shipped
        assert (shipped.operations, ends(calls)["open"]) == (1, ("PENDING", None))


def test_what_waits_from_the_start_of_an_agent_is_not_as_old_as_the_machine(
    recording: Recording,
) -> None:
    """An agent that has not reached MongoDB yet counts from when it saw the journal first."""
    settings = recording(shipper="agent", mongo_url="mongodb://127.0.0.1:1")
    with obeying(settings) as process:
        process.do("both('a')")
        with running(settings) as agent:
            until(lambda: (state := agent.state()) and state.total().backlog_bytes)
            state = agent.state()
    assert state is not None
    assert state.total().oldest_seconds < PATIENCE * 10


def test_what_cannot_be_read_holds_up_nobody(
    settings: Settings, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """A living process's journal of a newer version is left alone, said once; the others go on."""
    newer = bytearray(bson.encode({**bson.decode(numbered(1)), "v": FORMAT_VERSION + 1}))
    seal(newer, 1)
    with running(settings), obeying(settings) as process, obeying(settings) as other:
        process.do("recorder()")
        (folder_of(settings, process.nonce) / "00000001.bson").write_bytes(newer)
        other.do("both('other')", "assert llm_audit.flush(PATIENCE)")
        until(lambda: "a newer llm-audit wrote it" in caplog.text)
        other.do("both('again')", "assert llm_audit.flush(PATIENCE)")
        assert segments_of(settings, process.nonce) == ["00000001.bson"]
    assert set(ends(calls)) == {"other", "again"}
    assert caplog.text.count("a newer llm-audit wrote it") == 1


def test_an_agent_without_descriptors_for_a_while_loses_nothing(
    settings: Settings, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of a process that it meets then, nor of one that dies then, whose folder would go."""
    left = [3]

    def out_of(look: Callable[..., Any]) -> Callable[..., Any]:
        def looks(*args: Any) -> Any:
            if left[0]:
                left[0] -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return look(*args)

        return looks

    monkeypatch.setattr(FoundSegments, "_list", out_of(FoundSegments._list))
    with running(settings), obeying(settings) as process:
        process.do("both('met')", "assert llm_audit.flush(PATIENCE)")
        assert left == [0]
        monkeypatch.setattr(FoundSegments, "look", lambda _: None)  # the last calls are not seen
        process.do("both('last')")
        left[0] = 3
        process.kill()
        in_state(calls, process.nonce, "recovered")
        assert left == [0]
    assert set(ends(calls)) == {"met", "last"}


def test_moving_to_an_agent_and_back_leaves_nothing(
    recording: Recording, calls: Calls, settings: Settings
) -> None:
    """What threads' dead have left an agent ships; what its dead have left, who ships where it did.

    As long as an agent runs, or where none has ever run, nobody else does.
    """

    def die(by: str, text: str) -> None:
        with obeying(settings.model_copy(update={"shipper": by})) as process:
            process.do(f"start({text!r})")
            process.kill()

    def recovers(**changes: Any) -> None:
        recording(shipper="thread", recovery_interval_seconds=0.2, **changes)
        llm_audit.recover(PATIENCE)

    die("agent", "before there is an agent")
    recovers()
    assert ends(calls) == {}
    with running(settings):
        lost = ("ABANDONED", "worker_lost")
        until(lambda: ends(calls) == {"before there is an agent": lost})
        die("thread", "by a thread")
        until(lambda: ends(calls).get("by a thread") == lost)
    die("agent", "after the agent")
    elsewhere = settings.mongo_url.get_secret_value().replace("127.0.0.1", "localhost")
    recovers(mongo_url=elsewhere)  # as far as anybody can tell
    post = Post(settings)
    assert post.take()
    recovers()
    post.leave()
    assert "after the agent" not in ends(calls)
    recovers()
    assert ends(calls)["after the agent"] == lost


def test_what_a_process_itself_has_lost_is_counted_once(settings: Settings) -> None:
    """By the agent that is there then; the next one does not take it for new."""

    def totals(agent: Agent) -> tuple[int, int]:
        state = agent.state()
        total = None if state is None else state.total()
        return (-1, -1) if total is None else (total.shipped, total.dropped)

    lose = "recorder().journal.losses.add('record', 'spool_max_bytes', seq=1, count=3)"
    with obeying(settings) as process:
        process.do("both('first')")
        with running(settings) as agent:
            until(lambda: totals(agent) == (2, 0))
            process.do(lose, "recorder().journal.note_losses()", "both('second')")
            until(lambda: totals(agent) == (4, 3))
        with running(settings) as agent:
            process.do("both('third')")
            until(lambda: totals(agent) == (2, 0))


def test_a_call_whose_end_was_lost_is_closed_while_its_process_lives(
    settings: Settings, calls: Calls
) -> None:
    """Once there is room to say so; calls that are still open stay that."""
    with running(settings), obeying(settings) as process:
        process.do("start('open')", "start('lost')")
        until(lambda: len(ends(calls)) == 2)
        process.do(
            "room = recorder().journal.room",
            "recorder().shipper._told.look = lambda: Progress()",  # none measures the spool
            "left, room.bytes = room.bytes, 0",
            "end()",
            "both('never')",
            "room.bytes = left",
            "recorder().shipper.look.soon()",
            "both('later')",
        )
        lost = ("ABANDONED", "record_lost")
        expected = {"open": ("PENDING", None), "lost": lost, "later": ("SUCCESS", None)}
        until(lambda: ends(calls) == expected)
        until(lambda: document(calls, process.nonce)["closed_for_the_dead"] == 1)
        assert "lost_ends" not in document(calls, process.nonce)
        process.do("del recorder().shipper._told.look")
        process.do("assert llm_audit.stats()['closed_for_the_dead'] == 1")


@pytest.mark.parametrize("told", [True, False])
def test_the_next_agent_goes_on_with_what_was_counted(
    settings: Settings, calls: Calls, *, told: bool
) -> None:
    """As the document of the process says it, or what the process was told, which may be newer."""
    counted = {"superseded": 3, "of_no_call": 4, "closed_for_the_dead": 5}
    said = {"superseded": 3, "of_no_call": 4, "closed": 5} if told else {}
    with obeying(settings) as process:
        process.do("both('first')")
        with running(settings):
            until(lambda: document(calls, process.nonce).get("acked_through") == 2)
        folder = folder_of(settings, process.nonce)
        write_progress(folder, read_progress(folder)._replace(**said))
        if not told:
            processes = calls.database[PROCESSES]
            processes.update_one({"_id": process.nonce}, {"$set": counted})
        with running(settings):
            process.do("both('second')")
            until(lambda: document(calls, process.nonce).get("acked_through") == 4)
            known = document(calls, process.nonce)
            assert {name: known[name] for name in counted} == counted
            process.do("assert llm_audit.flush(PATIENCE)")
            process.do(f"assert llm_audit.stats().items() >= {counted}.items()")


def test_room_is_seen_soon_after_there_is_some(recording: Recording) -> None:
    """Not with the next beat only, where the spool was too full to record content."""
    slow = {"heartbeat_seconds": 1_000.0, "lease_seconds": 3_000.0}
    settings = recording(shipper="agent", spool_max_bytes=2**20, **slow)
    settings.spool_dir.mkdir(mode=0o700, exist_ok=True)
    ballast = settings.spool_dir / "ballast"
    ballast.write_bytes(os.urandom(2**20))
    look = ("recorder().shipper.look.soon()", "both('x')")
    with running(settings), obeying(settings) as process:
        process.do("both('first')")
        told = folder_of(settings, process.nonce)
        until(lambda: read_progress(told).used_bytes >= 2**20)
        measured = read_progress(told).measured
        until(lambda: read_progress(told).measured > measured)
        ballast.unlink()
        until(lambda: 0 < read_progress(told).used_bytes < 2**20)
        settled = read_progress(told).measured
        process.do(*look, "assert recorder().journal.full is None")
        time.sleep(1.5)
        assert read_progress(told).measured == settled  # there is time again

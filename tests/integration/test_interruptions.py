"""What interrupts recording: signal handlers, forks, threads that stop it, settings that change."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from children import child
from waiting import PATIENCE, Calls, Recording, arrived

import llm_audit
from llm_audit import LLMLogger, audit_context, embedded
from llm_audit.context import current_context
from llm_audit.journal.spool import owners
from llm_audit.recorder import process
from llm_audit.recorder.process import open_calls, recorder
from llm_audit.recorder.shipping.acknowledged import FlushResult
from llm_audit.testing.records import recorded_nowhere

MESSAGES = [{"role": "user", "content": "hello"}]


class SoftTimeLimitExceeded(Exception):  # noqa: N818  (Celery's name, by which it is known)
    """What Celery's signal handler raises."""


class Interrupting:
    """An object in whose conversion a time limit strikes."""

    def __repr__(self) -> str:
        raise SoftTimeLimitExceeded


class StopsOnce:
    """A rule in which recording is stopped, as by another thread; the next recorder asks again."""

    def __init__(self, stop: Callable[[float], object] = process.stop) -> None:
        self.stop, self.stopped = stop, False

    def __call__(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields as they are."""
        if not self.stopped:
            self.stopped = True
            self.stop(PATIENCE)
        return fields


@pytest.mark.usefixtures("recording")
def test_a_time_limit_is_not_swallowed() -> None:
    """A soft time limit that strikes in our code reaches the task."""
    with pytest.raises(SoftTimeLimitExceeded):
        LLMLogger.start(model="m", messages=MESSAGES, metadata={"value": Interrupting()})


@pytest.mark.usefixtures("recording")
def test_a_signal_handler_may_record_while_the_table_is_held() -> None:
    """A handler that records does not wait for the call that it interrupted."""

    def record_in_handler(*_: Any) -> None:
        LLMLogger.start(model="m", messages=MESSAGES)

    earlier = signal.signal(signal.SIGUSR1, record_in_handler)
    try:
        with open_calls()._lock:
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, earlier)

    assert llm_audit.flush(PATIENCE)


def test_a_child_forked_while_prices_load_can_record(
    mongod: embedded.Mongod, tmp_path: Path
) -> None:
    """A fork right after the first start leaves a child that completes calls."""
    script = """
        import os, sys
        from llm_audit import LLMLogger

        LLMLogger.start(model="gpt-4o", provider="openai", messages=[])
        pid = os.fork()
        if pid == 0:
            call_id = LLMLogger.start(model="gpt-4o", provider="openai", messages=[])
            LLMLogger.complete(call_id, tokens={"prompt_tokens": 1, "completion_tokens": 1})
            os._exit(0)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    environment = {
        **os.environ,
        "LLM_AUDIT_MONGO_URL": mongod.url,
        "LLM_AUDIT_DATABASE": "test_fork_while_loading",
        "LLM_AUDIT_SPOOL_DIR": str(tmp_path),
    }
    command = [sys.executable, "-c", textwrap.dedent(script)]
    subprocess.run(command, env=environment, check=True, timeout=PATIENCE)


def test_a_child_forked_while_a_call_loads_prices_can_record() -> None:
    """Where no shipper has loaded them before, the first call that needs prices does."""
    script = """
        import os, sys, tempfile, threading, time
        from pathlib import Path
        from llm_audit import LLMLogger
        from llm_audit.testing.records import recorded_nowhere

        def call():
            call_id = LLMLogger.start(model="gpt-4o", provider="openai", messages=[])
            LLMLogger.complete(call_id, tokens={"prompt_tokens": 1, "completion_tokens": 1})

        with tempfile.TemporaryDirectory() as folder, recorded_nowhere(Path(folder)):
            LLMLogger.start(model="m")
            thread = threading.Thread(target=call)
            thread.start()
            while "genai_prices" not in sys.modules:
                time.sleep(0)
            pid = os.fork()
            if pid == 0:
                call()
                os._exit(0)
            thread.join()
            status = os.waitpid(pid, 0)[1]
        sys.exit(os.waitstatus_to_exitcode(status))
        """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    subprocess.run(command, check=True, timeout=PATIENCE)


def test_no_child_is_forked_while_settings_are_read() -> None:
    """A fork waits for the thread that reads them: the child would find pydantic's locks held."""
    script = """
        import os, sys, threading, time
        from llm_audit.settings import Settings, get_settings, reading

        begun, inside = threading.Event(), threading.Event()

        class Slow(Settings):
            def __init__(self, **values):
                inside.set()
                begun.set()
                time.sleep(0.2)  # until the fork is asked for, most likely
                super().__init__(**values)
                inside.clear()

        reading.Settings = Slow
        thread = threading.Thread(target=get_settings)
        thread.start()
        begun.wait()
        pid = os.fork()
        if pid == 0:
            os._exit(int(inside.is_set() or get_settings() is None))
        thread.join()
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    subprocess.run(command, check=True, timeout=PATIENCE)


def test_recording_imports_nothing(recording: Recording) -> None:
    """A child forked in the middle of an import would wait for its end for ever."""
    script = """
import sys
from llm_audit import LLMLogger
before = set(sys.modules)
LLMLogger.fail(LLMLogger.start(model="m", messages=[]), "x")
print(sorted(name for name in set(sys.modules) - before if not name.startswith("genai_prices")))
"""
    for shipper in ("thread", "agent"):
        with child(script, recording(create_collection=False, shipper=shipper)) as process:
            assert process.stdout is not None
            assert process.stdout.read() == "[]\n", shipper


@pytest.mark.usefixtures("recording")
def test_stopping_loses_no_call_of_another_thread(calls: Calls) -> None:
    """Calls recorded while another thread shuts down arrive all the same."""
    ids: list[str] = []

    def record() -> None:
        for _ in range(300):
            call_id = LLMLogger.start(model="m", messages=MESSAGES)
            LLMLogger.complete(call_id)
            ids.append(call_id)

    threads = [threading.Thread(target=record) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        llm_audit.shutdown(PATIENCE)
    for thread in threads:
        thread.join()

    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({"_id": {"$in": ids}, "status": "SUCCESS"}) == len(ids) == 600


def test_a_call_begun_while_recording_stops_is_closed(
    recording: Recording, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that begins after the others were ended is closed at goodbye; a real outcome counts."""
    recording(pending_after_seconds=0)
    stop = process.stop
    late = []

    def begin_one_more(*given: Any) -> Any:
        late.append(LLMLogger.start(model="m", messages=MESSAGES))
        return stop(*given)

    LLMLogger.start(model="m", messages=MESSAGES)
    with monkeypatch.context() as patch:
        patch.setattr(process, "stop", begin_one_more)
        assert llm_audit.shutdown(PATIENCE)
    ends = [(call["status"], call.get("ended_by")) for call in calls.find().sort("_id")]
    assert ends == [("INCOMPLETE", "shutdown"), ("ABANDONED", "process_exit")]

    LLMLogger.complete(late[0])
    assert arrived(calls, late[0])["status"] == "SUCCESS"


def test_a_call_stopped_at_its_start_is_of_who_journals_it(
    recording: Recording, calls: Calls
) -> None:
    """A start that the old recorder no longer takes is closed by whoever finds the new journal."""
    recording(redact=StopsOnce())
    earlier = recorder()
    call_id = LLMLogger.start(model="m", messages=MESSAGES)

    assert recorder() is not earlier
    nonce = arrived(calls, call_id)["process_nonce"]
    assert nonce == recorder().constants["process_nonce"]


def test_a_call_that_is_closed_while_it_begins_is_whole(recording: Recording, calls: Calls) -> None:
    """Its start, which the next recorder takes, belongs to the end that the old one has written."""
    recording(redact=StopsOnce(llm_audit.shutdown))
    call_id = LLMLogger.start(model="m", messages=MESSAGES)
    assert llm_audit.flush(PATIENCE)

    call = arrived(calls, call_id)
    assert (call["status"], call["ended_by"], call["model"]) == ("INCOMPLETE", "shutdown", "m")
    LLMLogger.complete(call_id, response_message={"role": "assistant", "content": "hi"})
    assert llm_audit.flush(PATIENCE)
    assert arrived(calls, call_id)["status"] == "SUCCESS"
    assert calls.database["llm_audit_rejected"].count_documents({}) == 0


def test_what_the_stopped_recorder_could_not_keep_is_no_loss(
    recording: Recording, calls: Calls
) -> None:
    """Content whose folder has gone with the old recorder is stored by the new one, whole."""
    media = "QUJD" * 2_000

    recording(redact=StopsOnce(), media_limit_bytes=1_000)
    recorder()
    call = arrived(calls, LLMLogger.start(model="m", messages=[{"content": media}]))

    (note,) = call["encoding_notes"]
    assert "lost" not in note
    assert call["media"]


def test_generators_left_out_of_turn_leave_no_context_behind() -> None:
    """Two generators that hold a context each, and end in the order they began, leave nothing."""

    def stream(user: str) -> Any:
        with audit_context(user_id=user):
            yield user

    first, second = stream("a"), stream("b")
    next(first)
    next(second)
    assert list(first) == list(second) == []

    assert current_context().user_id is None


def test_a_generator_closed_elsewhere_leaves_that_context_alone() -> None:
    """Closing a generator in another context does not change what is in force there."""
    import contextvars

    def stream() -> Any:
        with audit_context(user_id="a"):
            yield

    generator = stream()
    contextvars.copy_context().run(next, generator)
    with audit_context(user_id="b"):
        generator.close()

        assert current_context().user_id == "b"


def test_an_unreadable_folder_of_a_dead_process_holds_nothing_up(
    recording: Recording, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a dead process's journal cannot be read nor set aside, our own calls arrive."""
    settings = recording(recovery_interval_seconds=0.1)
    dead = settings.spool_dir / settings.target() / "dead"
    (dead / "00000001.bson").mkdir(parents=True)
    (dead.parent / "rejected").touch()
    (dead / "lock").write_text(f'{{"boot_id": "{owners.boot_id()}"}}')
    ids = []
    for _ in range(5):
        ids.append(LLMLogger.start(model="m", messages=MESSAGES))
        LLMLogger.complete(ids[-1])
        assert llm_audit.flush(PATIENCE)

    assert calls.count_documents({"_id": {"$in": ids}, "status": "SUCCESS"}) == 5
    assert "is lost and counted (not opened: it is no file)" in caplog.text


def test_journals_for_another_database_are_named(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls that a dead process recorded for other settings are not silently left behind."""
    settings = recording()
    folder = settings.spool_dir / "0123456789abcdef" / "dead"
    folder.mkdir(parents=True)
    (folder / "00000001.bson").write_bytes(b"")
    (folder / "lock").write_text(f'{{"boot_id": "{owners.boot_id()}"}}')
    LLMLogger.start(model="m", messages=MESSAGES)
    assert llm_audit.flush(PATIENCE)
    llm_audit.shutdown(PATIENCE)

    assert str(folder) in caplog.text
    assert folder.exists()


def test_a_handler_that_records_while_the_recorder_is_made_shares_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process has one recorder, whoever was the first to record."""
    inner: list[str] = []
    host = socket.gethostname()

    def record_meanwhile() -> str:
        if not inner:
            inner.append("")
            inner[0] = LLMLogger.start(model="inner")
        return host

    with recorded_nowhere(tmp_path) as calls:
        monkeypatch.setattr(socket, "gethostname", record_meanwhile)
        outer = LLMLogger.start(model="outer")
        process.flush(0)
        assert {call.id for call in calls} == {*inner, outer}
        assert {call.process_nonce for call in calls} == {recorder().constants["process_nonce"]}


def test_an_older_call_has_arrived_when_its_end_has(recording: Recording, calls: Calls) -> None:
    """The end of a call that began before a shutdown is waited for as any other."""
    recording()
    older = LLMLogger.start(model="m")
    assert llm_audit.shutdown(PATIENCE)
    LLMLogger.start(model="m")
    shipping = recorder().shipper
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipping, "flush", lambda _: FlushResult(1))
        LLMLogger.complete(older)
        assert not older.wait(0)
    assert arrived(calls, older)["status"] == "SUCCESS"

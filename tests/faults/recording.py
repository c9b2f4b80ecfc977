"""A process that records, and says what it was promised: each id after the call has returned.

It says so with one unbuffered write per line, into a pipe that its parent reads to the end, so
that the parent knows exactly what was promised, however this process ends. The lines:

    promised <number> <id> <status>       a call has returned
    acknowledged <seconds> <operations>   how far shipping is, on the monotonic clock
    log <message>                         what llm_audit logged
    raised <error>                        what must never be: recording raised
    stats <json>                          at the end, where the end is reached
    said <text>                           what a scene has to say
"""

import itertools
import json
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from patience import PATIENCE

import llm_audit
from llm_audit import LLMLogger

PROGRESS_SECONDS = 0.02


@dataclass(frozen=True)
class Work:
    """What a process is to record.

    Attributes:
        settings: In force in it.
        child: Its number, which every call carries in its metadata beside its own.
        threads: How many threads record.
        calls: How many calls each thread records; none until SIGTERM says that it is enough.
        pause_seconds: What a thread waits after each call.
        first: Called before anything else, to change the world that the process lives in.
        meanwhile: Called while the threads record.
        then: Called instead of the usual end, which waits until everything is delivered.
    """

    settings: Mapping[str, Any]
    child: int
    threads: int = 1
    calls: int | None = None
    pause_seconds: float = 0.0
    first: Callable[[], object] | None = None
    meanwhile: "Callable[[Recording], object] | None" = None
    then: "Callable[[Recording], object] | None" = None


class Recording:
    """The work of this process, and the pipe into which it says how it goes."""

    def __init__(self, work: Work, pipe: Connection) -> None:
        self.work = work
        self.enough = threading.Event()
        self.numbers = itertools.count()
        self._pipe = os.dup(pipe.fileno())  # for threads that outlive everything else

    def say(self, line: str) -> None:
        """Write a line into the pipe."""
        os.write(self._pipe, f"{line}\n".encode())

    def record_call(self, number: int | None = None) -> None:
        """Record one call, and say each promise once it is given.

        Args:
            number: The call's; by default the next that no thread has taken.
        """
        self.end_call(*self.begin_call(number))

    def begin_call(self, number: int | None = None) -> tuple[int, str]:
        """Begin a call, and say so; return its number and id."""
        if number is None:
            number = next(self.numbers)
        child = self.work.child
        call_id = LLMLogger.start(
            model="m",
            messages=[{"role": "user", "content": text(child, number)}],
            metadata={"child": child, "number": number},
        )
        self.say(f"promised {number} {call_id} PENDING")
        return number, call_id

    def end_call(self, number: int, call_id: str) -> None:
        """End a call as one of its number ends, and say so; some stay open."""
        content, status = text(self.work.child, number), outcome(number)
        if status == "SUCCESS":
            LLMLogger.complete(call_id, response_message={"role": "assistant", "content": content})
        elif status == "ERROR":
            LLMLogger.fail(call_id, content)
        if status is not None:
            self.say(f"promised {number} {call_id} {status}")

    def record_calls(self) -> None:
        """Record until it is enough."""
        calls = self.work.calls
        left: Iterable[int] = itertools.count() if calls is None else range(calls)
        for _ in left:
            if self.enough.is_set():
                return
            try:
                self.record_call()
            except Exception as error:  # noqa: BLE001  (whatever it is, the parent has to know)
                self.say(f"raised {error!r}")
            if self.work.pause_seconds:
                self.enough.wait(self.work.pause_seconds)

    def say_progress(self) -> None:
        """Say how far shipping is."""
        acknowledged = llm_audit.stats().get("acked_through", 0)
        self.say(f"acknowledged {time.monotonic()} {acknowledged}")

    def deliver(self) -> None:
        """Wait until everything is delivered, and say what became of it."""
        deadline = time.monotonic() + PATIENCE
        while not llm_audit.flush(PROGRESS_SECONDS) and time.monotonic() < deadline:
            self.say_progress()
        self.say(f"stats {json.dumps(dict(llm_audit.stats()), default=str)}")
        llm_audit.shutdown(PATIENCE)


class _Log(logging.Handler):
    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self._recording = recording

    def emit(self, record: logging.LogRecord) -> None:
        self._recording.say(f"log {record.getMessage()!r}")


def outcome(number: int) -> str | None:
    """Return the status in which a call ends: every tenth stays open, every tenth fails."""
    return {0: None, 1: "ERROR"}.get(number % 10, "SUCCESS")


def text(child: int, number: int) -> str:
    """Return what a call asks and is answered; as long as its number makes it."""
    return f"{child} {number} " + "x" * (37 * number % 3000)


def record(work: Work, pipe: Connection) -> None:
    """Record as asked, in a process of its own."""
    warnings.simplefilter("error")
    recording = Recording(work, pipe)
    signal.signal(signal.SIGTERM, lambda *_: recording.enough.set())
    logging.getLogger("llm_audit").addHandler(_Log(recording))
    if work.first is not None:
        work.first()
    llm_audit.configure(**work.settings)
    threads = [
        threading.Thread(target=recording.record_calls, daemon=True) for _ in range(work.threads)
    ]
    for thread in threads:
        thread.start()
    if work.meanwhile is not None:
        work.meanwhile(recording)
    while any(thread.is_alive() for thread in threads):
        threads[0].join(PROGRESS_SECONDS)
        recording.say_progress()
    (work.then or Recording.deliver)(recording)


def record_alike(work: Work, pipe: Connection) -> None:
    """Record calls whose records are all of one size, say so, and wait to be killed."""
    llm_audit.configure(**work.settings)
    for _ in range(work.calls or 0):
        call_id = LLMLogger.start(model="m", messages=[])
        LLMLogger.complete(call_id, response_message={"content": "x"})
    Recording(work, pipe).say("said done")
    signal.pause()


def recover(work: Work, pipe: Connection) -> None:
    """Look after the dead, and record nothing, until the process is killed."""
    del pipe
    llm_audit.configure(**work.settings)
    llm_audit.recover()
    signal.pause()


def ship(work: Work, pipe: Connection) -> None:
    """Be the agent: ship what everybody records on this machine, until SIGTERM."""
    from llm_audit.agent.agent import Agent
    from llm_audit.settings import get_settings

    warnings.simplefilter("error")
    recording = Recording(work, pipe)
    logging.getLogger("llm_audit").addHandler(_Log(recording))
    llm_audit.configure(**work.settings)
    agent = Agent(get_settings())
    signal.signal(signal.SIGTERM, lambda *_: agent.stop())
    agent.run()

"""The threads that send: they do jobs as these are due, and what fails holds up no other."""

import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from llm_audit.agent.job import Job
from llm_audit.errors import UnavailableError, let_through, log_fault, log_once
from llm_audit.journal.records import JournalVersionError
from llm_audit.recorder.shipping.availability import Availability
from llm_audit.runtime import clock
from llm_audit.store.connection import Connection
from llm_audit.store.delivery.isolation import StuckError

# While one waits for MongoDB, another reads; more than these would only fight for the interpreter.
THREADS = 4


class Sending:
    """Has jobs done, each by one thread at a time.

    Args:
        connection: To MongoDB.
        mongodb: Whether that answers.
        rest_seconds: For how long a job rests that has failed.
        did: Called with each job that is done, by whoever takes it in.
    """

    def __init__(
        self,
        connection: Connection,
        mongodb: Availability,
        rest_seconds: float,
        did: Callable[[Job], None],
    ) -> None:
        self._connection = connection
        self._mongodb = mongodb
        self._rest_seconds = rest_seconds
        self._did = did
        self._rests_until = 0.0  # while MongoDB is not available
        self._threads = ThreadPoolExecutor(THREADS, "llm-audit-agent")
        # re-entrant: a signal handler may put, too
        self._done: queue.SimpleQueue[tuple[Job, Future[bool]] | None] = queue.SimpleQueue()

    def hand_out(self, job: Job) -> None:
        """Have a job done by the next thread that is free, if it is due."""
        now = clock.monotonic()
        if job.is_running or now < max(job.rests_until, self._rests_until):
            return
        try:
            if not job.is_due(now):
                return
        except BaseException as fault:  # noqa: BLE001  (whatever is wrong with it, others go on)
            self._failed(job, fault)
            return
        job.is_running = True
        self._threads.submit(job.do).add_done_callback(lambda future: self._done.put((job, future)))

    def take_in(self, seconds: float) -> None:
        """Take in what becomes of jobs, and have done at once what more they have.

        Args:
            seconds: For how long; `wake` ends it.
        """
        end = clock.monotonic() + seconds
        while (left := end - clock.monotonic()) > 0:
            try:
                done = self._done.get(timeout=left)
            except queue.Empty:
                return
            if done is None:
                return
            self._take(*done)
            self.hand_out(done[0])

    def wake(self) -> None:
        """End `take_in`; a signal handler may call it."""
        self._done.put(None)

    def end(self) -> None:
        """Wait for the jobs that are being done; no other is begun."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        while not self._done.empty():
            done = self._done.get()
            if done is not None:
                self._take(*done)

    def _take(self, job: Job, future: Future[bool]) -> None:
        job.is_running = False
        if future.cancelled():
            return
        fault = future.exception()
        if fault is not None:
            self._failed(job, fault)
            return
        if future.result():
            self._mongodb.came_back()
        self._did(job)

    def _failed(self, job: Job, fault: BaseException) -> None:
        """Let a job rest, or all of them where MongoDB is away."""
        now = clock.monotonic()
        job.rests_until = now + self._rest_seconds
        if isinstance(fault, JournalVersionError):
            self._say_left_alone(job, "a newer llm-audit wrote it")
        elif isinstance(fault, StuckError):
            self._say_left_alone(job, str(fault))
        elif isinstance(fault, UnavailableError):
            job.rests_until = 0.0
            if not self._connection.does_without_retries(fault):
                self._rests_until = now + self._mongodb.went_away(fault)
        else:
            let_through(fault)
            log_fault(fault)

    def _say_left_alone(self, job: Job, why: str) -> None:
        log_once(f"{job.name} is left alone for now: {why}.", of_caller=2)

"""What ships the journals of all processes of this machine that leave that to an agent."""

import queue
import resource
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from llm_audit import prices
from llm_audit.agent.job import Chores, Job, Recovering
from llm_audit.agent.neighbour import Neighbour
from llm_audit.agent.neighbourhood import Neighbourhood
from llm_audit.agent.post import Post
from llm_audit.errors import LLMAuditError, UnavailableError, let_through, log_fault, log_once
from llm_audit.journal.losses import Losses
from llm_audit.journal.records import JournalVersionError
from llm_audit.journal.spool.agent_state import AgentState
from llm_audit.journal.spool.folder import AGENT_FOLDER, ProcessFolder, used_bytes
from llm_audit.journal.spool.watched import WatchedFolder
from llm_audit.recorder.closing import Closing
from llm_audit.recorder.recovery import Recovery
from llm_audit.recorder.shipping.availability import Availability
from llm_audit.recorder.shipping.chores import Every, do
from llm_audit.recorder.shipping.upkeep import Upkeep
from llm_audit.runtime import clock
from llm_audit.settings import Settings
from llm_audit.store.connection import Connection
from llm_audit.store.delivery.delivery import Delivery
from llm_audit.store.delivery.isolation import StuckError
from llm_audit.store.refused.rejected import Rejected

# While one waits for MongoDB, another reads; more than these would only fight for the interpreter.
SENDING_THREADS = 4
LOOK_SECONDS = 0.05
LOOK_SHARE = 0.1  # of its time, where the processes are so many that a look takes long
FIND_SECONDS = 0.25
STATE_SECONDS = 1.0
STAND_BY_SECONDS = 1.0


class AgentRunsError(LLMAuditError):
    """Another agent is here already; the text names it."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """What `Agent.once` reached: true if all that was there is in MongoDB.

    Attributes:
        operations: How many of them were shipped.
        left_bytes: What of the journals is not in MongoDB.
        reason: Why, if something is left.
    """

    operations: int
    left_bytes: int = 0
    reason: str | None = None

    def __bool__(self) -> bool:
        return self.left_bytes == 0 and self.reason is None


class Agent:
    """Ships the journals of the processes on this machine that record with shipper="agent".

    One thread looks at them, and says how far it is; some threads send, each one journal at a time.

    Args:
        settings: Where to ship, and how; which shipper they name does not matter.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._post = Post(settings)
        self._connection = Connection(settings)
        self._mongodb = Availability(settings, self._connection, self._look_out)
        own, theirs = self._post.target_folder, settings.spool_dir / settings.target("thread")
        self._closing = _closing(settings, self._connection, own / AGENT_FOLDER)
        self._neighbours = Neighbourhood(own, self._neighbour)
        ways = settings, self._connection, self._closing
        self._upkeep = Upkeep(*ways, [own, theirs], nonce="", answered=lambda: None)
        self._recovery = Recovery(
            settings, theirs, self._connection, self._closing, lambda: None, others=lambda: [own]
        )
        self._beside = (Chores(self._upkeep.chores), Recovering(self._recovery, FIND_SECONDS))
        self._chores = (
            Every(FIND_SECONDS, self._neighbours.look),
            Every(settings.beat_seconds(), self._post.keep),
            Every(settings.beat_seconds(), self._measure),
            Every(STATE_SECONDS, self._say),
        )
        self._measured: dict[str, Any] = {"used_bytes": 0, "measured": 0}
        self._started_at = datetime.now(UTC)
        self._state: AgentState | None = None
        self._rests_until = 0.0  # while MongoDB is not available
        self._everything = False
        self._stopping = False
        # re-entrant: a signal handler may put, too
        self._done: queue.SimpleQueue[tuple[Job, Future[bool]] | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Ship until `stop`; while another agent is there, stand by.

        Raises:
            OSError: The spool cannot be written.
        """
        while not self._stopping and not self._post.take():
            log_once(f"{self._who_runs()}: this one stands by, and takes over once that ends.")
            self._wait(STAND_BY_SECONDS)
        if not self._stopping:
            self._serve(lambda: self._stopping)

    def stop(self) -> None:
        """Have `run` end after the batches it is at; a signal handler may call it."""
        self._stopping = True
        self._done.put(None)

    def state(self) -> AgentState | None:
        """Return what it last wrote of itself with `agent_state.write_state`; from any thread.

        None before it has looked, and while it stands by.
        """
        return self._state

    def once(self, timeout_seconds: float) -> Shipped:
        """Ship what is there now, whether or not its processes live, and end.

        Args:
            timeout_seconds: How long at the most; what is left stays in the journals.

        Raises:
            AgentRunsError: An agent is there already, which ships all that.
            OSError: The spool cannot be written.
        """
        if not self._post.take():
            raise AgentRunsError(f"{self._who_runs()}, and ships what is there.")
        self._everything = True
        began = clock.monotonic()
        self._recovery.look_now()
        left_something = True

        def is_over() -> bool:
            nonlocal left_something
            left_something = not (self._all_arrived() and self._recovery.left_nothing(began))
            late = clock.monotonic() - began >= timeout_seconds
            return self._stopping or late or not left_something

        self._serve(is_over)
        total = self._state.total() if self._state is not None else None
        if total is None or left_something:
            why = self._mongodb.unavailable or "time is over"
            return Shipped(total.shipped if total else 0, total.backlog_bytes if total else 0, why)
        return Shipped(total.shipped)

    def _serve(self, is_over: Callable[[], bool]) -> None:
        """Do the work of the post, then leave it."""
        _raise_limit_of_descriptors()
        prices.preload()
        with ThreadPoolExecutor(SENDING_THREADS, "llm-audit-agent") as senders:
            try:
                do(self._chores)
                while not is_over():
                    began = clock.monotonic()
                    do(self._chores)
                    for job in (*self._beside, *self._neighbours):
                        self._hand_out(job, senders)
                    self._tell()
                    took = clock.monotonic() - began
                    self._take_in(max(LOOK_SECONDS, took / LOOK_SHARE), senders)
            finally:
                senders.shutdown(wait=True, cancel_futures=True)
                self._leave()

    def _hand_out(self, job: Job, senders: ThreadPoolExecutor) -> None:
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
        senders.submit(job.do).add_done_callback(lambda future: self._done.put((job, future)))

    def _take_in(self, seconds: float, senders: ThreadPoolExecutor) -> None:
        """Take in what becomes of jobs, and have done at once what more they have, for a while."""
        end = clock.monotonic() + seconds
        while (left := end - clock.monotonic()) > 0 and not self._stopping:
            job = self._wait(left)
            if job is not None:
                self._hand_out(job, senders)

    def _wait(self, seconds: float) -> Job | None:
        """Wait for the next job that is done; None if there is none, or `stop` was called."""
        try:
            done = self._done.get(timeout=seconds)
        except queue.Empty:
            return None
        if done is None:
            return None
        job, future = done
        job.is_running = False
        if future.cancelled():
            return None
        fault = future.exception()
        if fault is not None:
            self._failed(job, fault)
            return None
        if future.result():
            self._mongodb.came_back()
        if isinstance(job, Neighbour):
            job.tell(self._beside_progress())
        if isinstance(job, Neighbour) and job.finished:
            self._neighbours.forget_finished()
            return None
        return job

    def _failed(self, job: Job, fault: BaseException) -> None:
        """Let a job rest, or all of them where MongoDB is away."""
        now = clock.monotonic()
        rests_until = now + self._settings.recovery_interval_seconds
        if isinstance(fault, StuckError | JournalVersionError):
            is_newer = isinstance(fault, JournalVersionError)
            why = "a newer llm-audit wrote it" if is_newer else str(fault)
            log_once(f"{job.away()} is left alone for now: {why}.", key=f"{job.away()} {why}")
            job.rests_until = rests_until
        elif isinstance(fault, UnavailableError):
            if not self._connection.does_without_retries(fault):
                self._rests_until = now + self._mongodb.went_away(fault)
        else:
            let_through(fault)
            log_fault(fault)
            job.rests_until = rests_until

    def _tell(self) -> None:
        beside = self._beside_progress()
        for neighbour in self._neighbours:
            if not neighbour.is_running:
                neighbour.tell(beside)

    def _beside_progress(self) -> dict[str, Any]:
        return self._measured | {"unavailable": self._mongodb.unavailable}

    def _all_arrived(self) -> bool:
        """Tell whether all that the neighbours' journals held is in MongoDB, and the dead ended."""
        return all(
            not each.is_running and each.arrived and not each.is_dead for each in self._neighbours
        )

    def _say(self) -> None:
        self._state = AgentState(
            datetime.now(UTC),
            self._mongodb.unavailable,
            len(self._neighbours),
            self._neighbours.figures(),
            self._started_at,
        )
        self._post.say(self._state)

    def _measure(self) -> None:
        """Measure what the spool holds, for all who record there."""
        nowhere = self._post.target_folder / AGENT_FOLDER
        used = used_bytes(self._settings.spool_dir, beside=nowhere)
        self._measured = {"used_bytes": used, "measured": self._measured["measured"] + 1}

    def _look_out(self) -> None:
        """See soon whether MongoDB is back, though there may be nothing to ship."""
        self._upkeep.others.soon()

    def _leave(self) -> None:
        """Say how far it is, free all locks, and leave."""
        while not self._done.empty():
            self._wait(0)
        for neighbour in self._neighbours:
            neighbour.tell(self._beside_progress(), at_once=True)
        self._say()
        self._neighbours.release()
        self._recovery.release()
        self._post.leave()
        self._connection.close()

    def _neighbour(self, folder: WatchedFolder, window_bytes: Callable[[], int]) -> Neighbour:
        ways = self._settings, self._connection, self._closing
        return Neighbour(*ways, folder, window_bytes, everything=self._everything)

    def _who_runs(self) -> str:
        holder = self._post.holder
        where = f" (pid {holder.pid} on {holder.host})" if holder is not None else ""
        return f"An agent{where} runs here already for {self._post.target_folder}"


def _closing(settings: Settings, connection: Connection, place: Any) -> Closing:
    """Return what closes calls in the agent's own name."""
    losses, folder = Losses(), ProcessFolder(place)
    rejected = Rejected(settings, connection, folder, losses)
    delivery = Delivery(settings, connection, rejected, losses, adopted=True)
    return Closing(settings, connection, delivery, folder.path.parent)


def _raise_limit_of_descriptors() -> None:
    """Take as many files as this process may have: some for each process it ships for."""
    with suppress(ValueError, OSError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

"""What ships the journals of all processes of this machine that leave that to an agent."""

import resource
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from llm_audit import prices
from llm_audit.agent.job import Chores, Job, Recovering
from llm_audit.agent.neighbour import Neighbour
from llm_audit.agent.neighbourhood import Neighbourhood
from llm_audit.agent.post import Post
from llm_audit.agent.sending import Sending
from llm_audit.errors import LLMAuditError, log_once
from llm_audit.journal.losses import Losses
from llm_audit.journal.room import Room
from llm_audit.journal.spool.agent_state import AgentState
from llm_audit.journal.spool.folder import AGENT_FOLDER, ProcessFolder, free_bytes, used_bytes
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
from llm_audit.store.refused.rejected import Rejected

LOOK_SECONDS = 0.05
LOOK_SHARE = 0.1  # of its time, where the processes are so many that a look takes long
FIND_SECONDS = 0.25
STATE_SECONDS = 1.0
SHORT_SECONDS = 1.0  # between two measures of a spool that may be too full
MUCH_BYTES = 2**24
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
        self._room = Every(settings.beat_seconds(), self._measure)
        self._chores = (
            Every(FIND_SECONDS, self._neighbours.look),
            Every(settings.beat_seconds(), self._post.keep),
            self._room,
            Every(STATE_SECONDS, self._say),
        )
        self._measured: dict[str, Any] = {"used_bytes": 0, "measured": 0}
        self._started_at = datetime.now(UTC)
        self._state: AgentState | None = None
        self._everything = False
        self._stopping = False
        self._sending = Sending(
            self._connection, self._mongodb, settings.recovery_interval_seconds, self._sent
        )

    def run(self) -> None:
        """Ship until `stop`; while another agent is there, stand by.

        Raises:
            OSError: The spool cannot be written.
        """
        while not self._stopping and not self._post.take():
            log_once(f"{self._who_runs()}. This one waits, and takes over when that one ends.")
            self._sending.take_in(STAND_BY_SECONDS)
        if not self._stopping:
            self._serve(lambda: self._stopping)

    def stop(self) -> None:
        """Have `run` end after the batches it is at; a signal handler may call it."""
        self._stopping = True
        self._sending.wake()

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
            raise AgentRunsError(f"{self._who_runs()}: --once is not needed beside it.")
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
        try:
            do(self._chores)  # who is there has to be known before it can be over
            while not is_over():
                began = clock.monotonic()
                do(self._chores)
                for job in (*self._beside, *self._neighbours):
                    self._sending.hand_out(job)
                self._tell()
                took = clock.monotonic() - began
                self._sending.take_in(max(LOOK_SECONDS, took / LOOK_SHARE))
        finally:
            self._sending.end()
            self._leave()

    def _sent(self, job: Job) -> None:
        """Tell a process at once how far its journal is, whoever waits there."""
        if isinstance(job, Neighbour):
            job.tell(self._beside_progress())
            if job.finished:
                self._neighbours.forget_finished()

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
        for neighbour in self._neighbours:
            if not neighbour.is_running:
                neighbour.take_stock()
        self._state = AgentState(
            datetime.now(UTC),
            self._mongodb.unavailable,
            len(self._neighbours),
            self._neighbours.figures(),
            self._started_at,
        )
        self._post.say(self._state)

    def _measure(self) -> None:
        """Measure what the spool holds, for all who record there: soon again where it is much."""
        began = clock.monotonic()
        spool, nowhere = self._settings.spool_dir, self._post.target_folder / AGENT_FOLDER
        used = used_bytes(spool, beside=nowhere)
        self._measured = {"used_bytes": used, "measured": self._measured["measured"] + 1}
        room = Room(self._settings.spool_max_bytes)
        room.measured(used, 0, free_bytes(spool))
        # who records waits for it, and may have less than we
        if room.is_short or used >= MUCH_BYTES:
            now = clock.monotonic()
            rest = max(SHORT_SECONDS, (now - began) / LOOK_SHARE)
            self._room.due_at = min(self._room.due_at, now + rest)

    def _look_out(self) -> None:
        """See soon whether MongoDB is back, though there may be nothing to ship."""
        self._upkeep.others.soon()

    def _leave(self) -> None:
        """Say how far it is, free all locks, and leave."""
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
        return f"An agent{where} already ships {self._post.target_folder}"


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

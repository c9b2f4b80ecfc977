"""A journal that is left to the agent of this machine: this process only writes.

What a thread would do besides shipping is done now and then by who records, after an operation is
on disk; and what is known of shipping is in files of this process's folder, see `progress`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from llm_audit.errors import log_once, passing_over
from llm_audit.journal import complaints
from llm_audit.journal.segments.memory import give_up, unsaved
from llm_audit.journal.spool import looking, progress
from llm_audit.journal.spool.agents import START_IT, agent_of
from llm_audit.journal.spool.folder import SUFFIX, ProcessFolder, free_bytes, used_bytes
from llm_audit.journal.spool.progress import ProgressFile
from llm_audit.journal.writer import Journal
from llm_audit.recorder import exits
from llm_audit.recorder.captured import end_dropped
from llm_audit.recorder.shipping.acknowledged import FlushResult
from llm_audit.recorder.shipping.backlog import Backlog
from llm_audit.recorder.shipping.chores import Every, do
from llm_audit.runtime import clock
from llm_audit.settings import Settings

LOOK_SECONDS = 1.0  # so often on an operation, where there are any
SEGMENT_SECONDS = 30.0  # the agent deletes no segment that is still written
BEAT_SECONDS = 10.0
POLL_FIRST_SECONDS, POLL_MAX_SECONDS, POLL_GROWS = 0.005, 0.05, 1.5
# Without an agent nobody measures the spool; who records has no time for all of it.
MEASURE_SECONDS = 60.0
MEASURED_ENTRIES = 1_000


class HandedOver:
    """Has a journal shipped by the agent, and tells how far that is.

    Args:
        settings: What the spool may hold, and how long the end of a process may take.
        journal: This process's journal.
        folder: This process's folder in the spool.
        stats: Returns what this process knows of itself.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        folder: ProcessFolder,
        stats: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._folder = folder
        self._stats = stats
        self._told = ProgressFile(folder.path)
        self._backlog = Backlog()
        self._awaited = 0
        self._measured = 0
        self._ends_said = 0
        self._say = Every(BEAT_SECONDS, self._say_what_is_known)
        self._room_before = journal.room.bytes
        self.look = Every(LOOK_SECONDS, self._look)
        self._chores = (
            Every(LOOK_SECONDS, exits.listen),  # a server may be imported late
            Every(LOOK_SECONDS, end_dropped),
            Every(LOOK_SECONDS, self._look_after_journal),
            Every(LOOK_SECONDS, self._look_at_room),
            self._say,
            Every(BEAT_SECONDS, self._miss_agent, first_after_seconds=BEAT_SECONDS),
            Every(MEASURE_SECONDS, self._measure_room, first_after_seconds=BEAT_SECONDS),
        )

    @property
    def unavailable(self) -> str | None:
        """Why nothing is on its way now; None if it is, as far as is known."""
        if not self._has_agent():
            return f"no agent runs: {START_IT}"
        return self._told.look().unavailable

    @property
    def through(self) -> int:
        """The number of the operation up to which everything is in MongoDB.

        Numbers without a record, dropped ones, are behind us once everything else is.
        """
        recorded = self._journal.last_seq
        written = self._journal.written_through
        told = self._told.look().through
        late_from = self._journal.late_from()
        if late_from is not None:
            return min(told, late_from - 1)
        return recorded if told >= written else told

    def start(self) -> None:
        """Start nothing."""

    def flush(self, timeout_seconds: float) -> FlushResult:
        """Wait until everything recorded before now is acknowledged, or the time is over."""
        target = self._journal.last_seq
        end = clock.monotonic() + timeout_seconds
        pause = POLL_FIRST_SECONDS
        while (through := self._ask_for(target)) < target:
            left = end - clock.monotonic()
            if left <= 0:
                return FlushResult(target - through, self._why() or "time is over")
            time.sleep(min(pause, left))
            pause = min(POLL_MAX_SECONDS, pause * POLL_GROWS)
        return FlushResult(0)

    async def arrives(self, seq: int) -> None:
        """Wait in the running event loop until operation `seq` is acknowledged."""
        pause = POLL_FIRST_SECONDS
        while self._ask_for(seq) < seq:
            await asyncio.sleep(pause)
            pause = min(POLL_MAX_SECONDS, pause * POLL_GROWS)

    def recover(self, timeout_seconds: float) -> bool:
        """Wait until the agent has finished what the dead left; tell whether it has, in time."""
        end = clock.monotonic() + timeout_seconds
        target_folder = self._folder.path.parent
        while any(owner.has_ended() for _, owner in looking.owners(target_folder)):
            left = end - clock.monotonic()
            if left <= 0:
                return False
            time.sleep(min(POLL_MAX_SECONDS, left))
        return not looking.is_crowded(target_folder)  # else not all was looked at

    def expect_death(self) -> None:
        """Leave it to the agent, which sees each process end."""

    def deliver(self, timeout_seconds: float, *, waits: bool) -> FlushResult:
        """Flush a journal that is closed, or leave it to the agent without a wait.

        Args:
            timeout_seconds: How long at the most.
            waits: Whether somebody wants to know that everything has arrived.
        """
        end_dropped()
        return self.flush(timeout_seconds if waits else 0.0)

    def stop(self, timeout_seconds: float) -> int:  # noqa: ARG002
        """Leave the folder to the agent; return how many operations are lost with this process."""
        self._look_after_journal()
        lost = give_up(self._journal.segments, self._journal.losses)
        if not self._journal.last_seq and not self._journal.losses.total:
            self._folder.remove()
            return 0
        self._journal.note_losses(now=True)
        self._say_what_is_known()
        self._folder.note_end()
        self._folder.release()
        return lost

    def forget(self) -> None:
        """Have nothing of the parent's that would have to be closed."""

    def stats(self) -> dict[str, Any]:
        """Return what the agent has told of this journal."""
        told, journal = self._told.look(), self._journal
        recorded, through = journal.last_seq, self.through
        return {
            "acked_through": through,
            "backlog_bytes": self._bytes_on_disk() if through < recorded else 0,
            "backlog_age_seconds": round(self._backlog.age_seconds(recorded, through), 3),
            "superseded": told.superseded,
            "of_no_call": told.of_no_call,
            "closed_for_the_dead": told.closed,
            "rejected": [*told.refused],
            "dropped": [*journal.losses.entries(), *told.unreadable],
            "done_without": [],  # what the server lacks, the agent's document says
        }

    def _why(self) -> str | None:
        if unsaved(self._journal.segments):
            return complaints.IN_MEMORY_ONLY
        return self.unavailable

    def _ask_for(self, seq: int) -> int:
        """Return how far it is, and have the agent hurry if that is not enough."""
        through = self.through
        if through < seq:
            self.look()
            wanted = max(seq, self._awaited)
            if wanted > self._awaited:
                self._awaited = wanted
                with passing_over(OSError):  # that the disk refuses is said elsewhere
                    progress.want(self._folder.path, wanted)
        return through

    def _has_agent(self) -> bool:
        agent = agent_of(self._folder.path.parent)
        return agent is not None and agent.lives

    def _look(self) -> None:
        """Do what is due; who records hears of no fault in it, and none of these asks MongoDB."""
        do(self._chores)

    def _look_after_journal(self) -> None:
        """Keep the folder in place, segments short, and what was in memory on disk."""
        journal = self._journal
        journal.ensure_folder()
        journal.close_segment(older_than_seconds=SEGMENT_SECONDS)
        if not journal.disk_refuses:
            journal.save_memory()
        journal.leave_on_disk()
        journal.note_losses()
        if len(journal.lost_ends) > self._ends_said:
            self._say.soon()
        self._backlog.note(journal.last_seq, self.through)

    def _look_at_room(self) -> None:
        """Take over what the agent has measured; what was taken since then has gone from it."""
        journal, told = self._journal, self._told.look()
        before, self._room_before = self._room_before, journal.room.bytes
        if told.measured != self._measured:
            self._measured = told.measured
            free = free_bytes(self._settings.spool_dir)
            self._room_before = journal.measured_elsewhere(told.used_bytes, before, free)

    def _measure_room(self) -> None:
        """Measure a part of the spool, where no agent does: there may be more, not less."""
        if not self._has_agent():
            spool, before = self._settings.spool_dir, self._journal.room.bytes
            used = used_bytes(spool, at_most=MEASURED_ENTRIES)
            self._room_before = self._journal.measured_elsewhere(used, before, free_bytes(spool))

    def _say_what_is_known(self) -> None:
        self._folder.touch()
        with passing_over(OSError):  # that the disk refuses is said elsewhere
            ends = [*self._journal.lost_ends]
            told = {**self._stats(), progress.LOST_ENDS: ends}
            progress.write_stats(self._folder.path, told)
            self._ends_said = len(ends)

    def _miss_agent(self) -> None:
        """Say once that nobody ships what is recorded."""
        if not self._has_agent():
            log_once(
                f"LLM_AUDIT_SHIPPER is agent, but no agent runs: calls wait in "
                f"{self._folder.path.parent}, nothing is lost. To ship them, {START_IT}.",
                key="no agent",
            )

    def _bytes_on_disk(self) -> int:
        total = sum(segment.end for segment in unsaved(self._journal.segments))
        with passing_over(OSError):
            for path in self._folder.path.iterdir():
                if path.name.endswith(SUFFIX):
                    with passing_over(OSError):  # shipped a moment ago
                        total += path.stat().st_size
        return total

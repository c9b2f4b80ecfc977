"""What a trace looks like, wherever it is shown: its axis of time, how long a branch took, rows."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from llm_audit.queries.answers.trace_tree import SUMS, Branch, TraceBranch

_OF_A_BRANCH = (*SUMS, "started_at", "ended_at", "duration_ms")
BREAK_WIDTH = 0.03  # of what is drawn in full
MS = timedelta(milliseconds=1)


class Axis(NamedTuple):
    """Time from the first to the last moment that is known of what is drawn along it.

    A call that still runs does not make it longer: where the others ended would be too small to
    see. It is drawn beyond the end.

    Attributes:
        start: The first moment; None if none is known.
        length_ms: From there to the last one.
        is_open: Whether something still runs.
        breaks: From where to where it is drawn short, in milliseconds after the start.
    """

    start: datetime | None
    length_ms: float
    is_open: bool
    breaks: tuple[tuple[float, float], ...] = ()

    def place(self, moment: datetime) -> float:
        """Return where a moment is: 0 at the start, 1 at the end."""
        return 0 if self.start is None else self.place_ms((moment - self.start) / MS)

    def place_ms(self, after_ms: float) -> float:
        """Return where the moment is that so many milliseconds after the start is."""
        if not self.length_ms:
            return 0
        within = min(max(after_ms, 0), self.length_ms)
        return self._drawn_ms(within) / self._drawn_ms(self.length_ms)

    @property
    def shown_ms(self) -> float:
        """How much of the time is drawn in full."""
        return self.length_ms - sum(end - start for start, end in self.breaks)

    def _drawn_ms(self, after_ms: float) -> float:
        """Return how long the way is to a moment, as it is drawn."""
        each = max(self.shown_ms, 1) * BREAK_WIDTH
        drawn = after_ms
        for start, end in self.breaks:
            through = min(max(after_ms - start, 0), end - start)
            drawn -= through * (1 - each / (end - start))
        return drawn

    def meets(self, start: datetime, end: datetime | None) -> bool:
        """Tell whether a stretch of time, which may not have ended, is on the axis in part."""
        if self.start is None:
            return False
        last = self.start + self.length_ms * MS
        return start <= last and (end is None or end >= self.start)


def axis_of(branch: Branch, now: datetime) -> Axis:
    """Return the axis of a branch or a whole trace.

    Args:
        branch: Of a tree.
        now: Where it ends if something runs and nothing else is known but when that began.
    """
    length_ms = branch.duration_ms or branch.length_ms(now) or 0
    return Axis(branch.started_at, length_ms, bool(branch.pending))


def axis_over(moments: Iterable[datetime | None], *, is_open: bool) -> Axis:
    """Return the axis of whatever began and ended.

    Args:
        moments: Beginnings and ends; what is not known of them is None.
        is_open: Whether something still runs.
    """
    known = [moment for moment in moments if moment is not None]
    if not known:
        return Axis(None, 0, is_open)
    return Axis(min(known), (max(known) - min(known)) / MS, is_open)


def took_ms(branch: TraceBranch) -> float | None:
    """Return how long a branch took that has ended: its call alone, if there is nothing below."""
    of_call = None if branch.children else branch.call.latency_ms
    return branch.duration_ms if of_call is None else of_call


def trace_row(branch: TraceBranch, critical: Collection[str]) -> dict[str, Any]:
    """Return a call as a row for machines, with the sums of its branch.

    Args:
        branch: Of a tree.
        critical: The ids of the calls on the critical path.
    """
    return {
        **branch.call.model_dump(exclude=None if branch.call.unreadable else {"unreadable"}),
        "depth": branch.depth,
        "orphan": branch.orphan,
        "critical": branch.call.id in critical,
        "branch": sums_row(branch),
    }


def sums_row(branch: Branch) -> dict[str, Any]:
    """Return the sums of a branch, or of whatever adds up calls, as a row for machines."""
    return {name: getattr(branch, name) for name in _OF_A_BRANCH}

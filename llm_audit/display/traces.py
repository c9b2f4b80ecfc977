"""What a trace looks like, wherever it is shown: its axis of time, how long a branch took, rows."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from llm_audit.queries.trace_tree import SUMS, Branch, TraceBranch

_OF_A_BRANCH = (*SUMS, "started_at", "ended_at", "duration_ms")
_MS = timedelta(milliseconds=1)


class Axis(NamedTuple):
    """Time from the first to the last moment that is known of what is drawn along it.

    A call that still runs does not make it longer: where the others ended would be too small to
    see. It is drawn beyond the end.

    Attributes:
        start: The first moment; None if none is known.
        length_ms: From there to the last one.
        is_open: Whether something still runs.
    """

    start: datetime | None
    length_ms: float
    is_open: bool

    def place(self, moment: datetime) -> float:
        """Return where a moment is: 0 at the start, 1 at the end."""
        if self.start is None or not self.length_ms:
            return 0
        return min(max((moment - self.start) / _MS / self.length_ms, 0), 1)

    def meets(self, start: datetime, end: datetime | None) -> bool:
        """Tell whether a stretch of time, which may not have ended, is on the axis in part."""
        if self.start is None:
            return False
        last = self.start + self.length_ms * _MS
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
    return Axis(min(known), (max(known) - min(known)) / _MS, is_open)


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

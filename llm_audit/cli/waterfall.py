"""The lines of a trace's tree, long runs folded, and each line's time as a bar."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.text import Text

from llm_audit.call import FAILURE_STATUSES
from llm_audit.cli import terminal
from llm_audit.queries.trace_tree import Branch, TraceBranch, TraceTree

SIBLINGS = 10  # that are shown of a longer run
NOT_WORTH_FOLDING = 3
DEPTH = 20
GUIDES = 12  # characters: deeper down, the tree no longer moves to the right

# What half a cell shows: nothing, calls below, the call itself.
_NOTHING, _BELOW, _ITSELF = range(3)
_CELLS = (" ╶╺", "╴─╼", "╸╾━")
_BELOW_STYLE = "dim cyan"


@dataclass(frozen=True)
class Line:
    """A call in the tree, or calls that are folded; `branches` are those it stands for."""

    guide: str
    branch: TraceBranch | None
    branches: Sequence[TraceBranch]

    @property
    def call_id(self) -> str | None:
        """The call's, None for a fold."""
        return self.branch.call.id if self.branch else None


def lines_of(tree: TraceTree, *, full: bool) -> Iterator[Line]:
    """Yield the lines of a tree from top to bottom.

    Args:
        tree: However large.
        full: Fold nothing.
    """
    waiting = _below(tree, "", full=full, roots=True)[::-1]
    while waiting:
        line, guide = waiting.pop()
        yield line
        if line.branch is None:
            continue
        if not full and line.branch.depth >= DEPTH and line.branch.children:
            yield Line(_cut(f"{guide}└ "), None, line.branch.children)
        else:
            waiting += _below(line.branch, guide, full=full)[::-1]


def _below(
    branch: Branch, guide: str, *, full: bool, roots: bool = False
) -> list[tuple[Line, str]]:
    """Return the lines right below a branch, each with the guide of what is below itself."""
    children = branch.children
    folds = not full and len(children) > SIBLINGS + NOT_WORTH_FOLDING
    shown = children[:SIBLINGS] if folds else children
    lines = []
    for number, child in enumerate(shown, start=1):
        last = number == len(children)
        own = guide if roots else f"{guide}{'└' if last else '├'} "
        further = guide if roots else f"{guide}{' ' if last else '│'} "
        lines.append((Line(_cut(own), child, [child]), further))
    if folds:
        own = guide if roots else f"{guide}└ "
        lines.append((Line(_cut(own), None, children[SIBLINGS:]), ""))
    return lines


def _cut(guide: str) -> str:
    return guide if len(guide) <= GUIDES else f"⋯{guide[1 - GUIDES :]}"


class Timeline:
    """A trace's time from its first to its last known moment, as wide as a column."""

    def __init__(self, tree: TraceTree, width: int) -> None:
        self.width = width
        self._start = tree.started_at
        self._length = (tree.duration_ms or 0) * timedelta(milliseconds=1)

    def scale(self) -> str:
        """Return what stands above the bars: where they begin and end."""
        length = terminal.duration(self._length / timedelta(milliseconds=1))
        return f"0{length:>{self.width - 1}}"

    def bar(self, line: Line, *, critical: bool = False) -> Text:
        """Return when the calls of a line ran: bold the call itself, thin those below it."""
        halves = [_NOTHING] * (2 * self.width)
        for branch in line.branches:
            self._draw(halves, _BELOW, branch.started_at, branch.ended_at)
        style = _BELOW_STYLE
        if line.branch is not None:
            call = line.branch.call
            running = call.status == "PENDING"
            end = None if running else call.completed_at or call.created_at
            self._draw(halves, _ITSELF, call.created_at or end, end)
            style = _style(call.status, critical=critical)
        cells = zip(halves[::2], halves[1::2], strict=True)
        return Text("".join(_CELLS[left][right] for left, right in cells), style)

    def _draw(
        self, halves: list[int], what: int, start: datetime | None, end: datetime | None
    ) -> None:
        """Fill from start to end, at least half a cell; without an end, up to the edge."""
        if start is None:
            return
        first = min(self._place(start), len(halves) - 1)
        last = len(halves) if end is None else max(first + 1, self._place(end))
        halves[first:last] = [what] * (last - first)

    def _place(self, moment: datetime) -> int:
        if not self._length or self._start is None:
            return 0
        return round((moment - self._start) / self._length * 2 * self.width)


def _style(status: str, *, critical: bool) -> str:
    if status in FAILURE_STATUSES:
        return terminal.FAILURE
    if status != "SUCCESS":
        return terminal.STATUS_STYLES.get(status, terminal.FAILURE)
    return "bold cyan" if critical else "cyan"

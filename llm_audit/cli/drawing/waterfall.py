"""The lines of a trace's tree, long runs folded, and each line's time as a bar."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.text import Text

from llm_audit.call import FAILURE_STATUSES, LLMCallStatusEnum
from llm_audit.cli.drawing import terminal
from llm_audit.display import figures
from llm_audit.display.traces import axis_of
from llm_audit.queries.answers.trace_tree import Branch, TraceBranch, TraceTree

SIBLINGS = 10  # that are shown of a longer run
FAILING_SIBLINGS = 3  # that are shown of the others
SHORTEST_FOLD = 4  # calls: fewer are shown
DEPTH = 20
GUIDES = 12  # characters: deeper down, the tree no longer moves to the right

# What half a cell shows: nothing, calls below, the call itself.
_NOTHING, _BELOW, _ITSELF = range(3)
_CELLS = (" ╶╺", "╴─╼", "╸╾━")
_BELOW_STYLE = "dim cyan"


@dataclass(frozen=True)
class TreeLine:
    """A call in the tree, or calls that are folded; `branches` are those it stands for."""

    guide: str
    branch: TraceBranch | None
    branches: Sequence[TraceBranch]

    @property
    def call_id(self) -> str | None:
        """The call's, None for a fold."""
        return self.branch.call.id if self.branch else None


def lines_of(tree: TraceTree, *, full: bool) -> Iterator[TreeLine]:
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
            yield TreeLine(_cut(f"{guide}└ "), None, line.branch.children)
        else:
            waiting += _below(line.branch, guide, full=full)[::-1]


def _below(
    branch: Branch, guide: str, *, full: bool, roots: bool = False
) -> list[tuple[TreeLine, str]]:
    """Return the lines right below a branch, each with the guide of what is below itself."""
    runs = [[child] for child in branch.children] if full else _folded(branch.children)
    lines = []
    for number, run in enumerate(runs, start=1):
        last = number == len(runs)
        own = guide if roots else f"{guide}{'└' if last else '├'} "
        further = guide if roots else f"{guide}{' ' if last else '│'} "
        line = TreeLine(_cut(own), run[0] if len(run) == 1 else None, run)
        lines.append((line, further))
    return lines


def _folded(children: Sequence[TraceBranch]) -> list[Sequence[TraceBranch]]:
    """Divide siblings into those that are shown, one by one, and the runs that are folded."""
    failing = [n for n, child in enumerate(children) if n >= SIBLINGS and child.failures]
    shown = [*range(min(SIBLINGS, len(children))), *failing[:FAILING_SIBLINGS]]
    runs: list[Sequence[TraceBranch]] = []
    before = -1
    for place in (*shown, len(children)):
        between = children[before + 1 : place]
        if len(between) < SHORTEST_FOLD:
            runs += [[child] for child in between]
        else:
            runs.append(between)
        runs += [[child] for child in children[place : place + 1]]
        before = place
    return runs


def _cut(guide: str) -> str:
    return guide if len(guide) <= GUIDES else f"⋯{guide[1 - GUIDES :]}"


class Timeline:
    """A trace's time from its first to its last known moment, as wide as a column.

    What still runs goes on to the edge.
    """

    def __init__(self, tree: TraceTree, now: datetime, width: int) -> None:
        self.width = width
        self._axis = axis_of(tree, now)

    def scale(self) -> str:
        """Return what stands above the bars: where they begin and end."""
        return f"0{figures.duration(self._axis.length_ms):>{self.width - 1}}"

    def bar(self, line: TreeLine, *, critical: bool = False) -> Text:
        """Return when the calls of a line ran: bold the call itself, thin those below it."""
        halves = [_NOTHING] * (2 * self.width)
        for branch in line.branches:
            self._draw(halves, _BELOW, branch.started_at, branch.ended_at)
        style = _BELOW_STYLE
        if line.branch is not None:
            call = line.branch.call
            running = call.status == LLMCallStatusEnum.PENDING
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
        return round(self._axis.place(moment) * 2 * self.width)


def _style(status: str, *, critical: bool) -> str:
    if status in FAILURE_STATUSES:
        return terminal.FAILURE
    if status != LLMCallStatusEnum.SUCCESS:
        return terminal.STATUS_STYLES.get(status, terminal.FAILURE)
    return "bold cyan" if critical else "cyan"

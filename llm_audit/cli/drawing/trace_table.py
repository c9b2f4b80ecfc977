"""The table of a trace: each call with its place in the tree, its time, and what it took."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from llm_audit.call import LLMCallStatusEnum
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.call_table import distinct_width
from llm_audit.cli.drawing.waterfall import Timeline, TreeLine, lines_of
from llm_audit.display import figures
from llm_audit.display.traces import took_ms
from llm_audit.queries.answers.trace_tree import TraceTree

SHORTEST_ID = 13  # of a UUIDv7: its millisecond
WITH_SHORT_IDS = 100  # columns of a terminal that has room for ids as other lists have them
WITH_SHARES = 130  # columns of one that has room for bars of tokens and cost
NARROWEST, WIDEST = 12, 48  # bars of time
SHORTEST_LABEL = 8

CRITICAL = "*"
LONGER_THAN = ">"  # before the time of what still runs
ORPHANS = {"parent not in this trace": "?", "parents in a circle": "↻"}


class Taken(NamedTuple):
    """What a line's branches took."""

    took: str
    tokens: str
    cost: str


class Columns(NamedTuple):
    """Which columns there are, and how wide those are that can be wider or narrower."""

    taken: Sequence[Taken]
    names: Sequence[str]  # of the figures that are shown
    label: int
    timeline: int  # 0 where there is none


def trace_table(
    width: int, tree: TraceTree, now: datetime, critical: set[str], *, full: bool
) -> Table:
    """Return the table of a trace.

    Args:
        width: Of the terminal. Where it is narrow, numbers are shortened, then the bars of time
            are left out, then tokens and cost; the label is cut, but no number and no id.
        tree: What is shown.
        now: Until when running calls have run.
        critical: The ids of the calls on the critical path.
        full: Fold nothing.
    """
    lines = list(lines_of(tree, full=full))
    labels = [_label(line) for line in lines]
    shortest = terminal.SHORT_ID if width >= WITH_SHORT_IDS else SHORTEST_ID
    id_width = distinct_width([line.call_id for line in lines if line.call_id], shortest)
    with_shares = width >= WITH_SHARES
    longest = max(label.cell_len for label in labels)
    room = width - len(CRITICAL) - id_width - 2 - (2 * (terminal.BAR_WIDTH + 1) * with_shares)
    columns = _fitting(room, longest, [_taken(line, now) for line in lines])
    timeline = Timeline(tree, now, columns.timeline) if columns.timeline else None
    table = terminal.table("", "call", "id", cut="call")
    table.columns[1].width = columns.label
    if timeline:
        table.add_column(Text(timeline.scale(), no_wrap=True), no_wrap=True)
    for name in columns.names:
        table.add_column(terminal.words(name), justify="right", no_wrap=True)
        if with_shares and name != "took":
            table.add_column()
    for line, label, taken in zip(lines, labels, columns.taken, strict=True):
        is_critical = any(branch.call.id in critical for branch in line.branches)
        shown = figures.cell(line.call_id)[:id_width] if line.call_id else "--full"
        row = [Text(CRITICAL if is_critical else "", "bold cyan"), label, Text(shown, "dim")]
        row += [timeline.bar(line, critical=is_critical)] if timeline else []
        table.add_row(*row, *_cells(columns.names, taken, line, tree, with_shares=with_shares))
    return table


def _cells(
    names: Sequence[str], taken: Taken, line: TreeLine, tree: TraceTree, *, with_shares: bool
) -> Iterator[RenderableType]:
    """Yield a line's figures, each of tokens and cost with its share of the trace beside it."""
    fields = {"tokens": "total_tokens", "cost": "estimated_cost"}
    for name in names:
        figure = getattr(taken, name)
        yield Text(figure, "yellow" if figure.startswith(LONGER_THAN) else "")
        if with_shares and name in fields:
            yield terminal.bar(_sum(line, fields[name]), getattr(tree, fields[name]))


def _fitting(room: int, longest: int, taken: Sequence[Taken]) -> Columns:
    """Return the columns that there is room for beside the id, the most telling ones."""
    short = [Taken(*map(figures.shortened, each)) for each in taken]
    names = Taken._fields
    for shown, chosen, timeline in (
        (taken, names, NARROWEST),
        (short, names, NARROWEST),
        (short, names, 0),
        (short, ("took", "cost"), 0),
        (short, ("took",), 0),
    ):
        widths = [max(map(len, (n, *(getattr(each, n) for each in shown)))) for n in chosen]
        left = room - sum(widths) - len(widths)
        if left - (timeline and timeline + 1) >= SHORTEST_LABEL:
            break
    if not timeline:
        return Columns(shown, chosen, min(longest, max(left, 1)), 0)
    bar = min(max(left - longest - 1, NARROWEST), WIDEST)
    return Columns(shown, chosen, min(longest, left - bar - 1), bar)


def _label(line: TreeLine) -> Text:
    label = Text(line.guide, "dim", no_wrap=True, overflow="ellipsis")
    if line.branch is None:
        calls = sum(branch.calls for branch in line.branches)
        failures = sum(branch.failures for branch in line.branches)
        label.append(f"… {calls:,} more", "italic")
        return label.append(f", {failures:,} failed" if failures else "", terminal.FAILURE)
    call = line.branch.call
    if line.branch.orphan:
        label.append(f"{ORPHANS[line.branch.orphan]} ", "bold yellow")
    if call.status != LLMCallStatusEnum.SUCCESS:
        label.append_text(terminal.status_text(call.status)).append(" ")
    label.append(figures.cell(call.call_type), "not dim")
    if call.model:
        label.append(f" {figures.cell(call.model)}", "not dim")
    if call.tools_called:
        label.append(f" → {figures.cell(', '.join(call.tools_called))}", "dim")
    return label


def _taken(line: TreeLine, now: datetime) -> Taken:
    known = any(branch.calls > branch.calls_without_cost for branch in line.branches)
    return Taken(
        _took(line, now),
        figures.number(_sum(line, "total_tokens") or None),
        figures.money(_sum(line, "estimated_cost") if known else None),
    )


def _sum(line: TreeLine, name: str) -> float:
    return float(sum(getattr(branch, name) for branch in line.branches))


def _took(line: TreeLine, now: datetime) -> str:
    if running := [branch for branch in line.branches if branch.pending]:
        so_far = max(branch.length_ms(now) or 0 for branch in running)
        return f"{LONGER_THAN}{figures.duration(so_far)}"
    if line.branch is None:
        return ""
    return figures.duration(took_ms(line.branch))

"""Calls as rows: as many columns as there is room for, and ids by which they can be told apart."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rich.console import Console

from llm_audit.cli.drawing import terminal
from llm_audit.display import figures

if TYPE_CHECKING:
    from llm_audit.documents import LLMCall

WHOLE_ID = 36
STREAMED_ID = 28  # of a UUIDv7: its millisecond, and what counts the calls in it
MODEL_WITH_WHOLE_ID = 12

# The most important first; a number is left out rather than cut.
_WIDTHS = {"id": 0, "status": 10, "time": 11, "model": 8, "cost": 9, "latency": 7, "tokens": 7}
_WIDEST = {"model": 26, "cost": 13, "tokens": 13}  # where there is room left
_SHOWN = ("time", "id", "status", "model", "tokens", "cost", "latency")


class CallTable:
    """Tables of calls below each other, whose columns are as wide in all of them."""

    def __init__(self, console: Console, ids: Iterable[str] | None = None) -> None:
        """Divide the terminal into columns.

        Args:
            console: Where the calls are printed.
            ids: Of all calls that will be; None if that is not known yet.
        """
        self._console = console
        needed = STREAMED_ID if ids is None else distinct_width(ids, terminal.SHORT_ID)
        whole = max(WHOLE_ID, needed)
        others = sum(_WIDTHS.values()) - _WIDTHS["model"] + MODEL_WITH_WHOLE_ID + len(_WIDTHS) - 1
        self._widths = _fitting(console.width, whole if console.width >= whole + others else needed)

    def print(self, calls: "Sequence[LLMCall]", *, header: bool = False) -> None:
        """Print calls, and what the columns are if they are the first."""
        names = [name for name in _SHOWN if name in self._widths]
        table = terminal.table(*names, right="tokens cost latency", show_header=header)
        for column, name in zip(table.columns, names, strict=True):
            column.width = self._widths[name]
        for call in calls:
            cells = {
                "time": figures.moment(call.created_at),
                "id": figures.cell(call.id)[: self._widths["id"]],
                "status": terminal.status_text(call.status),
                "model": terminal.words(call.model),
                "tokens": figures.number(call.total_tokens),
                "cost": figures.money(call.estimated_cost),
                "latency": figures.duration(call.latency_ms),
            }
            table.add_row(*(self._number(cells[name], name) for name in names))
        self._console.print(table)

    def _number(self, cell: Any, name: str) -> Any:
        return figures.shortened(cell) if len(cell) > self._widths[name] else cell


def distinct_width(ids: Iterable[object], at_least: int) -> int:
    """Return how much of each id it takes to tell them apart.

    Args:
        ids: Of the calls in a list.
        at_least: How much is shown in any case.
    """
    width = at_least
    for one, other in pairwise(sorted({figures.cell(one) for one in ids})):
        while width < len(other) and one[:width] == other[:width]:
            width += 1
    return width


def _fitting(room: int, id_width: int) -> dict[str, int]:
    """Return the columns that there is room for, and their widths."""
    chosen: dict[str, int] = {}
    left = room + 1  # the first has no gap before it
    for name, least in (_WIDTHS | {"id": id_width}).items():
        if name in {"id", "status"} or least < left:
            chosen[name] = least
            left -= least + 1
    for name in (name for name in _WIDEST if name in chosen):
        wider = min(left, _WIDEST[name] - chosen[name])
        chosen[name] += wider
        left -= wider
    return chosen

"""Long runs of tool calls, messages, choices or turns: both ends are shown, and what is between."""

from collections.abc import Sequence
from typing import TypeVar

from rich.text import Text

from llm_audit.display.figures import counted

T = TypeVar("T")

SHOWN = 20  # of a long run, at each of its ends
SHORTEST_FOLD = 100  # a run that is no longer is shown whole


def both_ends(run: Sequence[T], *, full: bool) -> tuple[Sequence[T], Sequence[T], Sequence[T]]:
    """Divide a run into what is shown of its beginning, what is folded, and what ends it.

    Args:
        run: However long.
        full: Fold nothing.
    """
    if full or len(run) <= SHORTEST_FOLD:
        return run, (), ()
    return run[:SHOWN], run[SHOWN:-SHOWN], run[-SHOWN:]


def fold(count: int, what: str) -> Text:
    """Return the line that stands for what is folded.

    Args:
        count: Of how many.
        what: One of them, in a word.
    """
    return Text(f"… {counted(count, f'more {what}')}: --full", "dim")

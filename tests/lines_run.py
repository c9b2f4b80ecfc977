"""How much work something is, however fast the machine."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import llm_audit

OURS = (str(Path(llm_audit.__file__).parent), str(Path(__file__).parent))


def lines_run(work: Callable[[], object]) -> int:
    """Return how many lines of ours a piece of work takes, and how many calls of other functions.

    What a library does for one call is its own: to follow that takes several times as long.
    """
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        ours = frame.f_code.co_filename.startswith(OURS)
        count += event == ("line" if ours else "call")
        return trace if ours else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count

"""What capture does in this process: which clients it records, how often, and what waits for it.

It is said by `stats()` and by the process's document in MongoDB.
"""

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from llm_audit.runtime.forks import begin_anew
from llm_audit.runtime.kept import kept

ALL = "all"  # in `clients`: whatever sends a call
# What a process has loaded that asks for calls, by what it is imported as
_PACKAGES = {
    **{name: name for name in ("anthropic", "cohere", "groq", "litellm", "mistralai", "ollama")},
    "openai": "openai",
    "together": "together",
    "google.genai": "google-genai",
    "boto3": "bedrock",
}


@dataclass(slots=True)
class Counts:
    """What was captured while one recorder recorded.

    Attributes:
        calls: How many were recorded.
        by_hand: How many were not, because the app records them itself.
        faults: How often capture failed: these calls went through, and something of them is lost.
        passed_by: How many were not, because they are of clients that were not named.
    """

    calls: int = 0
    by_hand: int = 0
    faults: int = 0
    passed_by: int = 0


@kept
class Captured:
    """The one place where it is counted.

    Attributes:
        clients: Names of the clients whose calls are recorded; what `instrument` was given.
        counts: What was captured since the last recorder of this process was stopped.
        span_processors: How many record the spans of calls.
        dropped: Ends streams that nobody holds any more. The garbage collector drops them, in any
            thread and whatever that holds, so they are only put down here.
    """

    clients: tuple[str, ...] = ()
    counts = Counts()
    span_processors = 0
    dropped: ClassVar[deque[Callable[[], None]]] = deque()


def end_dropped() -> None:
    """End the streams that were dropped."""
    while Captured.dropped:
        try:
            end = Captured.dropped.popleft()
        except IndexError:  # another thread was faster
            return
        end()


def captured_stats(counts: Counts) -> dict[str, Any]:
    """Return what was captured; nothing where nothing is to be.

    Args:
        counts: The recorder's, which are kept when it has stopped.
    """
    if not Captured.clients and not counts.calls:
        return {}
    return {
        "instrumented": list(Captured.clients),
        "captured": counts.calls,
        "captured_by_hand": counts.by_hand,
        "capture_faults": counts.faults,
        "passed_by": counts.passed_by,
        "clients_loaded": [name for module, name in _PACKAGES.items() if module in sys.modules],
    }


@begin_anew
def _begin_anew() -> None:
    Captured.counts = Counts()
    Captured.dropped.clear()  # the parent ends them

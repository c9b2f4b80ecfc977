"""What others do beside recording: hear of each operation, and know of calls around a call."""

from collections.abc import Callable

from llm_audit.runtime.kept import kept

Listener = Callable[[str, bytearray], None]


def nobody(op: str, record: bytearray) -> None:
    """Hear nothing; what a listener is given says how it is called.

    Args:
        op: What it is, see `records`.
        record: As it is on disk.
    """


def no_parent() -> str | None:
    """Return the call around what is done here, as far as somebody else knows of one."""
    return None


@kept
class Listening:
    """The one place where that stands.

    Attributes:
        listener: Is called with each operation once it is on disk, in the thread that records; it
            takes no time, and never raises.
        parent: Is asked for the parent of a call where nothing names one.
    """

    listener: Listener = staticmethod(nobody)
    parent: Callable[[], str | None] = staticmethod(no_parent)

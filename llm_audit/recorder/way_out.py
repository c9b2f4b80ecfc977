"""The way out of this process's journal: a thread of this process, or an agent beside it."""

from typing import Any, Protocol

from llm_audit.recorder.shipping.acknowledged import FlushResult


class WayOut(Protocol):
    """What brings a recorder's journal to MongoDB."""

    @property
    def unavailable(self) -> str | None:
        """Why nothing is on its way now; None if it is, as far as is known."""

    @property
    def through(self) -> int:
        """The number of the operation up to which everything is in MongoDB."""

    def start(self) -> None:
        """Begin, once the journal is there; at the end of the interpreter, do without."""

    def flush(self, timeout_seconds: float) -> FlushResult:
        """Wait until everything recorded before now is acknowledged, or the time is over."""

    async def arrives(self, seq: int) -> None:
        """Wait in the running event loop until operation `seq` is acknowledged, or none will be."""

    def recover(self, timeout_seconds: float) -> bool:
        """Have the dead looked after now; tell whether they have left nothing, in time."""

    def expect_death(self) -> None:
        """Have them looked after often for a while: a process is just being ended."""

    def stop(self, timeout_seconds: float) -> None:
        """Come to an end; what has not arrived stays in the journal."""

    def forget(self) -> None:
        """Close what a forked child has inherited; its parent goes on."""

    def stats(self) -> dict[str, Any]:
        """Return what of `Recorder.stats` is known of shipping."""

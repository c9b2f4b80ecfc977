"""The way out of this process's journal: a thread of this process, or an agent beside it."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.journal.writer import Journal
from llm_audit.recorder.handed_over import HandedOver
from llm_audit.recorder.open_calls import OpenCalls
from llm_audit.recorder.shipping.acknowledged import FlushResult
from llm_audit.recorder.shipping.chores import Every
from llm_audit.settings import Settings, shipper_so_far
from llm_audit.settings.fields import AGENT


class WayOut(Protocol):
    """What brings a recorder's journal to MongoDB."""

    @property
    def look(self) -> Every | None:
        """What is to be done now and then by who records; None where a thread does it."""

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

    def deliver(self, timeout_seconds: float, *, waits: bool) -> FlushResult:
        """Flush a journal that is closed, and see to what children of this process have left.

        Args:
            timeout_seconds: How long at the most.
            waits: Whether to wait where somebody else delivers all the same.
        """

    def stop(self, timeout_seconds: float) -> int:
        """Come to an end; what has not arrived stays in the journal.

        Args:
            timeout_seconds: How long to wait for it.

        Returns:
            How many operations are lost, because they were in memory only.
        """

    def forget(self) -> None:
        """Close what a forked child has inherited; its parent goes on."""

    def stats(self) -> dict[str, Any]:
        """Return what of `Recorder.stats` is known of shipping."""


# Not by the first call: a child that is forked meanwhile would wait for the import for ever. Where
# an agent ships, neither the driver is loaded nor what else only a thread needs.
if shipper_so_far() != AGENT:
    importlib.import_module("llm_audit.recorder.shipping.shipper")


def way_out(
    settings: Settings,
    journal: Journal,
    folder: ProcessFolder,
    open_calls: OpenCalls,
    stats: Callable[[], Mapping[str, Any]],
) -> WayOut:
    """Return the way out that the settings name; what the other needs is not imported.

    Args:
        settings: Of the recorder.
        journal: Its journal.
        folder: Its folder in the spool.
        open_calls: The calls of this process.
        stats: Returns what the process's document says of it.
    """
    if settings.shipper == AGENT:
        return HandedOver(settings, journal, folder, stats)
    from llm_audit.recorder.shipping.shipper import Shipper

    return Shipper(settings, journal, folder, open_calls, stats)

"""Send many records, and find the one that makes sending raise: it costs itself only.

What MongoDB says of itself, and what the network does, is no record's fault: it comes as an
`UnavailableError`, and everything waits. Anything else that is raised, foreseen or not, comes of
one record or of all. So a batch is halved until what raises is alone. It is given up if others
arrive. Where nothing does, the fault is ours, and the journal is what keeps the records: only a few
are given up, and then one now and then, in case so many in a row are bad.
"""

import traceback
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from bson.errors import BSONError
from pymongo.errors import DocumentTooLarge, OperationFailure

from llm_audit.errors import LLMAuditError, UnavailableError, let_through_what_passes, log_fault
from llm_audit.journal.losses import internal
from llm_audit.journal.statements.writes import Form, Write
from llm_audit.runtime import clock
from llm_audit.store.answers.codes import describe
from llm_audit.store.answers.server_words import told
from llm_audit.store.delivery.groups import Group

IN_A_ROW_MAX = 10
NEXT_AFTER_SECONDS = 10.0

_HOME = Path(__file__).parents[2]


class StuckError(UnavailableError):
    """Every record makes sending raise: the journal keeps them."""


class UnforeseenRefusalError(LLMAuditError):
    """MongoDB refuses a command, for a reason nobody foresaw, and takes others: is it a record?

    Args:
        refusal: What it says.
    """

    def __init__(self, refusal: OperationFailure) -> None:
        super().__init__(describe(refusal))
        self.refusal = refusal


class RefusedMediaError(LLMAuditError):
    """MongoDB refuses what a record has in GridFS; the text is its code."""


# What is said of one document, by the driver or by MongoDB.
OF_A_DOCUMENT = (BSONError, DocumentTooLarge, RefusedMediaError)


class Isolation:
    """Keeps a record that makes sending raise from holding up others.

    Args:
        deliver: Sends writes, and takes from the list what has arrived.
        give_up: Takes care of a write that cannot be sent, for what was raised; returns what is
            sent instead.
        works: Raises if nothing can be sent now, whatever it is.
    """

    def __init__(
        self,
        deliver: Callable[[Group], None],
        give_up: Callable[[Write, BaseException], Group],
        works: Callable[[], None],
    ) -> None:
        self._deliver = deliver
        self._give_up = give_up
        self._works = works
        self._something_arrived = False  # with what is being sent
        self._in_a_row = 0  # how many were given up, and nothing has arrived meanwhile
        self._next_at = 0.0

    def send(self, writes: Group) -> None:
        """Send writes, and give up those that make sending raise.

        Args:
            writes: Emptied as they arrive; after an error it holds what is left to send.

        Raises:
            UnavailableError: Not now; call again with the same list.
            OSError: As well, as long as the process has no file descriptor or memory to spare.
        """
        untried, failed = [list(writes)], list[tuple[Write, BaseException]]()
        self._something_arrived = False
        try:
            while untried or failed:
                if not untried:
                    untried.append([])
                    self._give_some_up(failed, untried[-1])
                some = untried[-1]
                count, are_whole = len(some), any(map(_is_whole, some))
                fault = self._fault_of(some)
                untried.pop()
                if are_whole and (fault is None or len(some) < count):
                    self._something_arrived, self._in_a_row = True, 0
                if fault is None:
                    continue
                if len(some) == 1:
                    failed.append((some[0], fault))
                else:
                    middle = len(some) // 2
                    untried += [half for half in (some[:middle], some[middle:]) if half]
        finally:
            writes[:] = [*chain.from_iterable(untried), *(write for write, _ in failed)]

    def _fault_of(self, some: Group) -> BaseException | None:
        """Send some; return what was raised because of what is left of them."""
        try:
            self._deliver(some)
        except UnavailableError:
            raise
        except BaseException as fault:  # noqa: BLE001  (what passes goes through)
            let_through_what_passes(fault)
            self._works()
            return fault
        return None

    def _give_some_up(self, failed: list[tuple[Write, BaseException]], instead: Group) -> None:
        """Give up what fails alone, as long as anything else arrives, or for a few."""
        failed.sort(key=lambda each: each[0].form is Form.ADD_NOTES)  # they go with their record
        while failed:
            write, fault = failed[0]
            if not isinstance(fault, OF_A_DOCUMENT):
                log_fault(fault)
            left = [write]
            if not self._fails_again(left):
                instead += left
                del failed[0]
                continue
            (write,) = left
            foreseen = write.bare or isinstance(fault, OF_A_DOCUMENT)
            if not (foreseen or self._something_arrived):
                self._count(fault)
            instead += self._give_up(write, fault)
            del failed[0]

    def _fails_again(self, alone: Group) -> bool:
        """Try a write once more, in case that was a fault of the moment: of memory, say."""
        is_whole = _is_whole(alone[0])
        if self._fault_of(alone) is not None and len(alone) == 1:
            return True
        self._something_arrived |= is_whole
        return False

    def _count(self, fault: BaseException) -> None:
        if isinstance(fault, UnforeseenRefusalError):  # nothing else is taken: it is MongoDB
            unavailable = UnavailableError(told(fault.refusal))
            unavailable.__context__ = fault.refusal  # what it says is looked at
            raise unavailable
        if self._in_a_row >= IN_A_ROW_MAX and clock.monotonic() < self._next_at:
            raise StuckError(
                f"every record fails, {internal(fault)} in {place_of(fault)}: a fault of llm-audit"
            )
        self._in_a_row += 1
        self._next_at = clock.monotonic() + NEXT_AFTER_SECONDS


def _is_whole(write: Write) -> bool:
    return not write.bare and write.form is not Form.ADD_NOTES


def reason_of(fault: BaseException) -> str:
    """Return why a record is kept aside that made sending raise."""
    if isinstance(fault, UnforeseenRefusalError | RefusedMediaError):
        return str(fault)
    return type(fault).__name__ if isinstance(fault, OF_A_DOCUMENT) else internal(fault)


def place_of(fault: BaseException) -> str:
    """Name the line of ours that raised, or that called what did."""
    frames = traceback.extract_tb(fault.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_HOME)]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "no line of ours"

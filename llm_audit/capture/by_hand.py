"""Calls that the app records itself: such a one stands for the request that is made for it."""

import sys
from collections.abc import Callable

from llm_audit.capture.attempt import Attempt, Head, How
from llm_audit.recorder.open_calls import OpenCall
from llm_audit.recorder.started_here import open_for


class ByHand:
    """A request that is not recorded, because a call that is open stands for it.

    It stands for one answer: what the app asks meanwhile, or once it has that, is another call.

    Args:
        call: The open one.
    """

    def __init__(self, call: OpenCall) -> None:
        self._call = call
        call.taken = True
        self.is_sent = False
        self.pieces: list[bytes] = []

    @property
    def model(self) -> str | None:
        """The one that it names."""
        return self._call.model

    def raised(self, error: BaseException) -> None:  # noqa: ARG002
        """Note that it may be tried again."""
        self._call.taken = False

    def answered(self, head: Head, body: bytes) -> None:  # noqa: ARG002
        """Note that the call has what it stands for, or that it may be tried again."""
        self.begins(head)

    def begins(self, head: Head) -> None:
        """Note the same."""
        self._call.taken = not head.failed

    def take(self, piece: bytes) -> int:  # noqa: ARG002
        """Keep nothing."""
        return 0

    def ends(self, how: How) -> None:
        """Note nothing."""

    def closed(self, because_of: tuple[type[BaseException], ...] = ()) -> None:
        """Note that it may be tried again, if it is because of these."""
        if isinstance(sys.exc_info()[1], because_of):
            self._call.taken = False

    def closed_again(self) -> None:
        """Note nothing."""

    def unseen(self) -> None:
        """Note nothing."""

    def drop(self) -> None:
        """Note nothing."""


Follower = Attempt | ByHand
"""What is told how a request goes."""


def recorded_by_hand(model: Callable[[], str | None]) -> ByHand | None:
    """Return what stands for a request that is made here: a call that the app holds open.

    Args:
        model: Returns the one that is asked; it is asked for only where a call is open.
    """
    call = open_for(model)
    return None if call is None else ByHand(call)

"""The order of outcomes: who speaks, then who spoke first. What is said later: the last stands."""

import random
from enum import IntEnum

from bson.int64 import Int64

from llm_audit import causes
from llm_audit.runtime.forks import begin_anew

_TIME_BITS = 52
_TIE_BITS = 8
_lots = random.Random()  # noqa: S311  (not the app's own, which it may seed)


@begin_anew
def _begin_anew() -> None:
    _lots.seed()


class Rank(IntEnum):
    """Who speaks of an outcome; the higher is believed."""

    OWNER = 6
    ELSEWHERE = 5
    LEFT = 4
    MAIN_PROCESS = 3
    UNWINDING = 2
    INFERENCE = 1
    ATTEMPT = 0


# Causes that a process names while it is ended from outside; it cannot know more.
UNWINDING_CAUSES = (causes.PROCESS_EXIT, causes.INTERRUPTED, causes.SHUTDOWN)


def rank_of(key: int) -> int:
    """Return who spoke: a `Rank`, or what a later release has made one.

    Args:
        key: The outcome's precedence.
    """
    return key >> (_TIME_BITS + _TIE_BITS)


def lowest_key(rank: int) -> int:
    """Return the precedence that no outcome of a rank is below."""
    return rank << (_TIME_BITS + _TIE_BITS)


def outcome_key_of(rank: Rank, *, like: int) -> Int64:
    """Return the precedence of the same moment under another rank."""
    return Int64(lowest_key(rank) + like - lowest_key(rank_of(like)))


def outcome_key(rank: Rank, at: float) -> Int64:
    """Return an outcome's precedence: by rank, then the earlier, then by lot.

    Args:
        rank: Who speaks.
        at: When the outcome was known, in seconds of the epoch.
    """
    latest = (1 << _TIME_BITS) - 1  # in 2112: what a wrong clock says must not become a rank
    earlier_first = latest - min(max(0, int(at * 1e6)), latest)
    tie = _lots.getrandbits(_TIE_BITS)
    return Int64((rank << (_TIME_BITS + _TIE_BITS)) | (earlier_first << _TIE_BITS) | tie)


def attempt_key(number: int) -> Int64:
    """Return the precedence of what an attempt of a client says of its call: the later first.

    Args:
        number: Of the attempts from 1 on, twice: an odd one where it begins, an even one where it
            has failed.
    """
    return Int64((number << _TIE_BITS) | _lots.getrandbits(_TIE_BITS))


class _Said:
    last_us = 0


def later_key(at: float) -> Int64:
    """Return the order of what is said of a call later: by time, then by lot; the highest stands.

    What one process says is in the order in which it says it, also where its clock was put back.

    Args:
        at: When it was said, in seconds of the epoch.
    """
    _Said.last_us = microseconds = max(int(at * 1e6), _Said.last_us + 1)
    return Int64((microseconds << _TIE_BITS) | _lots.getrandbits(_TIE_BITS))

"""Ids, new ones and what one means: a UUIDv7 begins with its instant, so they are in order."""

import hashlib
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TypeAlias
from uuid import UUID

from uuid_utils import reseed_rng, uuid7

from llm_audit.errors import UsageError, let_through
from llm_audit.runtime.forks import Here, notice

Id: TypeAlias = str | int | UUID
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Where the UUIDv7s of 2109 begin. To test each id's version digit instead, with a regular
# expression, took a third of the time of a summary.
LAST_ID = "04"
TEXT_MAX_CHARACTERS = 2**20
IN_STEP_MS = 1000  # how far a UUIDv7 may be behind the clock: its thread may have had to wait

_numbers = count(random.getrandbits(41))


class _Seeded(threading.local):
    """In which process this thread was given its random state, which is uuid_utils' own.

    A child inherits that of the thread that forked it, and uuid_utils only hears of it where Python
    does.
    """

    process: object = None


_seeded = _Seeded()


def new_call_id() -> tuple[str, int]:
    """Return a new UUIDv7, and its instant: that of the wall clock, in milliseconds.

    Those of one process and millisecond are in the order of their making. That is also how most
    makers of UUIDv7 go on where the clock is put back: they count, and every id has the same
    instant for as long as it takes the clock to come there again. Ours has the clock's.
    """
    notice()
    if _seeded.process is not Here.process:
        reseed_rng()
        _seeded.process = Here.process
    made = uuid7()
    milliseconds = made.timestamp
    now = time.time_ns() // 1_000_000
    if 0 <= now - milliseconds < IN_STEP_MS:
        return str(made), milliseconds
    return _numbered_id(max(0, now), made.int)  # put back; or a test has frozen it, in 1960 say


def call_id_at(milliseconds: int) -> tuple[str, int]:
    """Return a new UUIDv7 of an instant, in milliseconds of the epoch, and that.

    It is `new_call_id` for what began a moment ago; what is older, or to come, is in order by its
    instant only.
    """
    call_id, now = new_call_id()
    if abs(now - milliseconds) < IN_STEP_MS:
        return call_id, now
    return _numbered_id(max(0, milliseconds), UUID(call_id).int)


def _numbered_id(milliseconds: int, bits: int) -> tuple[str, int]:
    """Return a UUIDv7 that has a number of 42 bits after its instant, and then 32 of some bits."""
    number = next(_numbers) % 2**42
    high, low = divmod(number, 2**30)
    value = milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low << 32 | bits % 2**32
    return str(UUID(int=value)), milliseconds


def call_id_of(milliseconds: int) -> str:
    """Return a new UUIDv7 of an instant that is over.

    Args:
        milliseconds: Of the epoch.
    """
    return _numbered_id(max(0, milliseconds), int(new_call_id()[0].replace("-", ""), 16))[0]


def call_id_from(milliseconds: int, text: str) -> str:
    """Return the UUIDv7 that an instant and a text have in common, whoever asks and however often.

    Args:
        milliseconds: Of the epoch.
        text: What names the call and no other.
    """
    drawn = int.from_bytes(hashlib.sha256(text.encode(errors="replace")).digest()[:10])
    high, low = drawn >> 68, drawn % 2**62
    return str(UUID(int=max(0, milliseconds) << 80 | 7 << 76 | high << 64 | 2 << 62 | low))


def created_at(call_id: str) -> datetime | None:
    """Return the instant in a UUIDv7, or None where the id is no UUIDv7."""
    if len(call_id) != 36 or call_id[14] != "7":  # noqa: PLR2004  (RFC 9562: the version digit)
        return None
    try:
        milliseconds = int(call_id[:8] + call_id[9:13], 16)
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError) as error:
        let_through(error)
        return None


def not_before(call_id: str, moment: datetime) -> datetime:
    """Return a moment, or when a call was made if some clock says that this came later."""
    return max(created_at(call_id) or moment, moment)


def first_id_at(at: float) -> str:
    """Return a text that no UUIDv7 made at this time or later is less than.

    Args:
        at: In seconds of the epoch.
    """
    return _first_id(int(at * 1000))


def id_text(name: str, value: object) -> str:
    """Return an id as it is stored: a str.

    Args:
        name: Of the argument, for the error.
        value: A str or a subclass of it (a call reference), a UUID or an int.

    Raises:
        UsageError: It is something else, or no id can be so.
    """
    # uuid_utils' UUID, which is fast, is no subclass of the standard library's
    if not (isinstance(value, str | int | UUID) or type(value).__name__ == "UUID"):
        raise UsageError(f"{name} has to be a str, a UUID or an int, not {type(value).__name__}.")
    try:
        return checked_text(name, str(value))
    except ValueError as error:  # an int of thousands of digits
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{name} is too large for an id.") from None


def checked_text(name: str, text: str) -> str:
    """Return a text that is asked for, if MongoDB can be asked for it.

    Args:
        name: Of the argument, for the error.
        text: What may be too long, or no text.

    Raises:
        UsageError: It is.
    """
    if len(text) > TEXT_MAX_CHARACTERS:
        raise UsageError(
            f"{name} has {len(text):,} characters: no call has more than {TEXT_MAX_CHARACTERS:,} "
            "in such a field."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} holds half a surrogate pair, which no call can.") from None
    return text


def first_id_from(name: str, moment: object) -> str:
    """Return where the UUIDv7s of a moment begin.

    Args:
        name: Of the argument, for the error.
        moment: A datetime; one without a zone is local time.

    Raises:
        UsageError: It is something else, or out of range.
    """
    if not isinstance(moment, datetime):
        raise UsageError(f"{name} has to be a datetime, not {type(moment).__name__}.")
    try:
        milliseconds = (moment.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)
    except (OverflowError, ValueError):  # year 1 or 9999, local time
        raise UsageError(f"{name} {moment} is out of range; leave it out instead.") from None
    return _first_id(max(milliseconds, 0))


def _first_id(milliseconds: int) -> str:
    digits = f"{milliseconds:012x}"
    return f"{digits[:8]}-{digits[8:]}"

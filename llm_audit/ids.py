"""What an id means: a UUIDv7 begins with its instant, so ids are in the order of time."""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from llm_audit.errors import UsageError, let_through

Id: TypeAlias = str | int | UUID
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Where the UUIDv7s of 2109 begin. To test each id's version digit instead, with a regular
# expression, took a third of the time of a summary.
LAST_ID = "04"


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
        UsageError: It is something else.
    """
    # uuid_utils' UUID, which is fast, is no subclass of the standard library's
    if isinstance(value, str | int | UUID) or type(value).__name__ == "UUID":
        return str(value)
    raise UsageError(f"{name} has to be a str, a UUID or an int, not {type(value).__name__}.")


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

"""Times and time zones as people write them, and the zone of this machine."""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import available_timezones

from llm_audit.errors import UsageError
from llm_audit.queries import grouping

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(rf"(\d+)([{''.join(_UNITS)}])")


def parse_time(option: str, text: str) -> datetime:
    """Return the moment that a text means.

    Args:
        option: Its name, for the error.
        text: How long ago (`30m`, `2h`, `7d`), or a date (`2026-11-01`, `2026-11-01T10:00`), which
            is local time unless it says otherwise.

    Raises:
        UsageError: It means no moment.
    """
    try:
        if (span := parse_span(text)) is not None:
            return datetime.now(UTC) - span
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text!r:.50} is no time: it takes 30m, 2h, 7d, 2026-11-01 or "
            "2026-11-01T10:00."
        ) from None


def parse_span(text: str) -> timedelta | None:
    """Return how long `30m`, `2h` or `7d` is; None for anything else.

    Raises:
        OverflowError: It is longer than all time.
    """
    ago = _AGO.fullmatch(text)
    return ago and timedelta(**{_UNITS[ago[2]]: int(ago[1])})


LOCALTIME = Path("/etc/localtime")

_ZONES = "zoneinfo/"  # the folder that a link to a zone leads into
_ALIASES_OF_UTC = frozenset({"Etc/UTC", "Etc/UCT", "Etc/Zulu", "UCT", "Zulu"})


def chosen_timezone(given: str | None) -> str:
    """Return the time zone to group by: the one that was given, else this machine's.

    Raises:
        UsageError: What was given is none.
    """
    return local_timezone() if given is None else grouping.checked_timezone(given)


def local_timezone(localtime: Path = LOCALTIME) -> str:
    """Return the time zone of this machine as MongoDB understands it.

    Args:
        localtime: The link that says it where TZ does not.

    Returns:
        The IANA name if it can be found, as it knows when clocks change; else the offset of now.
    """
    zone = os.environ.get("TZ")
    if zone is None:
        zone = str(localtime.resolve()) if localtime.is_symlink() else ""
    name = zone.removeprefix(":").rpartition(_ZONES)[2]
    if name in _ALIASES_OF_UTC:
        return grouping.UTC
    if name in available_timezones():
        return name
    offset = f"{datetime.now().astimezone():%z}"
    return grouping.UTC if offset == "+0000" else f"{offset[:3]}:{offset[3:5]}"


def so_far_ms(
    started_at: datetime | None, duration_ms: float | None, now: datetime, *, runs: bool
) -> float | None:
    """Return how long something took, or has taken until now if it still runs.

    Args:
        started_at: None if that is not known.
        duration_ms: From the first to the last moment that are known.
        now: Until when it has run.
        runs: Whether it does.
    """
    if not runs or started_at is None:
        return duration_ms
    return max((now - started_at) / timedelta(milliseconds=1), duration_ms or 0)

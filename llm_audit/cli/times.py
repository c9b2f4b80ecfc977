"""What `--since` and `--until` understand."""

import re
from datetime import UTC, datetime, timedelta

from llm_audit.errors import UsageError

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

"""What `--json` prints: one JSON document a line, dates in ISO 8601, UTC."""

import base64
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

# Python and some shells take these for ends of lines, and terminals obey some of them.
_NOT_IN_A_LINE = re.compile("[\x7f-\x9f\u2028\u2029]")


def print_json(row: Mapping[str, Any] | BaseModel) -> None:
    """Print one row as one line.

    Args:
        row: Whatever MongoDB returned, or a result of ours.
    """
    print_line(json_line(row.model_dump() if isinstance(row, BaseModel) else row))


def print_line(line: str) -> None:
    """Print a line as it is, however long."""
    print(line)


def json_line(row: Mapping[str, Any]) -> str:
    """Return one row as one line of strict JSON."""
    text = json.dumps(_finite(row), ensure_ascii=False, allow_nan=False, default=_text_of)
    return _NOT_IN_A_LINE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def iso_utc(moment: datetime) -> str:
    """Return a time in ISO 8601, UTC, to the millisecond; one without a zone is UTC, as stored."""
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return zoned.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _finite(value: Any) -> Any:
    """Return a value with null for the numbers that JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text_of(value: object) -> str:
    if isinstance(value, datetime):
        return iso_utc(value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)

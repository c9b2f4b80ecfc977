"""JSON in and out: plain JSON, and MongoDB's Extended JSON; one document a line.

Plain JSON is what `--json` prints and `export` writes: dates in ISO 8601, UTC, and a call's id as
`id`, as in Python. Extended JSON brings every type back that MongoDB has, and has `_id`, as there.
"""

import base64
import functools
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from llm_audit.display.hidden import escaped
from llm_audit.tolerant import TolerantModel

if TYPE_CHECKING:  # `llm-audit --help` needs no driver
    from bson.json_util import JSONOptions

ID, STORED_ID = "id", "_id"


def json_line(value: Any) -> str:
    """Return a row, or any other value, as one line of strict JSON."""
    write = functools.partial(json.dumps, ensure_ascii=False, allow_nan=False, default=_in_json)
    try:
        return escaped(write(value))
    except (ValueError, TypeError):  # NaN, or keys that are no texts
        return escaped(write(_finite(value)))


def extended_json(document: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Return a document in relaxed Extended JSON.

    Args:
        document: As it was read.
        indent: By how much to indent, in several lines; one line if not given.
    """
    from bson.json_util import dumps

    return escaped(
        dumps(document, json_options=_extended_options(), indent=indent, ensure_ascii=False)
    )


def from_json(line: str) -> tuple[dict[str, Any], bool]:
    """Return the document that a line means, and whether it is plain JSON, not Extended JSON.

    Which it is shows in the name of its id.

    Raises:
        ValueError, TypeError, ArithmeticError, RecursionError, BSONError: It means none.
    """
    from bson.binary import UuidRepresentation
    from bson.json_util import loads

    from llm_audit.encoding import moved

    document = json.loads(line)
    if not isinstance(document, dict):
        raise TypeError
    if ID in document and STORED_ID not in document:
        renamed = {STORED_ID if name == ID else name: item for name, item in document.items()}
        return moved.from_json(renamed), True
    del document  # a large one is not held twice
    # each binary as it is: else what says that it is a UUID would have to be one, of today's kind
    options = _extended_options().with_options(uuid_representation=UuidRepresentation.UNSPECIFIED)
    return loads(line, json_options=options), False


def json_row(row: Mapping[str, Any] | BaseModel) -> dict[str, Any]:
    """Return a row for plain JSON: it says nothing of what was not there, and has one name for ids.

    Args:
        row: Whatever MongoDB returned, or a result of ours.
    """
    if isinstance(row, BaseModel):
        return row.model_dump(exclude_unset=isinstance(row, TolerantModel))
    return {ID if name == STORED_ID else name: value for name, value in row.items()}


def iso_utc(moment: datetime) -> str:
    """Return a time in ISO 8601, UTC, to the millisecond; one without a zone is UTC, as stored."""
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return zoned.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@functools.cache
def _extended_options() -> "JSONOptions":
    from bson.binary import UuidRepresentation
    from bson.codec_options import DatetimeConversion
    from bson.json_util import RELAXED_JSON_OPTIONS

    return RELAXED_JSON_OPTIONS.with_options(
        uuid_representation=UuidRepresentation.STANDARD,
        datetime_conversion=DatetimeConversion.DATETIME_AUTO,  # MongoDB has years beyond 9999
        tz_aware=True,
    )


def _finite(value: Any) -> Any:
    """Return a value with null for the numbers that JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _in_json(value: object) -> Any:
    if isinstance(value, datetime):
        return iso_utc(value)
    if isinstance(value, Mapping):
        return dict(value)
    if not isinstance(value, bytes):
        return str(value)
    from llm_audit.encoding.moved import is_mark

    return value.hex() if is_mark(value) else base64.b64encode(value).decode()

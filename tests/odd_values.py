"""Values that no recorder writes, for fields of calls that others wrote or a header brought in."""

from datetime import UTC, datetime
from typing import Any

import bson
from bson.datetime_ms import DatetimeMS

ODD: list[Any] = [
    *(5, -5, 2.5, float("nan"), float("inf"), "5", "x" * 100, "", True, None, b"\xff"),
    *([], [5], {}, {"gridfs_id": "0" * 64, "length": 9}, {"a": {"b": [None]}}),
    *(datetime(2026, 5, 1, tzinfo=UTC), DatetimeMS(10**16), DatetimeMS(-(2**63)), bson.ObjectId()),
    *(bson.Decimal128("0.5"), bson.Decimal128("NaN"), bson.Int64(2**62), bson.Regex("x")),
    *(bson.MinKey(), bson.MaxKey(), bson.Timestamp(1, 1)),
]

"""What failures say, put together: messages that differ in numbers and ids alone are one."""

import re
from collections.abc import Iterable
from typing import Any

from llm_audit.queries.answers.summaries import FailureMessage

LONGEST = 300  # characters of a message that tell it from others
MOST = 100

_CHANGING = re.compile(
    r"(?<![A-Za-z])0x[0-9a-fA-F]+"
    r"|(?<![\w-])(?=[\w-]*\d)[\w-]{12,}"  # ids: looked for at the beginning of a word alone
    r"|\d+(?:[.,:]\d+)*"
)


def fingerprint(message: str) -> str:
    """Return what a message has in common with others of its kind: # for numbers and ids."""
    return _CHANGING.sub("#", " ".join(message[:LONGEST].split()))


def messages_in(failures: Iterable[dict[str, Any]]) -> list[FailureMessage]:
    """Return what failures say, what most of them say first, at most 100.

    Args:
        failures: Rows of `pipelines.failure_messages`, newest first.
    """
    found: dict[str, FailureMessage] = {}
    for failure in failures:
        said = fingerprint(failure["error_message"])
        at, error_type = failure.get("created_at"), failure.get("error_type")
        row = found.get(said)
        if row is None:
            row = found[said] = FailureMessage.model_validate(
                {
                    "message": said,
                    "count": 0,
                    "error_types": [],
                    "first_seen": at,
                    "last_seen": at,
                    "sample_id": str(failure["id"]),
                }
            )
        row.count += 1
        row.first_seen = at or row.first_seen
        if isinstance(error_type, str) and error_type not in row.error_types:
            row.error_types.append(error_type)
    return sorted(found.values(), key=lambda row: -row.count)[:MOST]

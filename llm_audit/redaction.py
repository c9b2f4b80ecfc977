"""The user's `redact` rule, applied before anything is encoded, so before anything is on disk."""

import sys
from typing import Any

import bson

from llm_audit.errors import log_once
from llm_audit.recorder.encode import encode
from llm_audit.settings import Redact

# What makes a record a record; a rule that drops or changes it would lose the call.
STRUCTURE = frozenset({"status", "outcome_key", "process_nonce", "completed_at"})
CONTENT = frozenset(
    {
        *("system_prompt", "messages", "input", "tools", "tool_choice", "request_params"),
        *("metadata", "tags", "response_message", "tools_called"),
        *("error_message", "error_traceback"),
    }
)


def apply(redact: Redact, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as the rule leaves them.

    The rule gets a plain copy (dicts, lists, strings, numbers), so it may change it in place
    without touching what the audited code sends. Where the rule itself fails, the content is left
    out: better a call without its text than a secret on disk.

    Args:
        redact: Takes and returns the fields of a call's start, and later those of its outcome.
        fields: What would be recorded.
    """
    plain = bson.decode(encode(fields, sys.maxsize, sys.maxsize).raw)
    try:
        redacted = redact(dict(plain))
        if not isinstance(redacted, dict):
            raise TypeError(f"redact returned {type(redacted).__name__}, not the dict of fields")  # noqa: TRY301
    except Exception as error:  # noqa: BLE001  (any fault of the rule counts as "do not store")
        log_once(
            f"redact failed with {type(error).__name__}: mend the function given to "
            "llm_audit.configure(redact=...). Until then calls are recorded without their content."
        )
        redacted = {name: value for name, value in plain.items() if name not in CONTENT}
    return redacted | {name: fields[name] for name in STRUCTURE if name in fields}

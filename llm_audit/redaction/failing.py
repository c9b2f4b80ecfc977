"""What is stored where a rule fails: nothing that anybody has said, and no id."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from llm_audit.call import Kind, LLMCallStatusEnum, LLMCallTypeEnum, named
from llm_audit.redaction.functions import STRUCTURE

NOTE = "left out with the ids, because a rule of redact failed"
_NUMBERED = frozenset(named(Kind.WHO, Kind.FIGURE))  # of what else holds numbers some may be ids
# What the settings and the machine say, and words of ours.
_OURS = STRUCTURE | {
    *("environment", "service", "host", "api", "captured_by", "content", "ended_by"),
    "cost_source",
}
_OF_TASK = ("retries", "pid", "redelivered", "eager", "batch_size")
_TYPES = frozenset(kind.value for kind in LLMCallTypeEnum)
STATUSES = frozenset(status.value for status in LLMCallStatusEnum)


class NoRulesError(Exception):
    """The settings want redaction, and do not say which; that has been told already."""


def no_rules(_fields: dict[str, Any]) -> dict[str, Any]:
    """Stand for rules that nobody knows.

    Raises:
        NoRulesError: Always.
    """
    raise NoRulesError


def without_text(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what remains of a document where its content must not be stored: figures and times.

    Args:
        document: By field, of any operation, an end that is still to be read included.
    """
    kept: dict[str, Any] = {}
    for name, value in document.items():
        of_verdict = name == "task_id" and "status" in document
        if name in _OURS or of_verdict or (name == "call_type" and value in _TYPES):
            kept[name] = value
        elif name == "task" and isinstance(value, dict):
            kept[name] = _numbers(value, _OF_TASK)
        elif name == "cost_details" and isinstance(value, dict):
            kept[name] = _numbers(value, value)
        elif name == "said" and isinstance(value, dict):
            kept[name] = _said(value)
        elif name == "asked":
            kept[name] = [None, None]
        elif name in _NUMBERED and isinstance(value, int | float | datetime):
            kept[name] = value
    return kept


def _numbers(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {
        name: values[name] for name in names if isinstance(values.get(name), bool | int | float)
    }


def _said(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of an end that is still to be read."""
    kept = _numbers(said, ("estimated_cost", "time_to_first_token_ms"))
    if said.get("status") in STATUSES:
        kept["status"] = said["status"]
    return kept

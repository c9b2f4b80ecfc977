"""What of a call's content is recorded, as the settings say: all of it, nothing, or by trace.

It is left out before anything is journaled. Where a trace is not in the sample, what a call begins
with waits in memory until its end tells whether it is to be kept, and then goes with that. So the
content of a call whose process is killed meanwhile is gone; its record is not.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import bson

from llm_audit.call import Kind, LLMCallStatusEnum, named
from llm_audit.encoding.encode import encode
from llm_audit.journal.records import ENDED
from llm_audit.journal.unread import AS_STORED, TOLD_AS, fields_of
from llm_audit.recorder.open_calls import OpenCall, OpenCalls
from llm_audit.settings import Settings
from llm_audit.settings.content import Content

HELD_MAX_BYTES = 64 * 2**20  # of all open calls together; what is more is recorded at once
# What the app says of its calls, what providers count, and notes of ours are no content.
_KEPT = {"metadata", "usage", "encoding_notes", "media", "annotations"}
CONTENT_FIELDS = frozenset(named(Kind.SAID, Kind.QUOTES)) - _KEPT
_PARAMS, _ATTEMPTS, _BODY = "request_params", "attempts", "body"
_FIGURES = frozenset({int, float, bool})


@dataclass(eq=False, slots=True)
class CallContent:
    """What is to be done with the content of one open call.

    Attributes:
        policy: Why any of it is left out.
        left_out: How much of each field of its start.
        held: The content of its start as BSON, while it may still be kept.
        notes: What was changed in that.
        figures: Of its parameters, which are kept in any case.
        is_kept: Whether an end of it has been recorded with all of it.
    """

    policy: Content
    left_out: dict[str, int]
    held: bytes = b""
    notes: Sequence[str] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    is_kept: bool = False


class ContentPolicy:
    """What the settings say of content, and how often it has been left out.

    Args:
        settings: Of the recorder.
        open_calls: Know how much is held.
    """

    def __init__(self, settings: Settings, open_calls: OpenCalls) -> None:
        self._by_type = settings.content_by_call_type
        self._otherwise = settings.content
        self._slow_ms = settings.slow_ms
        self._rate = settings.content_sample_rate
        self._open_calls = open_calls
        self.is_full = settings.content_is_full()
        policies = {self._otherwise, *self._by_type.values()}
        # who does not know what a call was for says no more than of any
        self._of_unknown = Content.METADATA if Content.METADATA in policies else Content.FULL
        self._left_out: dict[str, int] = {}

    def of_start(self, call: OpenCall, fields: dict[str, Any]) -> dict[str, Any]:
        """Return what is journaled of how a call begins, and note what is to be done at its end.

        Args:
            call: The call.
            fields: All that is known of it.
        """
        policy = self._by_type.get(str(call.call_type), self._otherwise)
        if policy is Content.FULL:
            return fields
        fields = {**_read(fields), "content": policy.value}
        if policy is Content.SAMPLED and self._is_in_sample(call.trace_id):
            return fields
        kept, content, left_out = _apart(fields)
        if policy is Content.METADATA:
            call.content = CallContent(policy, left_out)
            return kept
        held = encode(content, sys.maxsize, sys.maxsize)
        if not self._open_calls.hold(call, len(held.raw), HELD_MAX_BYTES):
            return fields
        figures = kept.pop(_PARAMS, {})  # its end says them: no field is in both
        call.content = CallContent(policy, left_out, held.raw, held.notes, figures)
        return kept

    def of_end(self, call: OpenCall | None, fields: dict[str, Any]) -> dict[str, Any]:
        """Return what is journaled of how a call ended.

        Args:
            call: The call, if it is of this process.
            fields: All that is known of its end.
        """
        of_call = call.content if call is not None else None
        if of_call is None:
            if call is not None or self._of_unknown is Content.FULL:
                return fields
            of_call = CallContent(self._of_unknown, {})
        fields = _read(fields)
        if of_call.policy is Content.SAMPLED and (of_call.is_kept or self._is_worth_it(fields)):
            of_call.is_kept = True
            if of_call.notes:
                fields = {
                    **fields,
                    "encoding_notes": [*of_call.notes, *fields.get("encoding_notes", ())],
                }
            return {**fields, **bson.decode(of_call.held, AS_STORED)} if of_call.held else fields
        kept, _, left_out = _apart(fields)
        if of_call.figures:
            kept[_PARAMS] = of_call.figures
        if left_out := {**of_call.left_out, **left_out}:
            kept["content_left_out"] = left_out
            self._left_out[of_call.policy] = self._left_out.get(of_call.policy, 0) + 1
        return kept

    def of_a_whole(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return what is journaled of a call that comes with its end.

        Args:
            fields: All that is known of it.
        """
        policy = self._by_type.get(str(fields.get("call_type")), self._otherwise)
        if policy is Content.FULL:
            return fields
        fields = {**fields, "content": policy.value}
        is_chosen = self._is_in_sample(str(fields["trace_id"])) or self._is_worth_it(fields)
        if policy is Content.SAMPLED and is_chosen:
            return fields
        kept, _, left_out = _apart(fields)
        if left_out:
            kept["content_left_out"] = left_out
            self._left_out[policy] = self._left_out.get(policy, 0) + 1
        return kept

    def of_attempts(self, call: OpenCall, fields: dict[str, Any]) -> dict[str, Any]:
        """Return what is journaled of a call that goes on, as its client tries again.

        Args:
            call: The call.
            fields: What is known of its requests so far.
        """
        return fields if call.content is None else _apart(fields)[0]

    def is_over(self, call: OpenCall) -> None:
        """Hold nothing of a call any more: nobody will say anything better of it."""
        if call.content is not None and call.content.held:
            self._open_calls.hold_no_more(call)
            call.content.held = b""

    def stats(self) -> dict[str, Any]:
        """Return of how many calls content was left out, by policy."""
        return {"content_left_out": dict(self._left_out)} if self._left_out else {}

    def _is_in_sample(self, trace_id: str) -> bool:
        """Tell the same of each call of a trace, in whatever process."""
        lot = blake2b(trace_id.encode("utf-8", "replace"), digest_size=8).digest()
        return int.from_bytes(lot, "big") < self._rate * 2**64

    def _is_worth_it(self, fields: Mapping[str, Any]) -> bool:
        """Tell whether a call failed, or took long."""
        is_slow = self._slow_ms is not None and fields.get("latency_ms", 0.0) >= self._slow_ms
        return is_slow or fields.get("status") != LLMCallStatusEnum.SUCCESS


def _read(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields with what would be read later, by whoever reads the journal."""
    for op, told in (*TOLD_AS.items(), (ENDED, "said")):
        if told in fields:
            found, notes = fields_of(op, fields, at_once=True)
            known = fields.get("encoding_notes", ())
            return {**found, **({"encoding_notes": [*known, *notes]} if known or notes else {})}
    return fields


def _apart(
    fields: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    """Return what is no content, what is, and how much that is, by field."""
    kept: dict[str, Any] = {}
    content: dict[str, Any] = {}
    for name, value in fields.items():
        (content if name in CONTENT_FIELDS else kept)[name] = value
    counts = {name: _count(value) for name, value in content.items()}
    left_out = {name: count for name, count in counts.items() if count}
    params = content.get(_PARAMS)
    if isinstance(params, dict):
        figures = {name: value for name, value in params.items() if type(value) in _FIGURES}
        if figures:
            kept[_PARAMS] = figures
        if not (more := len(params) - len(figures)):
            left_out.pop(_PARAMS, None)
        else:
            left_out[_PARAMS] = more
    if isinstance(attempts := kept.get(_ATTEMPTS), list):
        kept[_ATTEMPTS] = [
            {name: value for name, value in one.items() if name != _BODY} for one in attempts
        ]
    return kept, content, left_out


def _count(value: object) -> int:
    """Return how many items a list has; of anything else there is one."""
    if type(value) in {list, tuple}:
        return len(value)  # type: ignore[arg-type]
    return int(not (value is None or (type(value) in {str, dict} and not value)))

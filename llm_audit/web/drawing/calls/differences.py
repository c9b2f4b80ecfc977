"""What two calls differ in: how they were asked, and what was said, part by part.

Everything has a bound: what is compared, and what is shown of it. What is over is counted.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, NamedTuple

from llm_audit.display.facts import tool_name
from llm_audit.display.pretty import pretty
from llm_audit.providers.blocks import CALL, REASONING, RESPONSE, TEXT
from llm_audit.providers.messages import Part
from llm_audit.queries.steps import Document
from llm_audit.web.drawing.media import without_media

PARTS = 600  # of each side that are compared, beside those that both begin and end with
PAIRS = 80  # that are shown
VALUE = 300  # characters of a parameter
_TEXT = 24_000  # characters of a text that are compared
_WORDS = 1_500  # then lines are compared, and no words
_SHOWN = 2_000  # characters of a text, on each side
_LEAST_ALIKE = 0.2  # of the words of two texts, so that what differs is marked
_PAGE = 48_000  # of all texts together
_AROUND = 60  # characters that are shown before and after what differs
_PARAMETERS = 60
_FIELDS = (
    *("call_type", "provider", "model", "response_model", "endpoint", "api", "temperature"),
    *("max_tokens", "tool_choice", "streamed", "finish_reason", "environment", "service", "tags"),
    *("user_id", "company_id", "session_id", "host", "error_type", "error_message", "ended_by"),
)
_OBJECTS = ("request_params", "metadata", "task", "usage")
_WORD = re.compile(r"\s+|\w+|[^\w\s]")


class Run(NamedTuple):
    """Some of a text: `same`, `old` (only in the first), `new` (only in the second) or `gap`."""

    kind: str
    text: str


class Pair(NamedTuple):
    """A part of one call beside that of the other.

    Attributes:
        role: Who said it.
        what: text, reasoning, tool_call ..., and the tool's name.
        left: What the first call has there; empty if it has none.
        right: The same of the second.
        rest: How many characters of both are not shown.
    """

    role: str
    what: str
    left: Sequence[Run]
    right: Sequence[Run]
    rest: int


class Same(NamedTuple):
    """Some parts that both have."""

    alike: int


class Compared(NamedTuple):
    """What was said in two calls.

    Attributes:
        rows: In order.
        same: How many parts both have.
        left_out: How many pairs differ that are not shown.
        not_compared: How many parts of both were too many to be compared.
    """

    rows: list[Pair | Same]
    same: int
    left_out: int
    not_compared: int


class Changed(NamedTuple):
    """Something that two calls have in another way.

    Attributes:
        name: Of the field.
        left: What the first has, in a line; None if nothing.
        right: What the second has.
    """

    name: str
    left: str | None
    right: str | None


def changed_fields(left: Document, right: Document) -> tuple[list[Changed], int]:
    """Return in which fields two calls differ, and in how many they do not.

    Args:
        left: The first, as `LLMCall.model_dump` gives it.
        right: The second.
    """
    one, other = dict(_flat(left)), dict(_flat(right))
    found = [Changed(name, one.get(name), other.get(name)) for name in {**one, **other}]
    changed = [each for each in found if each.left != each.right]
    shown = [each._replace(left=_line(each.left), right=_line(each.right)) for each in changed]
    return shown, len(found) - len(changed)


def compared(left: Sequence[Part], right: Sequence[Part]) -> Compared:
    """Return what two calls say, part beside part."""
    one, other = [_key(part) for part in left], [_key(part) for part in right]
    ahead = _common(one, other)
    behind = _common(one[ahead:][::-1], other[ahead:][::-1])
    middle, others = left[ahead : len(left) - behind], right[ahead : len(right) - behind]
    keys, other_keys = one[ahead : len(one) - behind], other[ahead : len(other) - behind]
    rows: list[Pair | Same] = [Same(ahead)] if ahead else []
    same, left_out, room = ahead + behind, 0, _PAGE
    matcher = SequenceMatcher(None, keys[:PARTS], other_keys[:PARTS], autojunk=False)
    for what, i, i_end, j, j_end in matcher.get_opcodes():
        if what == "equal":
            rows.append(Same(i_end - i))
            same += i_end - i
            continue
        for a, b in zip_longest(middle[i:i_end], others[j:j_end]):
            if room <= 0 or len(rows) >= PAIRS:
                left_out += 1
                continue
            pair = _pair(a, b)
            room -= sum(len(run.text) for run in (*pair.left, *pair.right))
            rows.append(pair)
    if behind:
        rows.append(Same(behind))
    over = max(0, len(keys) - PARTS) + max(0, len(other_keys) - PARTS)
    return Compared(rows, same, left_out, over)


def _pair(left: Part | None, right: Part | None) -> Pair:
    some = left or right
    assert some is not None  # noqa: S101  (zip_longest gives one of them)
    what = f"{some.type.replace('_', ' ')} {some.name or ''}".strip()
    if left is None or right is None:
        text = _text(some)
        runs = [Run("same", text[:_SHOWN])]
        rest = max(0, len(text) - _SHOWN)
        return Pair(
            some.role, what, [] if left is None else runs, [] if right is None else runs, rest
        )
    runs = _runs(_text(left), _text(right))
    sides = [[run for run in runs if run.kind != kind] for kind in ("new", "old")]
    if _alike(runs) < _LEAST_ALIKE:  # marks on every word of two texts say nothing
        sides = [[Run("same", "".join(run.text for run in side))] for side in sides]
    (shown, rest), (shown_right, rest_right) = map(_cut, sides)
    over = max(0, len(_text(left)) - _TEXT) + max(0, len(_text(right)) - _TEXT)
    return Pair(some.role, what, shown, shown_right, rest + rest_right + over)


def _runs(left: str, right: str) -> list[Run]:
    """Return how one text becomes the other: by words, or by lines where these are too many."""
    left, right = left[:_TEXT], right[:_TEXT]
    one, other = _WORD.findall(left), _WORD.findall(right)
    if max(len(one), len(other)) > _WORDS:
        one, other = left.splitlines(keepends=True), right.splitlines(keepends=True)
        one, other = one[:_WORDS], other[:_WORDS]
    runs: list[Run] = []
    for what, i, i_end, j, j_end in SequenceMatcher(None, one, other).get_opcodes():
        if what == "equal":
            runs.append(Run("same", "".join(one[i:i_end])))
            continue
        runs += [Run("old", "".join(one[i:i_end]))] if i < i_end else []
        runs += [Run("new", "".join(other[j:j_end]))] if j < j_end else []
    return [short for number, run in enumerate(runs) for short in _around(run, number, len(runs))]


def _around(run: Run, number: int, count: int) -> Iterator[Run]:
    """Yield what both have alike, without what is far from any difference."""
    head = 0 if number == 0 else _AROUND
    tail = 0 if number == count - 1 else _AROUND
    left_out = len(run.text) - head - tail
    if run.kind != "same" or left_out < 2 * _AROUND or count == 1:
        yield run
        return
    if head:
        yield Run("same", run.text[:head])
    yield Run("gap", f" … {left_out:,} characters alike … ")
    if tail:
        yield Run("same", run.text[-tail:])


def _alike(runs: Sequence[Run]) -> float:
    """Return which share of two texts is in both: words, as both have the blanks between them."""
    words = [(run.kind, len(run.text.split()) * (2 if run.kind == "same" else 1)) for run in runs]
    if any(kind == "gap" for kind, _ in words):
        return 1.0
    whole = sum(count for _, count in words)
    return sum(count for kind, count in words if kind == "same") / whole if whole else 1.0


def _cut(runs: Sequence[Run]) -> tuple[list[Run], int]:
    shown, room, rest = [], _SHOWN, 0
    for run in runs:
        kept = run.text[: max(room, 0)]
        rest += len(run.text) - len(kept)
        room -= len(kept)
        if kept:
            shown.append(Run(run.kind, kept))
    return shown, rest


def _text(part: Part) -> str:
    value = part.content
    if part.type in (CALL, RESPONSE):
        value = part.arguments if part.type == CALL else part.response
    elif part.type in (TEXT, REASONING):
        return str(value)
    return pretty(without_media(value)[0])


def _key(part: Part) -> tuple[str, ...]:
    return part.role, part.type, part.name or "", _whole(part)


def _whole(part: Part) -> str:
    return "\0".join(str(value) for value in (part.content, part.arguments, part.response))


def _common(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return with how many equal items both begin."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _flat(call: Document) -> list[tuple[str, str]]:
    """Return the fields of a call that say how it was asked, each as a text."""
    found = [(name, _said(call[name])) for name in _FIELDS if call.get(name) not in (None, [])]
    for name in _OBJECTS:
        inner = call.get(name)
        if isinstance(inner, Mapping):
            some = list(inner.items())[:_PARAMETERS]
            found += [(f"{name}.{key}"[:VALUE], _said(v)) for key, v in some if v is not None]
    tools = call.get("tools") or []
    found += [(f"tool {tool_name(tool)}"[:VALUE], _said(tool)) for tool in tools[:_PARAMETERS]]
    return found


def _said(value: Any) -> str:
    return value if isinstance(value, str) else pretty(value)


def _line(value: str | None) -> str | None:
    if value is None:
        return None
    line = " ".join(value[: 4 * VALUE].split())
    return line if len(line) <= VALUE else f"{line[:VALUE]}… ({len(value):,} characters)"

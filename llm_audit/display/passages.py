"""Where in a call a text was found, with some words before and after it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llm_audit.call import SAID
from llm_audit.display import figures
from llm_audit.providers.blocks import TEXT
from llm_audit.providers.messages import Part, read_answers, read_request
from llm_audit.queries.steps import Document


@dataclass
class Passage:
    """A text that was found, in one line."""

    where: str  # the role that said it, or the name of the field that holds it
    before: str
    found: str
    after: str


def find_passages(call: Document, text: str, *, around: int) -> list[Passage]:
    """Return the first occurrence of a text in each part of a call, in order.

    Args:
        call: A document as read from MongoDB.
        text: What `pipelines.search` found in it.
        around: How many characters before and after it to return.
    """
    pattern = re.compile(re.escape(text), re.IGNORECASE)
    parts = [*read_request(call), *(part for answer in read_answers(call) for part in answer)]
    said = ((part.role, _first_match(part, pattern)) for part in parts)
    found = [_passage(role, match, around) for role, match in said if match]
    if found:
        return found
    # a provider's words for what it sent, which are no part of what was said
    stored = ((name, value) for name in SAID for value in _strings(call.get(name)))
    matches = ((name, pattern.search(value)) for name, value in stored)
    return [_passage(name, match, around) for name, match in matches if match][:1]


def _first_match(part: Part, pattern: re.Pattern[str]) -> re.Match[str] | None:
    """Return the first match in a part, if there is one."""
    values = [part.name, part.content, part.arguments, part.response]
    texts = [text for value in values for text in _strings(value)]
    if part.type != TEXT:  # arguments were searched as the JSON that they are
        texts += [json.dumps(v, ensure_ascii=False, default=str) for v in values if v is not None]
    return next(filter(None, map(pattern.search, texts)), None)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


def _passage(where: str, match: re.Match[str], around: int) -> Passage:
    whole, start, end = match.string, match.start(), match.end()
    before = f"{'…' if start > around else ''}{_line(whole[max(start - around, 0) : start])}"
    after = f"{_line(whole[end : end + around])}{'…' if len(whole) - end > around else ''}"
    return Passage(where, before.lstrip(), _line(match[0]), after.rstrip())


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", figures.safe(text))

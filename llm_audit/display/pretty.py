"""A tool's arguments, or what else has fields, in lines; what is ours is told from content."""

import json
import re
import secrets
import textwrap
from collections.abc import Mapping
from typing import Any

from llm_audit.display import figures

ONE_LINE = 60  # characters of JSON that stay in a line

_NAME = re.compile(r"[\w.$-]+")


def pretty(value: Any) -> str:
    """Return a tool's arguments or result in lines, text as text.

    What is ours in it, such as a reference to GridFS, stands between < and > where any text of the
    content's would be between quotes; lines of a text are indented more than the names of texts.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and _is_text_by_name(value):  # such as code to be run
        return "\n".join(
            f"{k}:\n{textwrap.indent(v, '  ', lambda _: True)}" if "\n" in v else f"{k}: {v}"
            for k, v in value.items()
        )
    words: dict[str, str] = {}
    short = _without_references(value, words)
    line = json.dumps(short, ensure_ascii=False, default=str)
    if len(line) > ONE_LINE and not (words and isinstance(short, str)):
        line = json.dumps(short, indent=2, ensure_ascii=False, default=str)
    for token, word in words.items():
        line = line.replace(f'"{token}"', word)
    return line


def _is_text_by_name(value: Mapping[str, Any]) -> bool:
    texts = value.values()
    is_text = all(isinstance(text, str) for text in texts) and any("\n" in text for text in texts)
    return is_text and all(map(_NAME.fullmatch, value))


def _without_references(value: Any, words: dict[str, str]) -> Any:
    """Return a value with a token in place of each reference to GridFS, which `words` explains."""
    from llm_audit.encoding.moved import reference_in

    if isinstance(value, list):
        return [_without_references(item, words) for item in value]
    if not isinstance(value, Mapping):
        return value
    if (reference := reference_in(value)) is None:
        return {key: _without_references(item, words) for key, item in value.items()}
    token = secrets.token_hex()  # nothing recorded can hold it
    length, preview = value["length"], value.get("preview")
    size = figures.size(length) if isinstance(length, int | float) else "some"
    begins = f", begins {json.dumps(preview, ensure_ascii=False)}" if preview else ""
    words[token] = f"<{size} in GridFS, {reference.sha256}{begins}>"
    shown = {"gridfs_id", "length", "kind", "preview"}
    beside = {key: item for key, item in value.items() if key not in shown}
    return {token: _without_references(beside, words)} if beside else token

"""Which API a request goes to: told by its method and the end of its path, then by its body."""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

from llm_audit.wire.api import Api
from llm_audit.wire.rows import anthropic, bedrock, google, openai, others

ROWS = (*anthropic.ROWS, *openai.ROWS, *google.ROWS, *bedrock.ROWS, *others.ROWS)
_NAMES = {  # in a path
    "{model}": "(?P<model>[^/]+)",
    "{model:path}": "(?P<model>.+)",
    "{model:hub}": "(?P<model>[^/:]+(?:/[^/:]+)?)",
    "{id}": "[^/]+",
    "{result}": "(?P<result>[^/]+)",
}


class Asked(NamedTuple):
    """What the path of a request says.

    Attributes:
        rows: The APIs that it may be for; `confirmed` leaves one.
        model: None if the path names none.
        streamed: Whether it is always answered in pieces.
        result_of: The id of what was asked before, of which this fetches the result; then it is no
            call of its own.
        is_first: Whether the one that is left was the first of them.
    """

    rows: tuple[Api, ...]
    model: str | None = None
    streamed: bool = False
    result_of: str | None = None
    is_first: bool = True

    @property
    def api(self) -> Api:
        """The first that it may be."""
        return self.rows[0]


class _Path(NamedTuple):
    fits: re.Pattern[str]
    api: Api
    streamed: bool = False


def _pattern(path: str) -> re.Pattern[str]:
    """Return what finds a path at the end of a URL's."""
    parts = re.split(r"(\{[^}]+\})", path)
    return re.compile("".join(_NAMES.get(part, re.escape(part)) for part in parts) + r"\Z")


def _key(path: str) -> str:
    """Return what a path is looked up by: its last part, or what is done with it."""
    last = path[path.rfind("/") + 1 :]
    colon = last.find(":")
    return last if colon < 0 else last[colon:]


def _grouped(paths: Iterable[tuple[str, _Path]]) -> dict[str, tuple[_Path, ...]]:
    found: dict[str, tuple[_Path, ...]] = {}
    for key, path in paths:
        found[key] = (*found.get(key, ()), path)
    return found


_PATHS = [
    (text, _Path(_pattern(text), row, streamed))
    for row in ROWS
    for streamed, texts in ((False, row.paths), (True, row.stream_paths))
    for text in texts
]
_BY_END = _grouped((_key(text), path) for text, path in _PATHS if not text.endswith("}"))
# Of those that end with a name: what is before it.
_BY_MARK = tuple(
    _grouped((text[: text.index("{")], path) for text, path in _PATHS if text.endswith("}")).items()
)
_RESULTS = _grouped(
    (text.split("/")[-2], _Path(_pattern(text), row)) for row in ROWS for text in row.results
)


def asked(method: str, path: str) -> Asked | None:
    """Return which APIs a request may be for; None if it is for none.

    It is asked of every request of the app, so most of them are told by one look at a dict.

    Args:
        method: As HTTP spells it.
        path: The URL's, with or without its query; percent-encoded or not.
    """
    if method != "POST":
        return _result(path) if method == "GET" else None
    if "?" in path:
        path = path[: path.find("?")]
    last = path[path.rfind("/") + 1 :]
    colon = last.find(":")
    paths = _BY_END.get(last if colon < 0 else last[colon:])
    if paths is not None:
        return _fitting(path, paths)
    if not last:  # a slash at the end
        return asked(method, path[:-1]) if path else None
    for mark, paths in _BY_MARK:
        if mark in path:
            return _fitting(path, paths)
    return asked(method, unquote(path)) if "%3A" in last else None


def _fitting(path: str, paths: tuple[_Path, ...]) -> Asked | None:
    rows: list[Api] = []
    model, streamed = None, False
    for fits, row, is_stream in paths:
        if found := fits.search(path):
            if row not in rows:
                rows.append(row)
            streamed = streamed or is_stream
            model = found.groupdict().get("model") or model
    if not rows:
        return None
    return Asked(tuple(rows), model=unquote(model) if model else None, streamed=streamed)


def _result(path: str) -> Asked | None:
    parts = path.partition("?")[0].rsplit("/", 2)
    for fits, row, _ in _RESULTS.get(parts[-2] if len(parts) > 1 else "", ()):
        if found := fits.search(path):
            return Asked((row,), result_of=found["result"])
    return None


def confirmed(asked: Asked, host: str, body: bytes | None) -> Asked | None:
    """Return the same for the one API whose keys the body has; None if it has those of none.

    Other apps have such paths, too: what makes the difference is that the body has what the API
    cannot do without. It is looked at as bytes, not parsed.

    Args:
        asked: What `asked` returned.
        host: The URL's.
        body: Of the request; None if it cannot be read, as a form that is sent from files.
    """
    for row in asked.rows:
        if _is_for(row, host, body):
            return asked._replace(rows=(row,), is_first=row is asked.rows[0])
    return None


def _is_for(row: Api, host: str, body: bytes | None) -> bool:
    if not row.needs or any(name in host for name in row.hosts):
        return True
    if body is None:
        return row.is_form
    return any(all(f'"{key}"'.encode() in body for key in keys.split()) for keys in row.needs) or (
        row.is_form and body.startswith(b"--")
    )

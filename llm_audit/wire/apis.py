"""Which API a request goes to: told by its method and the end of its path, then by its body."""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from llm_audit.wire.api import Api, Names
from llm_audit.wire.rows import anthropic, bedrock, google, openai, others, servers

ROWS = (*anthropic.ROWS, *openai.ROWS, *google.ROWS, *bedrock.ROWS, *others.ROWS, *servers.ROWS)
_NAMES = {  # in a path
    "{model}": "(?P<model>[^/]+)",
    "{model:path}": "(?P<model>.+)",
    "{model:hub}": "(?P<model>[^/:]+(?:/[^/:]+)?)(?<!/infer)",  # which takes numbers
    "{model:owned}": "(?P<model>[^/:]+/[^/:]+)",
    "{model:@}": "(?P<model>@.+)",
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
    end: str  # of the URL's path; what has a name in it is told by the pattern
    pattern: re.Pattern[str] | None
    api: Api
    streamed: bool = False


def _path(text: str, api: Api, *, streamed: bool = False) -> _Path:
    parts = re.split(r"(\{[^}]+\})", text)
    if len(parts) == 1:
        return _Path(text, None, api, streamed)
    pattern = "".join(_NAMES.get(part, re.escape(part)) for part in parts)
    return _Path(parts[-1], re.compile(rf"{pattern}\Z"), api, streamed)


def _grouped(paths: Iterable[tuple[str, _Path]]) -> dict[str, tuple[_Path, ...]]:
    found: dict[str, tuple[_Path, ...]] = {}
    for key, path in paths:
        found[key] = (*found.get(key, ()), path)
    return found


def _last(path: str) -> str:
    """Return what a path is looked up by: its last part, or what is done with it."""
    last = path[path.rfind("/") + 1 :]
    return last[max(last.find(":"), 0) :]


_PATHS = [
    (text, _path(text, row, streamed=streamed))
    for row in ROWS
    for streamed, texts in ((False, row.paths), (True, row.stream_paths))
    for text in texts
]
_BY_END = _grouped((_last(text), path) for text, path in _PATHS if not text.endswith("}"))
# Of those that end with a name: what is before it.
_BY_MARK = _grouped((text[: text.index("{")], path) for text, path in _PATHS if text.endswith("}"))
_MARK = re.compile("|".join(map(re.escape, _BY_MARK)))
_RESULTS = _grouped((text.split("/")[-2], _path(text, row)) for row in ROWS for text in row.results)


def matched(method: str, path: str) -> Asked | None:
    """Return which APIs a request may be for; None if it is for none.

    It is asked of every request of the app, so most of them are told by a look or two.

    Args:
        method: As HTTP spells it.
        path: The URL's, with or without its query; percent-encoded or not.
    """
    if method == "POST":
        if "?" in path:
            path = path[: path.index("?")]
        last = path.rpartition("/")[2]
        if ":" in last:
            last = last[last.index(":") :]
        if last in _BY_END or not last or "%3A" in last or _has_mark(path):
            return _call(path)
        if last == "cancel":  # which answers with what has come of it
            return matched("GET", path.rpartition("/")[0])
    elif method == "GET" and path.rpartition("/")[0].rpartition("/")[2] in _RESULTS:
        return _result(path)
    return None


def _has_mark(path: str) -> bool:
    return _MARK.search(path) is not None


@lru_cache(maxsize=256)
def _call(path: str) -> Asked | None:
    """Return the same of a path that may be one; an app asks few of them, again and again."""
    path = path.rstrip("/")
    if "%3A" in path[path.rfind("/") + 1 :]:
        path = unquote(path)
    paths = _BY_END.get(_last(path))
    if paths is None:
        paths = tuple(one for mark, some in _BY_MARK.items() if mark in path for one in some)
    rows: list[Api] = []
    model, streamed = None, False
    for end, pattern, row, is_stream in paths:
        if not path.endswith(end):
            continue
        found = pattern.search(path) if pattern else None
        if found is None and pattern is not None:
            continue
        if row not in rows:
            rows.append(row)
        streamed = streamed or is_stream
        model = (found.groupdict().get("model") if found else None) or model
    if not rows:
        return None
    return Asked(tuple(rows), model=unquote(model) if model else None, streamed=streamed)


def _result(path: str) -> Asked | None:
    path = path.partition("?")[0]
    for _, pattern, row, _ in _RESULTS.get(path.rpartition("/")[0].rpartition("/")[2], ()):
        if found := pattern.search(path) if pattern else None:
            return Asked((row,), result_of=found["result"])
    return None


def confirmed(asked: Asked, host: str, body: bytes | None) -> Asked | None:
    """Return the same for the one API whose keys the body has; None if it has those of none.

    Other apps have such paths, too: what makes the difference is that the body has what the API
    cannot do without. It is looked at as bytes, not parsed.

    Args:
        asked: What `matched` returned.
        host: The URL's.
        body: Of the request; None if it cannot be read, as a form that is sent from files.
    """
    for row in asked.rows:
        if _is_for(row, host, body):
            return _for_one(asked, row)
    return None


@lru_cache(maxsize=256)
def _for_one(asked: Asked, row: Api) -> Asked:
    return asked._replace(rows=(row,), is_first=row is asked.rows[0])


@cache
def _keys(needs: Names) -> tuple[tuple[bytes, ...], ...]:
    """Return the sets of keys that a row needs, as they are in a body."""
    return tuple(tuple(f'"{key}"'.encode() for key in keys.split()) for keys in needs)


def _is_for(row: Api, host: str, body: bytes | None) -> bool:
    if not row.needs:
        return True
    if body is not None:
        for keys in _keys(row.needs):
            for key in keys:
                if body.find(key) < 0:  # twice as fast as `in`
                    break
            else:
                return True
    if any(name in host for name in row.hosts):
        return True
    return row.is_form and (body is None or _is_form_of(row, body))


def _is_form_of(row: Api, body: bytes) -> bool:
    """Tell whether a form has the fields of an API; the name of several files goes on with []."""
    return body.startswith(b"--") and any(
        all(f'name="{key}'.encode() in body for key in keys.split()) for keys in row.needs
    )

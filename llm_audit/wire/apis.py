"""Which API a request goes to: told by its method and the end of its path, then by its body."""

import re
from typing import NamedTuple
from urllib.parse import unquote

from llm_audit.wire.api import Api
from llm_audit.wire.rows import anthropic, bedrock, google, openai

ROWS = (*openai.ROWS, *anthropic.ROWS, *google.ROWS, *bedrock.ROWS)


class Asked(NamedTuple):
    """What the path of a request says.

    Attributes:
        rows: The APIs that it may be for; `confirmed` leaves one.
        model: None if the path names none.
        streamed: Whether it is always answered in pieces.
        result_of: The id of what was asked before, of which this fetches the result; then it is no
            call of its own.
    """

    rows: tuple[Api, ...]
    model: str | None = None
    streamed: bool = False
    result_of: str | None = None

    @property
    def api(self) -> Api:
        """The first that it may be."""
        return self.rows[0]


class _Path(NamedTuple):
    fits: re.Pattern[str]
    api: Api
    streamed: bool


def _pattern(path: str) -> re.Pattern[str]:
    """Return what finds the end of a path; a model's name may have slashes, an id has none."""
    text = re.escape(path).replace(r"\{model\}", "(?P<model>.+)").replace(r"\{id\}", "([^/]+)")
    return re.compile(f"{text}/?$")


def _key(path: str) -> str:
    """Return what a path is looked up by: its last part, or what is done with it."""
    last = path[path.rfind("/") + 1 :]
    colon = last.find(":")
    return last if colon < 0 else last[colon:]


def _by_key() -> dict[str, tuple[_Path, ...]]:
    found: dict[str, tuple[_Path, ...]] = {}
    for api in ROWS:
        for streamed, paths in ((False, api.paths), (True, api.stream_paths)):
            for path in paths:
                entry = _Path(_pattern(path), api, streamed)
                found[_key(path)] = (*found.get(_key(path), ()), entry)
    return found


_BY_KEY = _by_key()
_RESULTS = tuple(
    (re.compile(f"{_pattern(path).pattern}"), api) for api in ROWS for path in api.results
)


def asked(method: str, path: str) -> Asked | None:
    """Return which APIs a request may be for; None if it is for none.

    It is asked of every request of the app, so most of them are told by one look at a dict.

    Args:
        method: As HTTP spells it.
        path: The URL's, with or without its query; percent-encoded or not.
    """
    if method != "POST":
        return _result(path) if method == "GET" and "/responses/" in path else None
    last = path[path.rfind("/") + 1 :]
    colon = last.find(":")
    paths = _BY_KEY.get(last if colon < 0 else last[colon:])
    return None if paths is None else _fitting(path, paths)


def _fitting(path: str, paths: tuple[_Path, ...]) -> Asked | None:
    rows: dict[str, Api] = {}
    model, streamed = None, False
    for fits, api, is_stream in paths:
        if found := fits.search(path):
            rows[api.api] = api
            streamed = is_stream
            model = model or found.groupdict().get("model")
    if not rows:
        return None
    return Asked(tuple(rows.values()), unquote(model) if model else None, streamed)


def _result(path: str) -> Asked | None:
    for pattern, api in _RESULTS:
        if found := pattern.search(path):
            return Asked((api,), result_of=found.group(1))
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
            return asked._replace(rows=(row,))
    return None


def _is_for(row: Api, host: str, body: bytes | None) -> bool:
    if any(name in host for name in row.hosts):
        return True
    if body is None:
        return row.is_form
    return any(all(b'"%s"' % key.encode() in body for key in keys.split()) for keys in row.needs)

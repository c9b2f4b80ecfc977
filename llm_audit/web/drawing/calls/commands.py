"""A call as what is typed elsewhere: curl, Python, mongosh; never with a key."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from llm_audit.display.figures import counted
from llm_audit.queries.steps import Document
from llm_audit.web.drawing.shell import escaped
from llm_audit.wire.requests import request_of

CURL_MAX = 16_384  # characters
MONGOSH = "mongosh"
_UNKNOWN = "https://ADDRESS-OF-THE-API"
# Searched for, as it says where it begins and ends: names may be long, and made to take for ever.
_SECRET = re.compile(
    r"secret|(api[-_]?key|authorization)\Z"
    r"|\A(x[-_])?(pass(word|wd)|(access|auth|bearer)[-_]?token|token|cookie|credentials?)\Z",
    re.IGNORECASE,
)
_HEADERS = {  # how each asks who it is, with a name for the key in the environment
    "anthropic": ("x-api-key: $ANTHROPIC_API_KEY", "anthropic-version: 2023-06-01"),
    "google": ("x-goog-api-key: $GEMINI_API_KEY",),
    "openai": ("authorization: Bearer $OPENAI_API_KEY",),
}
_BEARER = ("authorization: Bearer $API_KEY",)


class Command(NamedTuple):
    """Something to be copied.

    Attributes:
        name: What it is for.
        text: In ASCII; None if it is too long, or there is none.
        missing: What it does not say, each a sentence.
    """

    name: str
    text: str | None
    missing: tuple[str, ...] = ()


def commands(call: Document, references: int, database: str, collection: str) -> list[Command]:
    """Return how a call is made again, and read, elsewhere.

    Args:
        call: A document as read from MongoDB.
        references: How many contents of it are in GridFS.
        database: Where it is stored.
        collection: The same.
    """
    return [
        _curl(call, references),
        Command("Python, to read it and ask again", _python(call)),
        Command(MONGOSH, _mongosh(call, database, collection)),
    ]


def _curl(call: Document, references: int) -> Command:
    endpoint = call.get("endpoint")
    is_known = isinstance(endpoint, str) and endpoint.startswith(("https://", "http://"))
    address = quote(str(endpoint), safe="%/:?#[]@!$&'()*+,;=~") if is_known else _UNKNOWN
    left_out: set[str] = set()
    body = _without_secrets(_request(call), left_out, 0)
    missing = [*_missing(call, references, is_known=is_known)]
    if left_out:
        missing.append(f"Left out, as it may be a key: {', '.join(sorted(left_out))[:200]}.")
    data = body if isinstance(body, str) else json.dumps(body, default=str)
    if len(data) > CURL_MAX:
        missing.append(f"Its {len(data):,} characters are too many for a line: Python reads them.")
        return Command("curl", None, tuple(missing))
    headers = _HEADERS.get(str(call.get("provider")), _BEARER)
    words = [f"-H {_in_double_quotes(header)}" for header in headers]
    lines = [f"curl {shlex.quote(address)}", *words, "-H 'content-type: application/json'"]
    return Command("curl", " \\\n  ".join([*lines, f"--data-raw {_quoted(data)}"]), tuple(missing))


def _request(call: Document) -> Any:
    """Return the body of the request: as it was sent if it was captured, else what was given."""
    made = request_of(call)
    if made is not None:
        return made
    names = ("model", "system_prompt", "messages", "input", "tools", "tool_choice")
    given = {name: call.get(name) for name in (*names, "temperature", "max_tokens")}
    params = call.get("request_params")
    said = {name: value for name, value in given.items() if value not in (None, [])}
    return said | (params if isinstance(params, dict) else {})


def _missing(call: Document, references: int, *, is_known: bool) -> Iterator[str]:
    yield "The key is not in it: put yours into the environment."
    if not is_known:
        yield "Its fields were given by hand: the address is not known, nor how the API names them."
    if references:
        yield f"{counted(references, 'content')} of it in GridFS: Python fetches what is there."
    if call.get("redacted"):
        yield "What was redacted is not known."
    if call.get("content") or call.get("content_left_out"):
        yield "Not all of its content was recorded."
    if call.get("encoding_notes"):
        yield "Some of it was changed to be stored: see the notes."


def _without_secrets(value: Any, left_out: set[str], level: int) -> Any:
    """Return a body without what is called as a key is; what was said in messages stays."""
    if not isinstance(value, Mapping) or level > 3:  # noqa: PLR2004  (deeper are messages, tools)
        return value
    kept = {}
    for name, item in value.items():
        if _SECRET.search(str(name)):
            left_out.add(ascii(str(name))[1:-1])
        else:
            kept[name] = _without_secrets(item, left_out, level + 1)
    return kept


def _python(call: Document) -> str:
    endpoint = call.get("endpoint")
    lines = [
        "import llm_audit",
        "",
        "with llm_audit.SyncLLMCallRepository() as calls:",
        f"    call = calls.get({str(call['_id'])!a}, with_media=True)",
    ]
    if isinstance(endpoint, str):
        lines += [
            "request = llm_audit.request_of(call)",
            "",
            "# import httpx, os",
            '# headers = {"authorization": f"Bearer {os.environ[\'API_KEY\']}"}',
            f"# httpx.post({endpoint!a}, json=request, headers=headers, timeout=600)",
        ]
    return "\n".join(lines)


def _mongosh(call: Document, database: str, collection: str) -> str:
    names = (json.dumps(database), json.dumps(collection), json.dumps(str(call["_id"])))
    return "db.getSiblingDB({}).getCollection({}).findOne({{_id: {}}})".format(*names)


def _quoted(data: str) -> str:
    """Return a text for a shell, so that it is ASCII and in one line."""
    if data.isascii() and data.isprintable():
        return shlex.quote(data)
    return escaped(data)


def _in_double_quotes(header: str) -> str:
    return f'"{header}"'

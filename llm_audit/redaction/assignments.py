"""Secrets that are given by name in a text: JSON, code, queries of URLs, headers, settings."""

import re
from collections.abc import Iterator

from llm_audit.redaction import names

_NAME = rf"[\w.-]{{0,48}}?(?:{names.SECRET})s?"
# "password": …, \"api_key\": …, 'token' => …
_QUOTED = re.compile(
    rf"""(?P<quote>\\*["'])(?P<name>{_NAME})(?P=quote)\s*(?:=>|[:=])\s*(?P<opens>\\*["'])?""",
    re.IGNORECASE,
)
# password=…, ?token=…, api_key = "…"
_EQUALS = re.compile(
    rf"""(?<![\w.-])(?P<name>{_NAME})(?P<gap>\s{{0,4}})=(?!=)\s{{0,4}}(?P<opens>\\*["'])?""",
    re.IGNORECASE,
)
_QUERY = re.compile(
    r"[?&](?:x-(?:amz|goog)-)?(?:key|sig(?:nature)?|code|auth|credential)=(?P<value>[^\s&\"'<>\\]{8,})",
    re.IGNORECASE,
)
# Authorization: …, x-api-key: …
_COLON = re.compile(
    rf"""(?:^|[\n,;{{(\[|>"']|\\n|-H )[ \t]*(?P<name>{_NAME}):[ \t]*"""
    r"""(?P<value>[^\s"',;\\]+(?: [^\s"',;\\]+)?)""",
    re.IGNORECASE,
)
_BARE = re.compile(r"""[^\s&;,"'<>)\]}|\\]+""")
_NUMBER = re.compile(r"-?\d[\d.]*")
# What stands after name= in code: a call, a name, a constant, a type.
_CODE = re.compile(
    r"[A-Za-z_][\w.]*[(\[{].*|(?:self|cls|os|settings|config|args|env|ctx|request|process)\..*"
    r"|[a-z_.]+|None|True|False|[A-Z][a-z]+|[A-Z][A-Z_]*_?(?:KEY|TOKEN|SECRET|PASSWORD|PWD)"
    r"|\$.*|\{.*|%.*|\*+|\.\.\.|\[.*",
    re.DOTALL,
)
_PLACEHOLDER = re.compile(
    r"\s*|\[[a-z_]+(?::\w+)?\]|\*+|<[\w\s-]*>|\$\{\w+\}|\{\{?[\w\s.]+\}?\}|os\.environ/\w+|\.\.\."
    r"|None|null|string|str|x+",
)
_LIKE_A_KEY = re.compile(r"(?=.*[A-Z\d])[\w.~+/=-]{8,}")
_MIXED = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[^()\[\]{}]{6,}")


def is_placeholder(value: str) -> bool:
    """Tell whether a value stands for a secret that is not there, or for one that is replaced."""
    return _PLACEHOLDER.fullmatch(value) is not None


def find_assignments(text: str) -> Iterator[tuple[int, int]]:
    """Give the spans of values that have a secret's name."""
    if '"' in text or "'" in text:
        for match in _QUOTED.finditer(text):
            yield from _quoted(text, match)
    if "=" in text:
        for match in _EQUALS.finditer(text):
            yield from _equalled(text, match)
        for match in _QUERY.finditer(text):
            yield match.span("value")
    if ":" in text:
        for match in _COLON.finditer(text):
            yield from _after_colon(match)


def _quoted(text: str, match: re.Match[str]) -> Iterator[tuple[int, int]]:
    if not names.is_secret(match["name"]):
        return
    if match["opens"]:
        yield from _in_quotes(text, match)
        return
    number = _NUMBER.match(text, match.end())
    if number and not match["name"].lower().endswith(("token", "tokens")):
        yield number.span()


def _equalled(text: str, match: re.Match[str]) -> Iterator[tuple[int, int]]:
    if not names.is_secret(match["name"]):
        return
    if match["opens"]:
        yield from _in_quotes(text, match)
        return
    bare = _BARE.match(text, match.end())
    if bare is None or is_placeholder(bare[0]):
        return
    in_query = text[match.start() - 1 : match.start()] in {"?", "&"}
    is_code = match["gap"] or _CODE.fullmatch(text[bare.start() : bare.end() + 1])
    if in_query or not is_code:
        yield bare.span()


def _after_colon(match: re.Match[str]) -> Iterator[tuple[int, int]]:
    value = match["value"]
    if not names.is_secret(match["name"]) or is_placeholder(value):
        return
    if _MIXED.fullmatch(value) and not _CODE.fullmatch(value):
        yield match.span("value")


def _in_quotes(text: str, match: re.Match[str]) -> Iterator[tuple[int, int]]:
    """Give the span up to the quote that ends it, with as many backslashes as the first one."""
    opens, start = match["opens"], match.end()
    end = start
    while True:
        end = text.find(opens[-1], end)
        if end < 0:  # it was cut off
            end = len(text)
            break
        slashes = end - len(text[start:end].rstrip("\\")) - start
        if slashes == len(opens) - 1 or (len(opens) == 1 and slashes % 2 == 0):
            end -= len(opens) - 1
            break
        end += 1
    value = text[start:end]
    if is_placeholder(value):
        return
    if match["name"].lower() != "token" or _LIKE_A_KEY.fullmatch(value):  # else of what models say
        yield start, end

"""What secrets look like: providers' keys, tokens, passwords in URLs, and values given by name.

These are the patterns, for the texts of documents that may hold something: see `look`.
"""

import base64
import binascii
import re
from collections.abc import Iterator

from llm_audit.redaction.folding import folded
from llm_audit.redaction.secrets import look
from llm_audit.redaction.secrets.assignments import find_assignments

NAMED = "named_secret"
Found = tuple[int, int, str]

# No text may take time out of proportion to its length. So nothing looks on without a bound from
# each place where something may begin, if the next such place may be in what it has looked at.
_SOON = 200  # characters, in which a key has a digit or a capital
_HEAD_MAX = 1_000  # of a token that stands behind other such characters
# No letter before it, but for that of an escaped line end: JSON in a text has \\nsk-...
_BEGINS = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf]))"
_SHAPES = {
    "provider_key": (
        # OpenAI, Anthropic, OpenRouter, DeepSeek, LiteLLM and others; no word such as sk-learn
        r"sk-(?:(?:ant|proj|or|live|test|svcacct|admin|lf|None)-[\w-]{4,}"
        rf"|(?=[\w-]{{0,{_SOON}}}[A-Z0-9])[\w-]{{10,}})"
        # Groq, Hugging Face, Replicate, LangSmith, xAI, NVIDIA and others
        r"|(?:gsk|hf|api_org|r8|fw|jina|e2b|lsv2_(?:pt|sk)|ntn|glsa|glc|sbp|lin_api)_[A-Za-z0-9]{16,}"
        r"|pcsk_[A-Za-z0-9]{4,}_[A-Za-z0-9]{16,}"
        rf"|(?:xai|pplx|nvapi|tvly|csk|pypi)-(?=[\w-]{{0,{_SOON}}}\d)[\w-]{{20,}}"
        r"|npm_[A-Za-z0-9]{30,}|do[opr]_v1_[0-9a-f]{32,}|dckr_pat_[\w-]{16,}|dapi[0-9a-f]{32}"
        r"|SG\.[\w-]{16,}\.[\w-]{16,}|SK[0-9a-f]{32}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{16,}"
        r"|hvs\.[\w-]{20,}|discord(?:app)?\.com\\?/api\\?/webhooks\\?/\d+\\?/[\w-]{20,}"
        r"|AGE-SECRET-KEY-1[A-Z0-9]{20,}|(?:bot)?\d{8,10}:AA[\w-]{30,}"
    ),
    "google_key": r"AIza[\w-]{20,}|GOCSPX-[\w-]{16,}|ya29\.[\w-]{16,}",
    "aws_key": r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}|ABSK[A-Za-z0-9+/=]{40,}",
    "github_token": r"gh[pousr]_[A-Za-z0-9]{10,}|github_pat_\w{10,}",
    "gitlab_token": r"gl(?:pat|dt|rt|ptt|cbt|ft|soat|agent|oas|ffct|imt)-[\w.-]{10,}",
    "slack_token": (
        r"xox[a-z]-[\w-]{8,}|xapp-\d-[\w-]{8,}|hooks\.slack\.com\\?/services\\?/[\w/\\]{8,}"
    ),
    "stripe_key": r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{8,}|whsec_[A-Za-z0-9+/=]{16,}",
    "jwt": (
        rf"eyJ(?:(?:(?<![\w-]eyJ)|(?<=\\[nrtbf]eyJ))[\w-]{{4,}}|[\w-]{{4,{_HEAD_MAX}}})=*"
        r"\.[\w=-]{4,}\.[\w=-]*(?:\.[\w=-]+\.[\w=-]+)?"
    ),
}
_PRIVATE_KEY = (
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:.*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|.*)"
)
_BEARER = r"\b[Bb][Ee][Aa][Rr][Ee][Rr] +(?P<bearer>[\w.~+/=-]{8,})"
_BASIC = r"\b[Bb][Aa][Ss][Ii][Cc] +(?P<basic>[A-Za-z0-9+/_-]{6,}={0,2})"
_USER = r"""[^\s/?\#"'<>@:\\[]"""
_IN_URL = (
    r"""(?<=:)(?:\\?/){2}(?:[^\s/?\#"'<>@:\\[]*:(?!\[redacted:)(?P<url_password>[^\s/?\#"'<>]+)"""
    rf"""|(?P<url_user>(?={_USER}*\d)(?={_USER}*[A-Za-z]){_USER}{{12,}}))@"""
)
_SHAPED = re.compile(
    _BEGINS
    + "(?:"
    + "|".join(f"(?P<{name}>{shape})" for name, shape in _SHAPES.items())
    + f")|(?P<private_key>{_PRIVATE_KEY})|{_BEARER}|{_BASIC}|{_IN_URL}",
    re.DOTALL | re.ASCII,
)
_PART, _OVERLAP = 4_096, 512  # characters of a text
_ONE_WORD = re.compile("[A-Z]?[a-z]+")


def find(text: str) -> Iterator[Found]:
    """Give the spans of secrets in a text, with the name of the rule that found each."""
    plain, places = folded(text)
    if places is None:
        yield from _find(plain)
        return
    for start, end, name in _find(plain):
        yield places[start], places[end - 1] + 1, name


def _find(text: str) -> Iterator[Found]:
    at, parts = 0, _parts_of(text)
    for begins, ends in parts:
        at = max(at, begins)
        while (near := _SHAPED.search(text, at, ends)) is not None:
            match = _SHAPED.match(text, near.start())  # it may go on behind
            if match is None:
                break
            name = str(match.lastgroup)
            if not _is_one(name, match[name]):
                at = max(match.start(name), at + 1)  # which may hold another
                continue
            at = match.end()
            yield *match.span(name), name
    for start, end in find_assignments(text, parts):
        yield start, end, NAMED


def _is_one(name: str, value: str) -> bool:
    """Tell whether what stands after Bearer or Basic is no word: "bearer authentication"."""
    if name == "bearer":
        return _ONE_WORD.fullmatch(value) is None
    return name != "basic" or _has_password(value)


def _parts_of(text: str) -> list[tuple[int, int]]:
    """Return the parts of a text in which secrets may begin, those that meet as one.

    The patterns are slow. What the quick look needs to see is never longer than `_OVERLAP`.
    """
    if len(text) <= _OVERLAP:
        return [(0, len(text))]
    plain = look.plain(text.encode("latin-1", "replace"))
    parts: list[tuple[int, int]] = []
    for first in range(0, len(text), _PART):
        begins, ends = max(0, first - _OVERLAP), first + _PART
        if look.holds_secret(plain[begins:ends]):
            if parts and begins <= parts[-1][1]:
                begins = parts.pop()[0]
            parts.append((begins, ends))
    return parts


def _has_password(basic: str) -> bool:
    """Tell whether a text is user:password in base64."""
    padded = basic.replace("-", "+").replace("_", "/") + "=" * (-len(basic) % 4)
    try:
        return b":" in base64.b64decode(padded)
    except binascii.Error:
        return False

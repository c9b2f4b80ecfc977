"""What secrets look like: providers' keys, tokens, passwords in URLs, and values given by name.

Two steps: a look at all of a document at once, which is all that most documents cost, and the
patterns, for the texts of those that may hold something.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator

from pydantic_core import SchemaValidator, core_schema

from llm_audit.redaction import names
from llm_audit.redaction.assignments import find_assignments
from llm_audit.redaction.folding import folded

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
        r"|AGE-SECRET-KEY-1[A-Z0-9]{20,}|\d{8,10}:AA[\w-]{30,}"
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

# The quick look, at all of a document at once: in small letters, with \0 for the signs that end a
# name (as it does in BSON), \1 for those before one in a URL, and ~ for what is not ASCII; bytes
# that disguises are made of in UTF-8 are told apart.
_PLAIN = bytearray(bytes(range(256)).lower())
for _bytes, _sign in (
    (b"\"'\\=", 0),
    (b"?&", 1),
    (bytes(range(128, 256)), ord("~")),
    (b"\xc2\xcd\xef\xf0\xf3", 28),
    (b"\x80", 29),
    (bytes((*range(0x8B, 0x94), *range(0xAA, 0xAF))), 30),
    (b"\x81\x88", 31),
    (b"\xe2", 127),
):
    for _byte in _bytes:
        _PLAIN[_byte] = _sign
_DISGUISED = r"\x7f(?:\x1d\x1e|[\x1e\x1f])|\x1c[\x1d-\x1f~]"
_TO_PLAIN = bytes(_PLAIN)
_ENDING = rf"(?:[_ .-]?(?:{names.ENDING}))?"
_NAMES = names.SECRET.replace("|token", "")
_LOOKS = (
    r"(?:[^0-9a-z]|\x00[nrtbf])[sr]k[_-][0-9a-z_-]{8}",
    r"gh[pousr]_[0-9a-z]{10}|_pat_[0-9a-z_-]{10}|pcsk_[0-9a-z]|gl[a-z]{2,5}-[0-9a-z_-]{10}",
    r"(?:hf|gsk|api_org|r8|fw|jina|e2b|v2_pt|v2_sk|ntn|glsa|glc|sbp|in_api|npm|whsec)_[0-9a-z]{16}",
    r"_v1_[0-9a-f]{16}|shp[a-z]{2}_[0-9a-f]{16}|xox[a-z]-[0-9a-z]|xapp-[0-9]|dapi[0-9a-f]{32}",
    r"(?:xai|pplx|nvapi|tvly|csk|pypi|gocspx)-[0-9a-z_-]{16}|aiza[0-9a-z_-]{20}",
    r"a[ksb]ia[0-9a-z]{12}|absk[0-9a-z+/]{40}|eyj[0-9a-z_-]+\x00*\.[0-9a-z_-]",
    r"-----begin [0-9a-z ]*private|age-secret-key|[0-9]:aa[0-9a-z_-]{30}|sk[0-9a-f]{32}",
    r"(?:ya29|hvs)\.[0-9a-z_-]{8}|[^0-9a-z]sg\.[0-9a-z_-]{16}|slack\.com\x00?/services",
    r":(?:\x00?/){2}(?:[^ /@\x00]*:[^ /]*|[^ /@\x00]{12,})@|bearer +[0-9a-z._~+/-]{8}",
    rf"(?:(?:{_NAMES})s?|token){_ENDING}(?: {{0,4}}[\x00:>]|%3d)|basic +[0-9a-z+/_-]{{6}}",
    rf"--[0-9a-z_.-]{{0,40}}(?:{names.SECRET}) ",
    r"headers\x00|[^0-9a-z]auth\x00|com\x00?/api\x00?/webhooks",
    r"\x01(?:x-(?:amz|goog)-)?(?:key|sig(?:nature)?|code|auth|credential)\x00",
    r"\x00u00[2-7]",  # JSON that hides a sign: what is in it is seen once it is read
)


def _looks_for(expression: str) -> Callable[[str], bool]:
    """Return what tells whether a text has a match.

    Pydantic has Rust's engine for expressions: it takes as long for all of these as Python's own
    for one of them.
    """
    schema = core_schema.str_schema(pattern=expression, regex_engine="rust-regex")
    return SchemaValidator(schema).isinstance_python


# Letters and digits in other forms, what nobody sees, and dashes; not what Chinese is written with.
_DISGUISE = re.compile(
    "[\u00ad\u034f\u200b-\u200f\u2010-\u2013\u202a-\u202e\u2060-\u206f\u2212\ufe00-\ufe0f\ufeff"
    "\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\u2460-\u24ea\U0001d400-\U0001d7ff\U000e0000-\U000e0fff]"
)
_holds_secret = _looks_for("|".join(_LOOKS))
_holds_any = _looks_for("|".join((*_LOOKS, _DISGUISED)))


def may_be_in(raw: bytes) -> bool:
    """Tell quickly whether bytes, a document as BSON or a text, may hold a secret or its name."""
    plain = raw.translate(_TO_PLAIN).decode("ascii")
    if not _holds_any(plain):
        return False
    return _holds_secret(plain) or _is_disguised(raw)


def _is_disguised(raw: bytes) -> bool:
    """Tell whether there may be one once wide letters and what nobody sees are out of the way."""
    text = raw.decode("utf-8", "ignore")
    if _DISGUISE.search(text) is None:
        return False
    plain, _ = folded(text)
    return _holds_secret(plain.encode().translate(_TO_PLAIN).decode("ascii"))


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
    plain = text.encode("latin-1", "replace").translate(_TO_PLAIN).decode("ascii")
    parts: list[tuple[int, int]] = []
    for first in range(0, len(text), _PART):
        begins, ends = max(0, first - _OVERLAP), first + _PART
        if _holds_secret(plain[begins:ends]):
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

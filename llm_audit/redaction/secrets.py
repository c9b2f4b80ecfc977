"""What secrets look like: providers' keys, tokens, passwords in URLs, and values given by name.

Two steps: a look at the bytes of a document, which is all that most documents cost, and the
patterns, for texts of those that may hold something. The looks begin at a character that is rare
in what people and models say, because a search for one character takes a tenth of any other.
"""

import base64
import binascii
import re
from collections.abc import Iterator

from llm_audit.redaction.assignments import find_assignments

NAMED = "named_secret"
Found = tuple[int, int, str]

# No letter before it, but for that of an escaped line end: JSON in a text has \nsk-...
_BEGINS = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf]))"
_SHAPES = {
    "provider_key": (
        # OpenAI, Anthropic, OpenRouter, DeepSeek, LiteLLM and others; no word such as sk-learn
        r"sk-(?:(?:ant|proj|or|live|test|svcacct|admin|lf|helicone|None)-[\w-]{4,}"
        r"|(?=[\w-]*[A-Z0-9])[\w-]{10,})"
        # Groq, Hugging Face, xAI, Perplexity, Replicate, NVIDIA, Tavily, LangSmith and others
        r"|(?:gsk|hf|api_org|r8|fw|jina|e2b|pcsk|lsv2_(?:pt|sk)|ntn|glsa|glc|sbp|lin_api)_\w{16,}"
        r"|(?:xai|pplx|nvapi|tvly|csk|pa|pypi)-(?=[\w-]*\d)[\w-]{20,}|ATATT3[\w=-]{20,}"
        r"|npm_[A-Za-z0-9]{30,}|do[opr]_v1_[0-9a-f]{32,}|dckr_pat_[\w-]{16,}|dapi[0-9a-f]{32}"
        r"|SG\.[\w-]{16,}\.[\w-]{16,}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{16,}|hvs\.[\w-]{20,}"
        r"|AGE-SECRET-KEY-1[A-Z0-9]{20,}"
    ),
    "google_key": r"AIza[\w-]{20,}|GOCSPX-[\w-]{16,}|ya29\.[\w-]{16,}",
    "aws_key": r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}|ABSK[A-Za-z0-9+/=]{40,}",
    "github_token": r"gh[pousr]_[A-Za-z0-9]{10,}|github_pat_\w{10,}",
    "gitlab_token": r"gl(?:pat|dt|rt|ptt|cbt|ft|soat|agent|oas|ffct|imt)-[\w.-]{10,}",
    "slack_token": (
        r"xox[a-z]-[\w-]{8,}|xapp-\d-[\w-]{8,}|(?<=hooks\.slack\.com/services/)[\w/]{8,}"
    ),
    "stripe_key": r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{8,}|whsec_[A-Za-z0-9+/=]{16,}",
    "jwt": r"eyJ[\w=-]{4,}\.[\w=-]{4,}\.[\w=-]*(?:\.[\w=-]+\.[\w=-]+)?",
}
_PRIVATE_KEY = (
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:.*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|.*)"
)
_BEARER = r"\b[Bb][Ee][Aa][Rr][Ee][Rr] +(?P<bearer>[\w.~+/=-]{8,})"
_BASIC = r"\b[Bb][Aa][Ss][Ii][Cc] +(?P<basic>[A-Za-z0-9+/_-]{6,}={0,2})"
_IN_URL = r"""(?<=:)(?:\\?/){2}[^\s/?\#"'<>@:\\]*:(?P<url_password>[^\s/?\#"'<>]+)@"""
_SHAPED = re.compile(
    _BEGINS
    + "(?:"
    + "|".join(f"(?P<{name}>{shape})" for name, shape in _SHAPES.items())
    + f")|(?P<private_key>{_PRIVATE_KEY})|{_BEARER}|{_BASIC}|{_IN_URL}",
    re.DOTALL | re.ASCII,
)
_ONE_WORD = re.compile("[A-Z]?[a-z]+")

# Each begins at one character; what stands before it is looked at only where a secret may follow.
_dash = re.compile(
    rb"-(?:(?<=sk-)(?:(?<![0-9A-Za-z]sk-)|(?<=\\[nrtbf]sk-))[\w-]{8}|(?<=[0-9A-Za-z]pat-)[\w-]{8}"
    rb"|[0-9A-Za-z]{12}(?:(?<=xai-.{12})|(?<=pplx-.{12})|(?<=vapi-.{12})|(?<=tvly-.{12})"
    rb"|(?<=csk-.{12})|(?<=\Wpa-.{12})|(?<=pypi-.{12})|(?<=\Wgl..-.{12})|(?<=\Wgl...-.{12})"
    rb"|(?<=gloas-.{12})|(?<=agent-.{12})|(?<=SPX-.{12}))"
    rb"|(?<=xox[a-z]-)|(?<=xapp-)|-BEGIN [A-Z0-9 ]*PRIVATE |[Kk]ey\0)"
).search
_PREFIXES = (
    *(b"gh[pousr]", b"_pat", b"hf", b"gsk", b"api_org", b"r8", b"fw", b"jina", b"e2b", b"pcsk"),
    *(b"v2_pt", b"v2_sk", b"ntn", b"glsa", b"glc", b"sbp", b"in_api", b"npm", b"whsec"),
    *(b"v1", b"shp.."),
)
_underline = re.compile(
    rb"_(?:[0-9A-Za-z]{10}(?:"
    + b"|".join(rb"(?<=%b_.{10})" % prefix for prefix in _PREFIXES)
    + rb")|(?<=[sr]k_)(?:live|test)_)"
).search
_capital_i = re.compile(rb"I(?:A(?<=A[KSB]IA)[0-9A-Z]{8}|za(?<=AIza))").search
_capital_b = re.compile(rb"B(?:(?:EARER|asic|earer|ASIC) |SK(?<=ABSK))").search
_bearer = re.compile(rb"b(?:asic|earer) +[0-9A-Za-z._~+/=-]{6}").search
_colon = re.compile(rb":(?:\\?/){2}[^\s/@\"]*:[^\s/]*@").search
_dot = re.compile(rb"\.(?:(?<=ya29\.)|(?<=SG\.)|(?<=hvs\.))[\w-]{8}").search
# A name and the quote, sign or end that stands after it, once these are all \0.
_PLAIN = bytearray(bytes(range(256)).lower())
for _byte in b"\"'\\=":
    _PLAIN[_byte] = 0
for _byte in b"?&":
    _PLAIN[_byte] = 1
_PLAIN[ord("_")] = ord("-")
_TO_PLAIN = bytes(_PLAIN)
_KEY_OF = rb"(?:pi|ss|et|te|ng|on|nt|ed|er|th|le)"  # api_key, access_key, secretKey and so on
_assigned = tuple(
    re.compile(expression).search
    for expression in (
        rb"k(?:en\0|ies?\0|eys?\0(?:(?<=%bkey\0)|(?<=%b-key\0)|(?<=%bkeys\0)|(?<=%b-keys\0)))"
        % (_KEY_OF, _KEY_OF, _KEY_OF, _KEY_OF),
        rb"p(?:ass(?:w(?:or)?d|phrase|code)s?\0|wds?\0)",
        rb"cre(?:ts?\0|dentials?\0)",
        rb"ion(?:\0(?<=thorization\0)|\0(?<=thorisation\0)|-?string\0)",
        rb"\x01(?:x-(?:amz|goog)-)?(?:key|sig(?:nature)?|code|auth)\0",
        rb"jwt\0|conn-?str\0",
    )
)


def may_be_in(raw: bytes) -> bool:
    """Tell quickly whether bytes, a document as BSON or a text, may hold a secret.

    Names of documents are not looked at: see `names.may_be_in`.
    """
    return bool(
        _dash(raw)
        or _underline(raw)
        or _capital_i(raw)
        or (b"B" in raw and _capital_b(raw))
        or (b"J" in raw and raw.rfind(b"eyJ") >= 0)
        or (b"@" in raw and _colon(raw))
        or ((b'"' in raw or b"=" in raw or b"'" in raw) and _is_assigned(raw))
    )


def _is_assigned(raw: bytes) -> bool:
    plain = raw.translate(_TO_PLAIN)
    return any(search(plain) for search in _assigned)


def find(text: str) -> Iterator[Found]:
    """Give the spans of secrets in a text, with the name of the rule that found each."""
    for match in _SHAPED.finditer(text):
        name = str(match.lastgroup)
        if name == "bearer" and _ONE_WORD.fullmatch(match[name]):
            continue  # bearer authentication
        if name == "basic" and not _has_password(match[name]):
            continue
        yield *match.span(name), name
    for start, end in find_assignments(text):
        yield start, end, NAMED


def _has_password(basic: str) -> bool:
    """Tell whether a text is user:password in base64."""
    padded = basic.replace("-", "+").replace("_", "/") + "=" * (-len(basic) % 4)
    try:
        return b":" in base64.b64decode(padded)
    except binascii.Error:
        return False

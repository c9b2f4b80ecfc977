"""The quick look for secrets, at all of a document at once: all that most documents cost.

Pydantic has Rust's engine for expressions, and two ways of looking at a text. Where all that an
expression finds begins with one of a few literals, it looks for these at sixteen places at once,
and what follows costs next to nothing; else it goes from letter to letter, which takes four times
as long. So there are two steps: `_SIEVE` finds what begins as a piece of a secret does, for which
pieces were chosen that texts seldom have, and `LOOKS` then says whether it is one.
"""

import re
from collections.abc import Callable

from pydantic_core import SchemaValidator, core_schema

from llm_audit.redaction.folding import folded
from llm_audit.redaction.secrets import names

# Both see a document in small letters, with \0 for the signs that end a name (as it does in BSON),
# \1 for those before one in a URL, \2 for a backslash, and ~ for what is not ASCII; bytes that
# disguises are made of in UTF-8 are told apart.
_PLAIN = bytearray(bytes(range(256)).lower())
for _bytes, _sign in (
    (b"\"'=", 0),
    (b"?&", 1),
    (b"\\", 2),
    (bytes(range(128, 256)), ord("~")),
    (b"\xc2\xcd\xef\xf0\xf3", 28),
    (b"\x80", 29),
    (bytes((*range(0x8B, 0x94), *range(0xAA, 0xAF))), 30),
    (b"\x81\x88", 31),
    (b"\xe2", 127),
):
    for _byte in _bytes:
        _PLAIN[_byte] = _sign
_TO_PLAIN = bytes(_PLAIN)
_DISGUISED = r"\x7f(?:\x1d\x1e|[\x1e\x1f])|\x1c[\x1d-\x1f~]"
# What stands before a secret, and between the words of its name; in JSON a line end is two signs.
_BEFORE = r"(?:[^0-9a-z]|\x02[nrtbf])"
_BETWEEN = r"(?:[\s_.-]|\x02+[nrtf])?"
_ENDING = rf"(?:[_ .-]?(?:{names.ENDING}))?(?: {{0,4}}[\x00\x02:>]|%3d)"
_NAMES = names.SECRET.replace("|token", "").replace(names.BETWEEN, _BETWEEN)
_PIECES_OF_NAMES = (
    r"ss(?:w(?:or)?d|phrase|code)|pwd|cret|key|hori[sz]ation|ookie|credential|jwt|uth"
    rf"|onn(?:ection)?{_BETWEEN}str(?:ing)?"
)
_OPTION = rf"--[0-9a-z_.-]{{0,40}}(?:{names.SECRET}) "
# Each way to write the slashes begins with three signs, see `_SIEVE`.
_IN_URL = (
    r"(?:://|:\x02/\x02*/|:\x02\x02+/\x02*/|:/\x02+/)"
    r"(?:[^ /@\x00\x02]*:[^ /]*|[^ /@\x00\x02]{12,})@"
)
_IN_QUERY = r"\x01(?:x-(?:amz|goog)-)?(?:key|sig(?:nature)?|code|auth|credential)\x00"
# JSON that hides a sign, or has one that hides others: what is in it is seen once it is read.
_ESCAPED = (
    r"\x02u(?:00[2-7]|00ad|034f|20(?:0[b-f]|1[0-3]|2[a-e]|6)|2212|24[6-9a-e]|fe0|feff|ff[0-5]"
    r"|d835|db40)"
)
LOOKS = (
    rf"{_BEFORE}[sr]k[_-][0-9a-z_-]{{8}}",
    r"gh[pousr]_[0-9a-z]{10}|_pat_[0-9a-z_-]{10}|pcsk_[0-9a-z]{4}",
    r"gl[a-z]{0,3}(?:as|[a-dfmnrt]t)-[0-9a-z_-]{10}|xox[a-z]-[0-9a-z]|xapp-[0-9]",
    r"(?:hf|gsk|api_org|r8|fw|jina|e2b|v2_pt|v2_sk|ntn|glsa|glc|sbp|in_api|npm|whsec)_[0-9a-z]{16}",
    r"_v1_[0-9a-f]{16}|shp(?:at|[cp]a|ss)_[0-9a-f]{16}|dapi[0-9a-f]{32}",
    r"(?:xai|pplx|nvapi|tvly|csk|pypi|gocspx)-[0-9a-z_-]{16}|aiza[0-9a-z_-]{20}",
    r"(?:a[ksb]i|acc)a[0-9a-z]{12}|absk[0-9a-z+/]{40}|eyj[0-9a-z_-]+[\x00\x02]*\.[0-9a-z_-]",
    r"-----begin [0-9a-z ]*private|age-secret-key|[0-9]:aa[0-9a-z_-]{30}|sk[0-9a-f]{32}",
    rf"(?:ya29|hvs)\.[0-9a-z_-]{{8}}|{_BEFORE}sg\.[0-9a-z_-]{{16}}|slack\.com\x02*/services",
    rf"{_IN_URL}|bearer +[0-9a-z._~+/-]{{8}}",
    rf"(?:(?:{_NAMES})s?|token){_ENDING}|basic +[0-9a-z+/_-]{{6}}",
    rf"headers[\x00\x02]|{_BEFORE}auth[\x00\x02]|com\x02*/api\x02*/webhooks",
    *(_OPTION, _IN_QUERY, _ESCAPED),
)
# Each part begins with a few literals, the shortest of which says how much of all is compared: so
# keys that have a sign in third place, what has words, and the others, some of two letters only.
_SIEVE = (
    (
        r"[sr]k[_-][0-9a-z_-]{4}|h[pousr]_[0-9a-z]{10}|_pat_[0-9a-z_-]{10}|pp-[0-9]|xox[a-z]-",
        r"(?:as|[a-dfmnrt]t)-[0-9a-z_-]{10}|(?:ai|lx|pi|ly|px)-[0-9a-z_-]{16}",
        r"(?:hf|rg|r8|fw|na|2b|pt|tn|sa|lc|bp|pi|pm|ec)_[0-9a-z]{16}",
        r"(?:v1|at|[cp]a|ss)_[0-9a-f]{16}",
    ),
    (
        rf"(?:(?:{_PIECES_OF_NAMES})s?|oken){_ENDING}",
        r"asic +[0-9a-z+/_-]{6}|rer +[0-9a-z._~+/-]{8}|eaders[\x00\x02]|bhooks",
        r"ack\.com\x02*/services",
        r"iza[0-9a-z_-]{20}|(?:[ksb]i|cc)a[0-9a-z]{12}|bsk[0-9a-z+/]{40}|eyj[0-9a-z_-]",
        r"dapi[0-9a-f]{32}|(?:a29|hvs|sg)\.[0-9a-z_-]{8}",
    ),
    (
        r"sk[0-9a-f]{32}|-begin |e-secret-key|:aa[0-9a-z_-]{30}",
        *(_OPTION, _IN_URL, _IN_QUERY, r"\x02u[02df]", _DISGUISED),
    ),
)


def looks_for(*expressions: str) -> Callable[[str], bool]:
    """Return what tells whether a text has a match of one of these."""
    schema = core_schema.str_schema(pattern="|".join(expressions), regex_engine="rust-regex")
    return SchemaValidator(schema).isinstance_python


# Letters and digits in other forms, what nobody sees, and dashes; not what Chinese is written with.
_DISGUISE = re.compile(
    "[\u00ad\u034f\u200b-\u200f\u2010-\u2013\u202a-\u202e\u2060-\u206f\u2212\ufe00-\ufe0f\ufeff"
    "\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\u2460-\u24ea\U0001d400-\U0001d7ff\U000e0000-\U000e0fff]"
)
_SHORT_BYTES = 1_000  # of which one slow look takes no longer than the quick ones
_has_signs, _has_words, _has_others = (looks_for(*part) for part in _SIEVE)
holds_secret = looks_for(*LOOKS)
_holds_any = looks_for(*LOOKS, _DISGUISED)


def may_be_in(raw: bytes, text: str | None = None) -> bool:
    """Tell quickly whether bytes, a document as BSON or a text, may hold a secret or its name.

    Args:
        raw: The bytes.
        text: What `plain` has made of them; None to make it.
    """
    if text is None:
        text = raw.translate(_TO_PLAIN).decode("ascii")
    if len(raw) > _SHORT_BYTES and not (_has_signs(text) or _has_words(text) or _has_others(text)):
        return False
    return _holds_any(text) and (holds_secret(text) or _is_disguised(raw))


def plain(raw: bytes) -> str:
    """Return bytes as `holds_secret` wants to see them."""
    return raw.translate(_TO_PLAIN).decode("ascii")


def _is_disguised(raw: bytes) -> bool:
    """Tell whether there may be one once wide letters and what nobody sees are out of the way."""
    text = raw.decode("utf-8", "ignore")
    if _DISGUISE.search(text) is None:
        return False
    return holds_secret(plain(folded(text)[0].encode()))

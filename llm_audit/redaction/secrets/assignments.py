"""Secrets that are given by name in a text: JSON, code, queries of URLs, headers, settings."""

import re
from collections.abc import Iterable, Iterator

from llm_audit.redaction.secrets import names

Span = tuple[int, int]

# The end of a name, and what gives it its value.
_GIVEN = re.compile(
    rf"(?:{names.SECRET})s?"
    r"""(?:(?P<quote>\\*["'])\s*(?:=>|[:=])\s*|(?P<gap>[ \t]{0,4})(?::=|=>?|%3d)(?!=)[ \t]{0,4}"""
    r"""|(?P<colon>:)[ \t]*|(?P<tag>>)|(?P<option>[ \t]{1,4}))(?P<opens>\\*["'])?"""
)
_SIGNS = ("quote", "gap", "colon", "tag", "option")
_IN_QUERY = re.compile(
    r"[?&](?:x-(?:amz|goog)-)?(?:key|sig(?:nature)?|code|auth|credential)="
    r"(?!\[redacted:)(?P<value>[^\s&\"'<>\\]{8,})",
    re.IGNORECASE,
)
_NAME_BEFORE = re.compile(r"[\w.-]{0,64}\Z")
_BARE = re.compile(r"""[^\s;,"'<>)\]}|\\]+""")
_BARE_IN_QUERY = re.compile(r"""[^\s&;,"'<>)\]}|\\]+""")
_NUMBER = re.compile(r"-?\d[\d.]*")
_SCHEME = re.compile(r"(?:bearer|basic|token|digest|apikey|key|jwt) +", re.IGNORECASE)
_ELEMENT = re.compile(r"[^<]+(?=</)")
# What stands after name= in code: a call, a name, a constant, a type.
_CODE = re.compile(
    r"[A-Za-z_][\w.]*[(\[{].*|(?:self|cls|os|settings|config|args|env|ctx|request|process)\..*"
    r"|[a-z_.]+|None|True|False|[A-Z][a-z]+|[A-Z][A-Z_]*_?(?:KEY|TOKEN|SECRET|PASSWORD|PWD)"
    r"|\$.*|\{.*|%.*|\*+|\.\.\.|\[.*",
    re.DOTALL,
)
_PLACEHOLDER = re.compile(
    r"\s*|\[[a-z_]+(?::\w+)?\]|\*+|<[\w\s-]*>|\$\{\w+\}|\{\{?[\w\s.]+\}?\}|os\.environ/\w+|\.\.\."
    r"|None|null|[Tt]rue|[Ff]alse|string|str|x+"
)
_IDENTIFIER = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]+)*")
_REPLACED = "[redacted:"
_LONGEST = 1_000  # of what may be code
_SHORTEST = 4  # of what is worth a secret's name: accesskey="P" is of HTML
_LIKE_A_KEY = re.compile(r"(?=.*[A-Z\d])[\w.~+/=-]{8,}")
_MIXED = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[^()\[\]{}]{6,}")


_WORDS = frozenset(("password", "passwd", "secret", "token", "apikey", "credential", "cookie"))


def is_placeholder(value: str) -> bool:
    """Tell whether a value stands for a secret that is not there, or for one that is replaced."""
    return _PLACEHOLDER.fullmatch(value) is not None


def find_assignments(text: str, parts: Iterable[Span]) -> Iterator[Span]:
    """Give the spans of values that have a secret's name.

    Args:
        text: Any.
        parts: Where in it names are looked for.
    """
    low = text.lower()
    if len(low) != len(text):  # of few letters: positions have to be the same
        low = "".join(small if len(small := one.lower()) == 1 else one for one in text)
    done = 0
    for begins, ends in parts:
        for match in _GIVEN.finditer(low, begins, ends):
            span = _value_of(text, match) if match.start() >= done else None
            if span is not None:
                done = span[1]
                yield span
        yield from (match.span("value") for match in _IN_QUERY.finditer(text, begins, ends))


def _value_of(text: str, match: re.Match[str]) -> Span | None:
    """Return where the value is that stands after a name, if it may be a secret."""
    quote = match["quote"] or ""
    ends = match.start(next(one for one in _SIGNS if match[one] is not None))
    before = _NAME_BEFORE.search(text, max(0, match.start() - 64), match.start())
    begins = before.start() if before else match.start()
    name = text[begins:ends]
    if not names.is_secret(name) or text[begins - len(quote) : begins] != quote:
        return None
    if match["tag"]:
        return _in_element(text, begins, ends)
    sign = text[begins - 1 : begins] if begins and not quote else ""
    is_prompt = sign and match["opens"] == sign  # "Password:" and what stands behind it
    if (match["colon"] and (is_prompt or sign == ":")) or (match["option"] and name[:2] != "--"):
        return None
    if match["opens"]:
        return _in_quotes(text, match.end(), match["opens"], name)
    if not quote:
        return _bare(text, match, in_query=sign in {"?", "&"})
    number = _NUMBER.match(text, match.end())
    return number.span() if number and not name.lower().endswith("token") else None


def _in_element(text: str, begins: int, ends: int) -> Span | None:
    """Return where the text of an element of XML is, given where its name is."""
    element = _ELEMENT.match(text, ends + 1) if text[begins - 1 : begins] == "<" else None
    return element.span() if element and not is_placeholder(element[0]) else None


def _bare(text: str, match: re.Match[str], *, in_query: bool) -> Span | None:
    """Return where a value is that has no quotes around it; in code it is no value at all."""
    scheme = _SCHEME.match(text, match.end())  # of an Authorization
    begins = scheme.end() if scheme else match.end()
    pattern = _BARE_IN_QUERY if in_query else _BARE
    bare = pattern.match(text, begins, begins + _LONGEST)
    if bare is None or is_placeholder(bare[0]) or text.startswith(_REPLACED, begins):
        return None
    if bare.end() == begins + _LONGEST:  # that long is no code
        return begins, pattern.match(text, begins).end()  # type: ignore[union-attr]
    if not in_query and (_CODE.fullmatch(text[bare.start() : bare.end() + 1]) or _is_name(bare[0])):
        return None
    in_sentence = match["colon"] or match["gap"] or match["option"]
    return None if in_sentence and not _MIXED.fullmatch(bare[0]) else bare.span()


def _in_quotes(text: str, start: int, opens: str, name: str) -> Span | None:
    """Return where the text is up to the quote that ends it, with as many backslashes."""
    end = start
    while True:
        end = text.find(opens[-1], end)
        if end < 0:  # it was cut off
            end = len(text)
            break
        slashes = 0
        while end - slashes > start and text[end - slashes - 1] == "\\":
            slashes += 1
        if slashes == len(opens) - 1 or (len(opens) == 1 and slashes % 2 == 0):
            end -= len(opens) - 1
            break
        end += 1
    value = text[start:end]
    if is_placeholder(value) or _is_name(value) or end - start < _SHORTEST:
        return None
    if name.lower() == "token" and not _LIKE_A_KEY.fullmatch(value):
        return None  # it may be what a model says
    return start, end


def _is_name(value: str) -> bool:
    """Tell whether a value is a name of a secret itself: token=token, KEY = "OPENAI_API_KEY".

    One word that only ends like a name may be a weak password.
    """
    is_one = value.lower().removesuffix("s") in _WORDS or "_" in value or "." in value
    return bool(
        is_one and _IDENTIFIER.fullmatch(value) and names.is_secret(value.rpartition(".")[2])
    )

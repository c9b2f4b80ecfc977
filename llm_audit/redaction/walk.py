"""Goes through the values of a document, and replaces what the rules find in them.

It sees every text there is: values, the keys of documents, bytes, JSON in a text. What is given
under the name of a secret is replaced whatever it looks like.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import bson
from pydantic_core import from_json

from llm_audit.encoding.externalise import is_base64
from llm_audit.encoding.moved import is_mark
from llm_audit.redaction.operators import replacement
from llm_audit.redaction.rule import Rule
from llm_audit.redaction.secrets import look, names, patterns
from llm_audit.redaction.secrets.assignments import is_placeholder

Found = tuple[int, int, str, str]  # start, end, the rule's name, its operator

_LOOK_FIRST_CHARACTERS = 256  # of a shorter text the patterns cost no more than a look
_JSON_BEGINS = ("{", "[", '"')
_JSON_MAX_CHARACTERS = 4 * 2**20
LARGE = 10**12  # a number of so many digits may be that of a card, or of whatever a rule is for
# Pictures and sound are that long, and the rules take a second per MB to look through them.
MEDIA_MIN_CHARACTERS = 32 * 2**10
_CUT = re.compile(r"… \(\d+ characters\)\Z")  # as `providers.errors` says it
_DATA_URL = re.compile(r"data:[\w.+/-]{1,100};base64,")
_JSON_TYPES = frozenset(("string", "number", "integer", "boolean", "object", "array", "null"))
_SCHEMA_WORDS = frozenset(("$ref", "anyOf", "oneOf", "allOf", "enum", "properties", "const"))
_EXAMPLES = frozenset(("default", "example", "examples", "const"))


class Walk:
    """One pass over a document that was made for it.

    Args:
        rules: What is looked for in each text.
        key: For pseudonyms.
        check: Is called after each try of a rule, and may raise.
        for_secrets: Whether to look for secrets, too.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        key: bytes | None,
        check: Callable[[], object],
        *,
        for_secrets: bool,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._rules = rules
        self._key = key
        self._check = check
        self._for_secrets = for_secrets

    def value(self, value: Any) -> Any:
        """Return a value as it may be stored."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is dict:
            return self._document(value)
        if kind is list:
            return self._items(value)
        return self._single(value)

    def _single(self, value: Any) -> Any:
        """Return a value that is no text, and that may hold some."""
        if self._rules and isinstance(value, int) and not -LARGE < value < LARGE:
            number = str(value)
            clean = self.text(number)
            return value if clean == number else clean
        if isinstance(value, bytes) and not is_mark(value):
            text = value.decode("utf-8", "surrogateescape")  # which keeps what is no text
            clean = self.text(text)
            return value if clean == text else clean.encode("utf-8", "surrogateescape")
        if isinstance(value, bson.Code):
            scope = value.scope
            return bson.Code(self.text(str(value)), None if scope is None else self.value(scope))
        if isinstance(value, bson.Regex | re.Pattern):
            pattern = str(value.pattern)
            clean = self.text(pattern)
            return value if clean == pattern else clean
        return value

    def text(self, text: str) -> str:
        """Return a text as it may be stored."""
        is_read = False
        if text.lstrip()[:1] in _JSON_BEGINS and len(text) <= _JSON_MAX_CHARACTERS:
            text, is_read = self._json(text)
        found = sorted(self._found_in(text, is_read=is_read))
        if not found:
            return text
        parts: list[str] = []
        at = 0
        for first, end, name, operator in found:
            if end > at:  # else it is in what has just been replaced
                start = max(first, at)
                parts += text[at:start], replacement(operator, name, text[start:end], self._key)
                self.counts[name] += 1
                at = end
        return "".join((*parts, text[at:]))

    def _found_in(self, text: str, *, is_read: bool) -> Iterator[Found]:
        """Give what is found in a text, of one that is JSON and was read all but the secrets."""
        if self._for_secrets and not is_read and _may_hold_secrets(text):
            for start, end, name in patterns.find(text):
                yield start, end, name, "remove"
        if not self._rules or has_no_words(text):
            return
        for rule in self._rules:
            for start, end in rule.find(text):
                if start < end:
                    yield max(0, start), end, rule.name, rule.operator
            self._check()

    # What names say

    def _document(self, document: dict[str, Any]) -> dict[str, Any]:
        clean: dict[str, Any] = {}
        pair = names.named_in(document) if self._for_secrets else None
        alike: Counter[str] = Counter()
        for name, value in document.items():
            new = plain = self.text(name)
            while new in clean:  # two names that were replaced, say
                alike[plain] += 1
                new = f"{plain}#{alike[plain] + 1}"
            if not self._for_secrets:
                clean[new] = self.value(value)
            elif names.is_secret(name) and not names.is_piece_of_text(name, document):
                clean[new] = self._named(name, value)
            elif names.are_headers(name):
                clean[new] = self._headers(value)
            elif name == "value" and isinstance(pair, str) and names.is_secret(pair):
                clean[new] = self._named(pair, value)
            else:
                clean[new] = self.value(value)
        return clean

    def _items(self, items: list[Any]) -> list[Any]:
        """Return what is stored of a list, which may be of arguments: "--api-key" and the key."""
        if not self._for_secrets:
            return [self.value(item) for item in items]
        clean: list[Any] = []
        option = ""
        for item in items:
            is_text = type(item) is str
            is_option = is_text and item[:1] == "-"
            named = option and is_text and not is_option
            clean.append(self._named(option, item) if named else self.value(item))
            option = item.lstrip("-") if is_option and names.is_secret(item) else ""
        return clean

    def _named(self, name: str, value: Any) -> Any:
        """Return what is stored of a value that has the name of a secret."""
        is_token = name.lower().endswith(("token", "tokens"))
        kind = type(value)
        if kind in {dict, list} and is_token:  # a piece of text with what a model says of it
            return self.value(value)
        if kind is dict:
            is_schema = _is_schema(value)
            return {
                self.text(key): self.value(item)
                if is_schema and key not in _EXAMPLES
                else self._named(name, item)
                for key, item in value.items()
            }
        if kind is list:
            return [self._named(name, item) for item in value]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if (
            (is_number and not is_token)  # counts and prices are called tokens, too
            or (kind is str and _may_be_one(name, value))
            or (isinstance(value, bytes) and value)
        ):
            return self._gone()
        return self.value(value)

    def _headers(self, value: Any) -> Any:
        """Return what is stored of headers: of those that are not known nothing but the name."""
        if isinstance(value, dict) and not _is_schema(value):
            return {
                self.text(name): self.value(item)
                if names.is_harmless_header(name)
                else self._named(name, item)
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self._header(item) for item in value]
        return self.value(value)

    def _header(self, item: Any) -> Any:
        match item:
            case [str(name), str(value)] if not names.is_harmless_header(name):
                return [self.text(name), self._named(name, value)]
            case {"name": str(name)} | {"key": str(name)} if not names.is_harmless_header(name):
                return {
                    self.text(key): self._named(name, given) if key == "value" else given
                    for key, given in item.items()
                }
        return self.value(item)

    def _gone(self) -> str:
        self.counts[patterns.NAMED] += 1
        return replacement("remove", patterns.NAMED, "", self._key)

    def _json(self, text: str) -> tuple[str, bool]:
        """Return a text of JSON as it may be stored, and whether it was read; else as it is."""
        escaped = "\\u" in text  # behind which any character may stand
        if not escaped and not (self._for_secrets and _may_hold_secrets(text)):
            return text, False
        try:
            value, behind = _read(text)
        except (ValueError, RecursionError):
            return text, False
        if not isinstance(value, dict | list):
            return text, False
        rules = self._rules if escaped else ()  # else they find it in the text
        inside = Walk(rules, self._key, self._check, for_secrets=self._for_secrets)
        try:
            clean = inside.value(value)
        except RecursionError:  # Python reads more levels than it goes through
            return text, False
        if not inside.counts:
            return text, True
        self.counts.update(inside.counts)
        separators = (",", ": ") if '": ' in text else (",", ":")
        if '", "' in text or ', "' in text:
            separators = (", ", separators[1])
        return json.dumps(clean, ensure_ascii=escaped, separators=separators) + behind, True


def _read(text: str) -> tuple[Any, str]:
    """Return what JSON says, and what is to be said behind it.

    A text that was cut, as the bodies of errors are, says what is left of it.

    Raises:
        ValueError: It is no JSON, or something follows it.
    """
    try:
        return json.loads(text, object_pairs_hook=_with_all_values), ""
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise
    cut = _CUT.search(text)
    end = cut.start() if cut else len(text)
    whole = text[:end].encode("utf-8", "replace")  # halves of a character are none to it
    return from_json(whole, allow_partial="trailing-strings"), text[end:]


def _with_all_values(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; of a name that stands in it twice each value, else one would go unseen."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    values: dict[str, list[Any]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: each if len(each) > 1 else each[0] for name, each in values.items()}


def has_no_words(text: str) -> bool:
    """Tell whether a text is long and nothing but base64, in which no words are looked for."""
    if len(text) <= MEDIA_MIN_CHARACTERS:
        return False
    head = _DATA_URL.match(text)
    return is_base64(text, head.end() if head else 0)


def _may_hold_secrets(text: str) -> bool:
    if len(text) < _LOOK_FIRST_CHARACTERS:
        return True
    raw = text.encode("utf-8", "surrogatepass")
    return look.may_be_in(raw)


def _is_schema(value: dict[str, Any]) -> bool:
    """Tell whether a document says what a value has to be like, and is not the value."""
    kind = value.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    is_type = all(isinstance(one, str) and one.lower() in _JSON_TYPES for one in kinds)
    return bool(kinds and is_type) or not _SCHEMA_WORDS.isdisjoint(value)


def _may_be_one(name: str, value: str) -> bool:
    """Tell whether a text may be the secret that its name says, and not a word for it."""
    if is_placeholder(value):
        return False
    plain = name.lower()
    if plain in {"cookie", "cookies"}:
        return "=" in value or (value.isascii() and any(map(str.isdigit, value)))  # or to eat
    if plain in {"auth", "token"}:
        return len(value) >= 6 and not any(map(str.isspace, value))  # noqa: PLR2004
    return True

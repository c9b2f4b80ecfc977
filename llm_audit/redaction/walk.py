"""Goes through the values of a document, and replaces what the rules find in them.

It sees every text there is: values, the keys of documents, bytes, and what is named like a secret.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import bson

from llm_audit.redaction.operators import replacement
from llm_audit.redaction.rule import Rule

Found = tuple[int, int, str, str]  # start, end, the rule's name, its operator


class Walk:
    """One pass over a document that was made for it: it is changed in place.

    Args:
        rules: What is looked for in each text.
        find_secrets: Returns the spans of secrets in a text with their rules' names; None looks
            for none, neither in texts nor by name.
        key: For pseudonyms.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        find_secrets: Callable[[str], Iterable[tuple[int, int, str]]] | None,
        key: bytes | None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._rules = rules
        self._find_secrets = find_secrets
        self._key = key

    def value(self, value: Any) -> Any:
        """Return a value as it may be stored."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is dict:
            return {self.text(name): self.value(item) for name, item in value.items()}
        if kind is list:
            return [self.value(item) for item in value]
        if isinstance(value, bytes):
            text = value.decode("latin-1")
            clean = self.text(text)
            return value if clean == text else clean.encode("latin-1", "replace")
        if isinstance(value, bson.Regex | bson.Code):
            text = str(value.pattern if isinstance(value, bson.Regex) else value)
            clean = self.text(text)
            return value if clean == text else clean
        return value

    def text(self, text: str) -> str:
        """Return a text as it may be stored."""
        found = sorted(self._found_in(text))
        if not found:
            return text
        parts: list[str] = []
        at = 0
        for start, end, name, operator in found:
            if start < at:  # it is in what has just been replaced
                continue
            parts += text[at:start], replacement(operator, name, text[start:end], self._key)
            self.counts[name] += 1
            at = end
        return "".join((*parts, text[at:]))

    def _found_in(self, text: str) -> Iterator[Found]:
        if self._find_secrets is not None:
            for start, end, name in self._find_secrets(text):
                yield start, end, name, "remove"
        for rule in self._rules:
            for start, end in rule.find(text):
                if 0 <= start < end:
                    yield start, end, rule.name, rule.operator

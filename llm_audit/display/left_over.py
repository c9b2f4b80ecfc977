"""What is stored of a call and was not drawn: so that nothing is left out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llm_audit.call import SAID
from llm_audit.encoding.json_text import meaning_of
from llm_audit.providers.messages import Part
from llm_audit.queries.steps import Document

_NAMED_BY_ITS_SIGN = frozenset({"role", "type", "part_kind"})
_DEEPEST = 100
LOOKED_THROUGH_MAX = 2**30  # characters in a call; more than one of any real length takes


class _Drawn:
    """What was shown of what was said.

    Args:
        leaves: Every text and every number of it, in order.
    """

    def __init__(self, leaves: Sequence[Any]) -> None:
        # MongoDB's Code is a str, too, and no key of a set
        texts = [str.__str__(leaf) for leaf in leaves if isinstance(leaf, str)]
        self._whole = frozenset(texts)
        self._text = "\0".join(texts)
        self._found_at = 0
        self._left = LOOKED_THROUGH_MAX
        self._known: dict[str, bool] = {}
        values = ((type(leaf), leaf) for leaf in leaves if isinstance(leaf, int | float))
        self.values = frozenset(values)

    def says(self, text: str) -> bool:
        """Tell whether a text was shown, whole or as a part of another one.

        What is stored is asked for in the order in which it was shown. All that is looked through
        for it has a bound; after that, nothing was shown.
        """
        text = str.__str__(text)
        if text in self._whole:
            return True
        if text not in self._known:
            self._known[text] = self._holds(text)
        return self._known[text]

    def _holds(self, text: str) -> bool:
        whole = len(self._text)
        for start, end in ((self._found_at, whole), (0, self._found_at + len(text))):
            stop = min(end, start + self._left)
            at = self._text.find(text, start, stop)
            self._left -= (stop if at < 0 else at) - start
            if at >= 0:
                self._found_at = at
                return True
        return False


class _Whole:
    """Stands for a value of which nothing was shown."""


class _Empty:
    """Stands for a value in which there is nothing to be shown."""


def left_over(
    document: Document, drawn_fields: Iterable[str], parts: Iterable[Part]
) -> dict[str, Any]:
    """Return everything that is stored and was not drawn, by its path.

    Args:
        document: The call, as read from MongoDB.
        drawn_fields: The names of fields that were drawn whole.
        parts: What was drawn of what was said.
    """
    drawn = _drawn(parts)
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name in SAID:
            left = _left(value, name, drawn, 0)
            found |= {name: value} if left is _Whole else dict(_listed(left))
        elif name not in drawn_fields and value not in (None, [], {}):
            found[name] = value
    return found


def _drawn(parts: Iterable[Part]) -> _Drawn:
    leaves = [
        leaf
        for part in parts
        for name, value in part
        if name != "is_error"
        for leaf in _leaves(value)
    ]
    return _Drawn(leaves)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield name
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _left(value: Any, path: str, drawn: _Drawn, level: int) -> Any:
    """Return what is left of a value: a list of paths and values, `_Whole`, or `_Empty`."""
    if not isinstance(value, dict | list) or level > _DEEPEST:
        return _of_leaf(value, drawn)
    items = value.items() if isinstance(value, dict) else enumerate(value)
    inner = [
        (f"{path}.{name}", item, _left(item, f"{path}.{name}", drawn, level + 1))
        for name, item in items
        if name not in _NAMED_BY_ITS_SIGN or not isinstance(item, str)
    ]
    states = [left for _, _, left in inner if left is not _Empty]
    if not states:
        return _Empty
    if all(left is _Whole for left in states):
        return _Whole
    found: list[tuple[str, Any]] = []
    for where, item, left in inner:
        found += [(where, item)] if left is _Whole else _listed(left)
    return found


def _of_leaf(value: Any, drawn: _Drawn) -> Any:
    if value is None or value == "":
        return _Empty
    if isinstance(value, str):
        return [] if drawn.says(value) or _meaning_is_drawn(value, drawn) else _Whole
    if isinstance(value, int | float):
        return [] if (type(value), value) in drawn.values else _Whole
    return _Whole


def _meaning_is_drawn(text: str, drawn: _Drawn) -> bool:
    """Tell whether what a text of JSON means was shown, such as a tool's arguments."""
    if not text.lstrip().startswith(("{", "[")):
        return drawn.says(text.strip())
    try:
        meant = meaning_of(text)
    except (ValueError, RecursionError):
        return False
    left = _left(meant, "", drawn, 0)
    return left is not _Whole and not _listed(left)


def _listed(left: Any) -> list[tuple[str, Any]]:
    return left if isinstance(left, list) else []

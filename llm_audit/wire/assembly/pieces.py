"""Growing one thing of many pieces, each of which adds to it: in time in proportion to them."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

_DEEPEST = 8  # levels in each other; no API streams deeper pieces
# Said again by some, never in pieces.
_STANDS = frozenset({"role", "id", "object", "format", "status", "mime_type"})
_REPLACED = frozenset({"index", "type"})
_TEXT_TYPES = frozenset({"text", "thinking", "reasoning.text", "reasoning.summary"})


class Text:
    """A text that grows; joined once."""

    __slots__ = ("parts",)

    def __init__(self, *parts: str) -> None:
        self.parts = list(parts)

    def __str__(self) -> str:
        return "".join(self.parts)


class Items(list[Any]):
    """A list that grows, whose items are told apart by their `index`, if they have one."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[int, int] = {}


def items(value: Any) -> list[Any]:
    """Return a list as it is; of anything else an empty one."""
    return value if isinstance(value, list) else []


def fields(value: Any) -> dict[str, Any]:
    """Return a dict as it is; of anything else an empty one."""
    return value if isinstance(value, dict) else {}


def says_all_again(texts: list[str]) -> bool:
    """Tell whether each of the pieces of a text says all that came before it again."""
    return all(later.startswith(former) for former, later in pairwise(texts))


def grow(whole: dict[str, Any], piece: Mapping[str, Any], level: int = 0) -> dict[str, Any]:
    """Add a piece to what has come so far; `joined` makes plain values of it.

    Texts are joined, lists too, items of the same `index` as one; a name or an id that is said
    again stands as it is. What else comes again replaces what was.

    Args:
        whole: Is changed.
        piece: Is not.
        level: How deep this is.
    """
    for key, value in piece.items():
        old = whole.get(key)
        if value is None:
            whole.setdefault(key, None)
        elif old is None:
            whole[key] = _fresh(value, level)
        elif key in _STANDS:
            whole[key] = old or value
        elif key not in _REPLACED and not (key == "name" and _is_same(old, value)):
            whole[key] = _grown(old, value, level)
        elif value or key == "index":
            whole[key] = value
    return whole


def add_text(whole: dict[str, Any], key: str, text: Any) -> None:
    """Add to a text; what is none adds nothing."""
    if isinstance(text, str):
        whole[key] = _grown(whole.get(key) or Text(), text, 0)


def add_item(whole: dict[str, Any], key: str, item: Any) -> None:
    """Add to a list."""
    items = whole.get(key)
    if not isinstance(items, Items):
        old, items = items, Items()
        items += old if isinstance(old, list) else ()
        whole[key] = items
    items.append(item)


def joined(value: Any, level: int = 0) -> Any:
    """Return what has grown as plain values."""
    if isinstance(value, Text):
        return str(value)
    if level > 2 * _DEEPEST:
        return value
    if isinstance(value, dict):
        return {key: joined(item, level + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [joined(item, level + 1) for item in value]
    return value


def _fresh(value: Any, level: int) -> Any:
    if level >= _DEEPEST:
        return value
    if isinstance(value, dict):
        return grow({}, value, level + 1)
    if isinstance(value, list):
        return _extended(Items(), value, level + 1)
    return value


def _grown(old: Any, value: Any, level: int) -> Any:
    if isinstance(value, str):
        if isinstance(old, Text):
            old.parts.append(value)
            return old
        if isinstance(old, str):
            return Text(old, value)
        if isinstance(old, Items):  # Mistral goes from a list of parts to a text
            return _extended(old, [{"type": "text", "text": value}] if value else [], level + 1)
    elif level < _DEEPEST:
        if isinstance(value, dict) and isinstance(old, dict):
            return grow(old, value, level + 1)
        if isinstance(value, list):
            if isinstance(old, Text | str):
                text = str(old)
                old = _extended(
                    Items(), [{"type": "text", "text": text}] if text else [], level + 1
                )
            if isinstance(old, list):
                whole = old if isinstance(old, Items) else _extended(Items(), old, level + 1)
                return _extended(whole, value, level + 1)
    return value


def _extended(items: Items, more: list[Any], level: int) -> Items:
    for item in more:
        if not isinstance(item, dict) or level > _DEEPEST:
            items.append(item)
            continue
        index = item.get("index")
        if type(index) is int:
            at = items.at.get(index)
            if at is not None and _is_more_of(items[at], item):
                grow(items[at], item, level)
                continue
            items.at[index] = len(items)
        elif items and _is_more_text(items[-1], item):
            grow(items[-1], item, level)
            continue
        items.append(grow({}, item, level))
    return items


def _is_more_of(old: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """Tell whether an item of the same index is more of it: some count nothing, all have 0."""
    if _differ(old.get("type"), item.get("type")):
        return False
    function = item.get("function")
    is_begun = bool(function.get("name")) if isinstance(function, dict) else False
    return not (is_begun and _differ(old.get("id"), item.get("id")))


def _is_more_text(old: Any, item: Mapping[str, Any]) -> bool:
    """Tell whether a part without an index is more of the text before it."""
    kind = item.get("type")
    return (
        isinstance(old, dict)
        and isinstance(kind, str)
        and kind in _TEXT_TYPES
        and kind == old.get("type")
        and old.keys() == item.keys()
        and not item.get("id")
    )


def _differ(one: Any, other: Any) -> bool:
    return bool(one) and bool(other) and not _is_same(one, other)


def _is_same(one: Any, other: Any) -> bool:
    return bool(one == other)  # what is a Text has come in pieces, so it is none that stands

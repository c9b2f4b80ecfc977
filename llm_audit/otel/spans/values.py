"""What attributes hold: plain values, JSON in texts, and structures spelled out in their names."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from llm_audit.errors import let_through

Tree = dict[str, Any]
_BEGIN = ("{", "[")
_WRAPPED = '"constructor"'


def parsed(value: object) -> Any:
    """Return what a text of JSON means where that is an object or a list; else the value itself."""
    if type(value) is not str:
        return plain(value)
    if not value.startswith(_BEGIN) and value.lstrip()[:1] not in _BEGIN:
        return value
    try:
        found = json.loads(value)
        return unwrapped(found) if _WRAPPED in value else found
    except (ValueError, RecursionError) as error:
        let_through(error)
        return value


def plain(value: object) -> Any:
    """Return a value with lists for the tuples in which an SDK keeps them."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def unwrapped(value: Any) -> Any:
    """Return what LangChain's serialised objects hold, in their place."""
    if isinstance(value, list):
        return [unwrapped(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "constructor" and isinstance(value.get("kwargs"), dict):
        return unwrapped(value["kwargs"])
    return {name: unwrapped(item) for name, item in value.items()}


def as_list(value: object) -> list[Any] | None:
    """Return what a list or a JSON text of one holds; None for anything else."""
    found = None if value is None else parsed(value)
    return found if isinstance(found, list) else None


def as_dict(value: object) -> dict[str, Any]:
    """Return what an object or a JSON text of one holds; empty for anything else."""
    found = None if value is None else parsed(value)
    return dict(found) if isinstance(found, Mapping) else {}


def as_text(value: object) -> str | None:
    """Return a text, a number as its text; of a list, or a JSON text of one, its first."""
    if value is None:
        return None
    found = parsed(value)
    if isinstance(found, list):
        found = found[0] if found else None
    if isinstance(found, str):
        return found.strip('"') or None
    return str(found) if type(found) in {int, float} else None


def as_number(value: object) -> float | None:
    """Return a number, also one in a text; None for anything else."""
    if type(value) in {int, float}:
        return value  # type: ignore[return-value]
    if not isinstance(value, str):
        return None
    try:
        return float(str.__str__(value))  # the error writes a text of a kind of its own out
    except ValueError as error:
        let_through(error)
        return None


def numbered(attributes: Mapping[str, Any], prefixes: tuple[str, ...]) -> list[Any]:
    """Return a list that is spelled out in names: `llm.input_messages.0.message.role`.

    Args:
        attributes: A span's.
        prefixes: What stands before the number; the first that is there counts.
    """
    any_of = _dotted(prefixes)
    if not any(name.startswith(any_of) for name in attributes):
        return []
    trees: dict[str, Tree] = {prefix: {} for prefix in any_of}
    for name, value in attributes.items():
        if name.startswith(any_of):
            prefix = next(prefix for prefix in any_of if name.startswith(prefix))
            _put(trees[prefix], name[len(prefix) :].split("."), value)
    structures = (_structure(tree) for tree in trees.values() if tree)
    return next((found for found in structures if isinstance(found, list)), [])


@cache
def _dotted(prefixes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{prefix}." for prefix in prefixes)


def _put(tree: Tree, way: list[str], value: object) -> None:
    for name in way[:-1]:
        inner = tree.get(name)
        if not isinstance(inner, dict):
            inner = tree[name] = {}
        tree = inner
    if not isinstance(tree.get(way[-1]), dict):
        tree[way[-1]] = plain(value)


def _structure(tree: object) -> Any:
    """Return lists for what has numbers as names, in their order: some may have been dropped."""
    if not isinstance(tree, dict):
        return tree
    inner = {name: _structure(value) for name, value in tree.items()}
    if inner and all(name.isdecimal() and name.isascii() for name in inner):
        return [inner[name] for name in sorted(inner, key=lambda name: (len(name), name))]
    return inner


def texts_in(items: list[Any], *way: str) -> Iterator[Any]:
    """Yield what is at the end of the same way in each item, where it is there."""
    for item in items:
        found = item
        for name in way:
            found = found.get(name) if isinstance(found, dict) else None
        if found is not None:
            yield found

"""The vectors of embeddings: counted, and left out of what is stored."""

from collections.abc import Iterator, Mapping
from typing import Any

from llm_audit.providers.fields import LISTS, fields_of
from llm_audit.providers.shape import Shape
from llm_audit.providers.shapes import SHAPES

# The fields of a body without which it has no vectors; and those that hold much else, with what has
# to be in them.
_NAMES = frozenset(path.partition(".")[0] for shape in SHAPES for path in shape.vectors)
_WRAPPERS = {"output": "embeddings", "result": "data"}
_PLAIN = _NAMES - _WRAPPERS.keys()

_LISTS_IN_EACH_OTHER = 3  # of Hugging Face: texts, tokens, numbers
_BYTES_A_NUMBER = 4  # of what is in base64


def may_have_vectors(fields: Mapping[str, Any]) -> bool:
    """Tell by a look whether a body may hold vectors.

    Args:
        fields: Of the body.
    """
    if not _PLAIN.isdisjoint(fields):
        return True
    if _NAMES.isdisjoint(fields):
        return False
    return any(inner in fields_of(fields.get(name)) for name, inner in _WRAPPERS.items())


def count_vectors(body: object, shape: Shape) -> dict[str, int]:
    """Return how many vectors a response has, and of how many dimensions; nothing without any.

    Args:
        body: An SDK's response object, or the body as a dict.
        shape: Its row.
    """
    found = [
        size
        for path in shape.vectors
        for holder, name in _holders(body, path.split("."))
        for size in _sizes(fields_of(holder).get(name))
    ]
    return {"count": len(found), "dimensions": max(found)} if found else {}


def count_bare_vectors(body: list[Any]) -> dict[str, int]:
    """Return the same of a list that is a vector, or holds nothing but vectors.

    Args:
        body: As plain values.
    """
    found = [size for item in body for size in _bare_sizes(item, 0)]
    if body and all(isinstance(item, int | float) for item in body):
        found = [len(body)]
    return {"count": len(found), "dimensions": max(found)} if found else {}


def _bare_sizes(item: Any, level: int) -> Iterator[int]:
    """Yield the dimensions of each vector in a list, or under the name `embedding`."""
    if type(item) is dict and "embedding" in item:
        yield from _sizes(item["embedding"])
    elif type(item) is list and item and level < _LISTS_IN_EACH_OTHER:
        if isinstance(item[0], int | float):
            yield len(item)
        else:
            for inner in item:
                yield from _bare_sizes(inner, level + 1)


def without_vectors(body: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """Return a copy of a body without its vectors; what else is beside them stays.

    Args:
        body: As plain values; it is not changed.
        shape: Its row.
    """
    for path in shape.vectors:
        body = _without(body, path.split("."))
    return body


def exclusion(response: object, shape: Shape) -> dict[str, Any]:
    """Return the same as pydantic is told it, so that no vector is dumped."""
    excluded: dict[str, Any] = {}
    for path in shape.vectors:
        name, *below = path.split(".")
        value = fields_of(response).get(name)
        if not below and any(_sizes(value)):
            excluded[name] = True
        elif len(below) == 1 and value is not None:
            inner = dict.fromkeys(below, True)
            excluded.setdefault(name, {"__all__": inner} if isinstance(value, LISTS) else inner)
    return excluded


def _holders(value: object, path: list[str]) -> Iterator[tuple[object, str]]:
    """Yield everything that may hold a vector, and under which name."""
    name, *below = path
    for item in value if isinstance(value, LISTS) else [value]:
        if below:
            yield from _holders(fields_of(item).get(name), below)
        elif name in fields_of(item):
            yield item, name


def _without(value: Any, path: list[str]) -> Any:
    if type(value) is list:
        return [_without(item, path) for item in value]
    name, *below = path
    if type(value) is not dict or name not in value:
        return value
    if below:
        return {**value, name: _without(value[name], below)}
    if not any(_sizes(value[name])):
        return value
    return {key: item for key, item in value.items() if key != name}


def _sizes(value: object) -> Iterator[int]:
    """Yield the dimensions of each vector in a value: one, a list of them, or several by type."""
    if isinstance(value, str):
        yield len(value) * 3 // 4 // _BYTES_A_NUMBER
    elif isinstance(value, LISTS):
        if value and isinstance(value[0], int | float):
            yield len(value)
        else:
            for item in value:
                if isinstance(item, str | list | tuple):
                    yield from _sizes(item)
    else:
        for item in fields_of(value).values():
            yield from _sizes(item)

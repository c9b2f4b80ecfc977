"""Iterables: which can be read without taking anything away from the app."""

import gc
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from typing import Any

# Copies of these go on from the same place, and leave the original where it is.
_EMPTY: tuple[Iterable[Any], ...] = ([], (), range(0), {}, {}.values(), {}.items())
_COPIED = frozenset(type(iter(empty)) for empty in _EMPTY)
# What pydantic makes of a field that is an Iterable, as most of OpenAI's parameters have one; both
# keep the iterator that they read from.
_PYDANTIC = frozenset({"ValidatorIterator", "SerializationIterator"})


def rereadable(value: Any) -> Iterable[Any] | None:
    """Return an iterable over the items of a value that leaves the value as it is, or None.

    Args:
        value: Anything. A text, a mapping and a model are no lists of items, and a generator or an
            open stream can be read only once, so these give None.
    """
    kind = type(value)
    if issubclass(kind, Iterator):
        return _copied(value)
    if issubclass(kind, (str, bytes, bytearray, Mapping)) or hasattr(kind, "model_dump"):
        return None
    if not issubclass(kind, Iterable) or iter(value) is iter(value):
        return None
    return value  # type: ignore[no-any-return]


def _copied(value: Any) -> Iterator[Any] | None:
    kind = type(value)
    if kind in _COPIED:
        return copy(value)  # type: ignore[no-any-return]
    if kind.__name__ in _PYDANTIC and kind.__module__.startswith("pydantic_core"):
        inner = (one for one in gc.get_referents(value) if issubclass(type(one), Iterator))
        return next((rest for one in inner if (rest := _copied(one)) is not None), None)
    return None

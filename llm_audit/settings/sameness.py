"""Whether two functions are the same to their author, though Python made two objects of them.

An app factory that runs twice, and a module that is imported anew, make each function once more.
What cannot be compared for certain counts as different.
"""

import re
from dataclasses import fields, is_dataclass
from functools import partial
from types import CellType, CodeType, FunctionType, NoneType
from typing import Any

_FIXED = {str, bytes, int, float, complex, NoneType, re.Pattern, CodeType}  # stay as they are


def same_function(one: Any, other: Any) -> bool:
    """Tell whether two functions do the same, as far as that is certain.

    Args:
        one: A function, or anything else that can be called.
        other: The same.
    """
    return bool(one == other) or _same(one, other, set())


def _same(one: Any, other: Any, compared: set[tuple[int, int]]) -> bool:
    """Tell whether two values are the same; `compared` are the functions on the way here."""
    kind = type(one)
    if one is other or kind is not type(other):
        return one is other
    if kind in _FIXED:
        return bool(one == other)
    if kind is tuple:
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_same(*pair, compared) for pair in pairs)
    if kind is partial:
        return _same(_parts_of_partial(one), _parts_of_partial(other), compared)
    if is_dataclass(kind):  # a rule
        return _same(_items(_compared(one)), _items(_compared(other)), compared)
    return kind is FunctionType and _same_functions(one, other, compared)


def _same_functions(one: FunctionType, other: FunctionType, compared: set[tuple[int, int]]) -> bool:
    pair = id(one), id(other)
    if pair in compared:  # it calls itself: a difference would be found elsewhere
        return True
    compared.add(pair)
    return _same(_parts(one), _parts(other), compared) and (
        one.__globals__ is other.__globals__
        or _same(_globals_of(one), _globals_of(other), compared)
    )


def _parts_of_partial(call: "partial[Any]") -> tuple[Any, ...]:
    return call.func, call.args, _items(call.keywords)


def _parts(function: FunctionType) -> tuple[Any, ...]:
    return (
        function.__module__,
        function.__qualname__,
        function.__code__,
        function.__defaults__,
        _items(function.__kwdefaults__ or {}),
        tuple(_content(cell) for cell in function.__closure__ or ()),
        _items(vars(function)),
    )


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return cell


def _compared(instance: Any) -> dict[str, Any]:
    return {each.name: getattr(instance, each.name) for each in fields(instance) if each.compare}


def _items(values: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, values[name]) for name in sorted(values))


def _globals_of(function: FunctionType) -> tuple[tuple[str, Any], ...]:
    """Return the variables of its module that a function may use."""
    known = function.__globals__
    return _items({name: known[name] for name in _names_in(function.__code__) if name in known})


def _names_in(code: CodeType) -> set[str]:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return {*code.co_names}.union(*map(_names_in, inner))

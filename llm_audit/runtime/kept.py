"""What there is once in a process, whatever becomes of the module that it is in.

`importlib.reload` runs a module again, and a notebook's `%autoreload` clears it before. What such a
class holds, the recorder with its open calls, say, must not be lost, nor be there twice.
"""

import sys
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")
_PLACE = f"{__name__}.classes"  # a module that nobody reloads: it is in no file


def kept(made: type[T]) -> type[T]:
    """Return the class that was made first under this name, with all that it holds by now."""
    place = sys.modules.setdefault(_PLACE, ModuleType(_PLACE))
    first: type[T] = vars(place).setdefault(f"{made.__module__}.{made.__qualname__}", made)
    for name in vars(made).keys() - vars(first).keys():  # that of a newer version may hold more
        setattr(first, name, vars(made)[name])
    return first

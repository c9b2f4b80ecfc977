"""What the recording functions return: a call's id, which may also be awaited."""

from collections.abc import Generator
from typing import Any


class CallReference(str):
    """A call's id: a plain `str` that may also be awaited, which gives the same id."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, "CallReference"]:
        return self
        yield  # makes this a generator, which is what awaiting takes

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return (str, (str(self),))

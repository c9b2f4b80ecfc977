"""A stream that tells an attempt what the app reads of it, and stays what it is.

The stream itself becomes one of a subclass of its own class: whoever holds it, or asks what it is
or has, finds what was there before.
"""

from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from llm_audit.capture.attempt import How

if TYPE_CHECKING:
    from llm_audit.capture.attempt import Attempt
    from llm_audit.capture.by_hand import ByHand

_PLACE = "_llm_audit_watched"


class _Watched:
    """Holds the attempt for as long as somebody holds the stream."""

    def __init__(self, attempt: "Attempt | ByHand") -> None:
        self.attempt = attempt

    def __del__(self) -> None:
        self.attempt.drop()


def watch(stream: Any, attempt: "Attempt | ByHand") -> None:
    """Tell an attempt from now on what is read of a stream, and how it ends.

    Args:
        stream: Of httpx's or httpx2's response.
        attempt: Is told.
    """
    setattr(stream, _PLACE, _Watched(attempt))
    kind: type = type(stream)
    stream.__class__ = _watched(kind)


@cache
def _watched(kind: Any) -> Any:
    parts: dict[str, Any] = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    if hasattr(kind, "__iter__"):
        parts |= {"__iter__": _iter(kind), "close": _close(kind)}
    if hasattr(kind, "__aiter__"):
        parts |= {"__aiter__": _aiter(kind), "aclose": _aclose(kind)}
    return type(kind.__name__, (kind,), parts)


def _iter(kind: Any) -> Any:
    def __iter__(self: Any) -> Iterator[bytes]:  # noqa: N807
        attempt = vars(self)[_PLACE].attempt
        take = attempt.take
        try:
            for chunk in kind.__iter__(self):
                take(chunk)
                yield chunk
        except GeneratorExit:
            raise  # who leaves it closes it, or drops it
        except BaseException as error:
            attempt.raised(error)
            raise
        attempt.ends(How.LAST_BYTE)

    return __iter__


def _aiter(kind: Any) -> Any:
    async def __aiter__(self: Any) -> AsyncIterator[bytes]:  # noqa: N807
        attempt = vars(self)[_PLACE].attempt
        take = attempt.take
        source = kind.__aiter__(self)
        try:
            async for chunk in source:
                take(chunk)
                yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            attempt.raised(error)
            raise
        finally:
            if hasattr(source, "aclose"):
                await source.aclose()
        attempt.ends(How.LAST_BYTE)

    return __aiter__


def _close(kind: Any) -> Any:
    def close(self: Any) -> None:
        try:
            kind.close(self)
        finally:
            vars(self)[_PLACE].attempt.ends(How.CLOSED)

    return close


def _aclose(kind: Any) -> Any:
    async def aclose(self: Any) -> None:
        try:
            await kind.aclose(self)
        finally:
            vars(self)[_PLACE].attempt.ends(How.CLOSED)

    return aclose

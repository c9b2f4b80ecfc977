"""A stream that tells an attempt what the app reads of it, and stays what it is.

The stream itself becomes one of a subclass of its own class: whoever holds it, or asks what it is
or has, finds what was there before.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from typing import Any

from llm_audit.capture.attempt import PIECE_BYTES, How
from llm_audit.capture.by_hand import Follower
from llm_audit.capture.faults import harmless

Parts = Callable[[Any], dict[str, Any]]
_PLACE = "_llm_audit_watched"


class Watched:
    """Holds the attempt for as long as somebody holds the stream.

    Args:
        attempt: Is told.
    """

    def __init__(self, attempt: Follower) -> None:
        self.attempt = attempt
        self.is_reading = False  # which may call another way to read it, or close it

    def reading(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the same, and say of each piece when it is being read."""
        while True:
            self.is_reading = True
            try:
                piece = next(pieces)
            except StopIteration:
                return
            finally:
                self.is_reading = False
            yield piece

    def __del__(self) -> None:
        self.attempt.drop()


def watch(stream: Any, attempt: Follower, parts: Parts) -> None:
    """Tell an attempt from now on what is read of a stream, and how it ends.

    Args:
        stream: With attributes of its own.
        attempt: Is told.
        parts: Returns the methods that tell, for the stream's class.
    """
    setattr(stream, _PLACE, Watched(attempt))
    kind: type = type(stream)
    stream.__class__ = watched_kind(kind, parts)


def watched(stream: Any) -> Watched:
    """Return what holds the attempt that is told."""
    holder: Watched = vars(stream)[_PLACE]
    return holder


@harmless
def closed_again(response: Any) -> None:
    """Tell the attempt that the app closes once more what has been closed, if that is watched."""
    holder: Watched | None = getattr(response.stream, _PLACE, None)
    if holder is not None:
        holder.attempt.closed_again()


@cache
def watched_kind(kind: Any, parts: Parts) -> Any:
    """Return a subclass that looks like the class itself."""
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (kind,), {**named, **parts(kind)})


def of_httpx(kind: Any) -> dict[str, Any]:
    """Return the methods of a stream of httpx or httpx2, of whichever sort it is."""
    parts: dict[str, Any] = {}
    if hasattr(kind, "__iter__"):
        parts |= {"__iter__": _iter(kind), "close": close_of(kind)}
    if hasattr(kind, "__aiter__"):
        parts |= {"__aiter__": _aiter(kind), "aclose": _aclose_of(kind)}
    return parts


def _iter(kind: Any) -> Any:
    def __iter__(self: Any) -> Iterator[bytes]:  # noqa: N807
        return watching(lambda: kind.__iter__(self), watched(self))

    return __iter__


def _aiter(kind: Any) -> Any:
    def __aiter__(self: Any) -> AsyncIterator[bytes]:  # noqa: N807
        return watching_async(lambda: kind.__aiter__(self), watched(self))

    return __aiter__


def watching(read: Callable[[], Iterator[bytes]], holder: Watched) -> Iterator[bytes]:
    """Yield the pieces of an answer, and tell its attempt of them and of their end.

    Args:
        read: Begins to read them.
        holder: Holds the attempt.
    """
    attempt = holder.attempt
    keep, room = attempt.pieces.append, 0
    try:
        for piece in read():
            if room > 0 and type(piece) is bytes:  # as almost all are
                keep(piece)
                room -= len(piece) + PIECE_BYTES
            else:
                room = attempt.take(piece)
            yield piece
    except GeneratorExit:
        raise  # who leaves it closes it, or drops it
    except BaseException as error:
        attempt.raised(error)
        raise
    attempt.ends(How.LAST_BYTE)


async def watching_async(
    read: Callable[[], AsyncIterator[bytes]], holder: Watched
) -> AsyncIterator[bytes]:
    """Yield the same of an answer that is awaited."""
    attempt = holder.attempt
    keep, room = attempt.pieces.append, 0
    source = read()
    try:
        async for piece in source:
            if room > 0 and type(piece) is bytes:
                keep(piece)
                room -= len(piece) + PIECE_BYTES
            else:
                room = attempt.take(piece)
            yield piece
    except GeneratorExit:
        raise
    except BaseException as error:
        attempt.raised(error)
        raise
    finally:
        if hasattr(source, "aclose"):
            await source.aclose()
    attempt.ends(How.LAST_BYTE)


def close_of(kind: Any) -> Any:
    """Return the method that closes a stream."""

    def close(self: Any) -> None:
        try:
            kind.close(self)
        finally:
            holder = watched(self)
            if not holder.is_reading:  # else it fails, and is about to say with what
                holder.attempt.closed()

    return close


def _aclose_of(kind: Any) -> Any:
    async def aclose(self: Any) -> None:
        try:
            await kind.aclose(self)
        finally:
            watched(self).attempt.closed()

    return aclose

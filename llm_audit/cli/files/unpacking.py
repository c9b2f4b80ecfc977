"""Files as `import` reads them: unpacked, by lines, and never more than there is memory for."""

import gzip
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LINE_MAX_BYTES = 48 * 2**20  # a document of 16 MiB is no longer in JSON, unless all is escaped
# What JSON and gzip make of calls is hardly ever smaller by more than this.
UNPACKED_MAX_TIMES = 200
UNPACKED_ALWAYS_BYTES = 64 * 2**20  # which may be as small as they like
UNPACKED_MAX_BYTES = 2**40

_GZIP = b"\x1f\x8b"
_BUFFER_BYTES = 2**18
_BLANK = b" \t\r\n"


class TooMuchError(Exception):
    """A file unpacks to more than it can hold in earnest."""


def unpacked(stream: BinaryIO) -> io.BufferedReader:
    """Return what is in a file, also if that is packed with gzip.

    Reading it raises TooMuchError where little becomes too much.
    """
    packed = _Counted(stream)
    head = io.BufferedReader(packed)
    if head.peek(2)[:2] != _GZIP:
        return io.BufferedReader(cast("io.RawIOBase", head), _BUFFER_BYTES)
    return io.BufferedReader(_Unpacked(cast("BinaryIO", head), packed), _BUFFER_BYTES)


def lines_in(stream: io.BufferedReader) -> Iterator[tuple[int, bytes | None]]:
    """Yield each line that holds anything, with its number; None for one that is too long."""
    number = 0
    while line := stream.readline(LINE_MAX_BYTES + 1):
        number += 1
        if len(line) > LINE_MAX_BYTES:
            while line and not line.endswith(b"\n"):
                line = stream.readline(_BUFFER_BYTES)
            yield number, None
        elif line.strip():
            yield number, line
        else:  # perhaps there are millions of them
            ahead = stream.peek()
            blank = stream.read(len(ahead) - len(ahead.lstrip(_BLANK)))
            number += blank.count(b"\n")


class _Counted(io.RawIOBase):
    """Counts what is read of a stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self.count = 0
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        into = memoryview(buffer).cast("B")
        content = self._stream.read(len(into))
        into[: len(content)] = content
        self.count += len(content)
        return len(content)


class _Unpacked(io.RawIOBase):
    """Unpacks a stream, as far as that is in proportion."""

    def __init__(self, stream: BinaryIO, packed: _Counted) -> None:
        self._gzip = gzip.GzipFile(fileobj=stream)
        self._packed = packed
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        into = memoryview(buffer).cast("B")
        content = self._gzip.read1(len(into))
        into[: len(content)] = content
        self._count += len(content)
        most = max(UNPACKED_ALWAYS_BYTES, UNPACKED_MAX_TIMES * self._packed.count)
        if self._count > min(most, UNPACKED_MAX_BYTES):
            raise TooMuchError
        return len(content)

"""Compressed bodies, whole or broken off: what can be unpacked of them, up to a limit."""

import zlib
from collections.abc import Callable, Generator, Iterator
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

MAX_BYTES = 64 * 2**20  # unpacked: a body of some KB may hold many GB
MEMBERS_MAX = 100_000  # of one body: each costs a decompressor, and may hold nothing
_LAYERS_MAX = 5  # of one in the other
_STEP = 2**18  # bytes unpacked at a time
_WINDOW = 2**12  # bytes given at a time: what is left of them is copied, by some again and again
_GZIP, _ZLIB, _RAW = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
# Those who unpack it for clients; whoever has none of them asks for no such answer.
_BROTLI = ("brotli", "brotlicffi")
_ZSTD = ("compression.zstd", "backports.zstd", "zstandard")


class Unpacked(NamedTuple):
    """What was in a compressed body.

    Attributes:
        body: As much of it as could be read.
        note: Why that is not all of it; None if it is, or if the body was broken off.
    """

    body: bytes
    note: str | None = None


def unpacked(body: bytes, content_encoding: str | None, most: int | None = None) -> Unpacked:
    """Return a body as it was before it was compressed, in time in proportion to both.

    Args:
        body: As it came, perhaps broken off.
        content_encoding: As the header has it.
        most: How many bytes of it, `MAX_BYTES` by default.
    """
    note, most = None, MAX_BYTES if most is None else most
    kinds = [name.strip() for name in reversed((content_encoding or "").lower().split(","))]
    kinds = [kind for kind in kinds if kind not in {"", "identity", "aws-chunked"}]
    if len(kinds) > _LAYERS_MAX:
        return Unpacked(body, f"compressed {len(kinds)} times, which is not undone")
    for kind in kinds:
        if kind not in _READERS:
            return Unpacked(body, f"compressed as {kind[:20]}, which is not known")
        body, why = _read(_READERS[kind], body, most)
        note = note or why
    return Unpacked(body, note)


def _read(reader: Callable[[bytes], Iterator[bytes]], body: bytes, most: int) -> Unpacked:
    parts: list[bytes] = []
    size = 0
    try:
        for part in reader(body):
            parts.append(part)
            size += len(part)
            if size > most:
                return Unpacked(b"".join(parts)[:most], f"cut after {most:,} bytes")
    except ImportError:
        return Unpacked(body, "compressed, and no module reads it here")
    except _TooManyError:
        return Unpacked(b"".join(parts), f"cut after {MEMBERS_MAX:,} members")
    except (zlib.error, EOFError, ValueError):
        return Unpacked(b"".join(parts), "compressed, and broken")
    return Unpacked(b"".join(parts))


class _TooManyError(Exception):
    """A body has more members than are read."""


def _gzip(body: bytes) -> Iterator[bytes]:
    return _members(body, partial(zlib.decompressobj, _GZIP))


def _deflate(body: bytes) -> Iterator[bytes]:
    """Read zlib's format, or what some servers take for it: the same without a header."""
    has_header = body[:1] and body[0] & 15 == zlib.DEFLATED and not int.from_bytes(body[:2]) % 31
    yield from _member(body, 0, zlib.decompressobj(_ZLIB if has_header else _RAW))


def _members(body: bytes, begin: Callable[[], Any]) -> Iterator[bytes]:
    """Unpack what may be several bodies, one after the other.

    Args:
        body: All of them.
        begin: Returns what unpacks one, as `zlib.decompressobj` does.
    """
    at = 0
    for _ in range(MEMBERS_MAX):
        at = yield from _member(body, at, begin())
        if at >= len(body):
            return
    raise _TooManyError


def _member(body: bytes, at: int, decompressor: Any) -> Generator[bytes, None, int]:
    """Unpack one of them, and return where it ends."""
    while not decompressor.eof and at < len(body):
        given = body[at : at + _WINDOW]
        at += len(given)
        while part := decompressor.decompress(given, _STEP):
            yield part
            if decompressor.eof:
                break
            given = getattr(decompressor, "unconsumed_tail", b"")
    return at - len(decompressor.unused_data)


def _brotli(body: bytes) -> Iterator[bytes]:
    module = _module(_BROTLI)
    decompressor = module.Decompressor()
    decompress = getattr(decompressor, "process", None) or decompressor.decompress
    try:
        for at in range(0, len(body), _WINDOW):
            given = body[at : at + _WINDOW]
            while part := decompress(given, output_buffer_limit=_STEP):
                yield part
                given = b""
    except module.error as error:
        raise ValueError from error
    except TypeError as error:  # of before 1.2, which cannot be told when to stop
        raise ImportError from error


def _zstd(body: bytes) -> Iterator[bytes]:
    module = _module(_ZSTD)
    try:
        if module.__name__ == "zstandard":
            reader = module.ZstdDecompressor().stream_reader(body, read_across_frames=True)
            yield from iter(lambda: reader.read(_STEP), b"")
        else:
            yield from _members(body, module.ZstdDecompressor)
    except module.ZstdError as error:
        raise ValueError from error


def _module(names: tuple[str, ...]) -> Any:
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise ImportError(names[0])


_READERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}

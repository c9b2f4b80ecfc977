"""Compressed bodies, whole or broken off: what can be unpacked of them, up to a limit."""

import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

MAX_BYTES = 64 * 2**20  # unpacked: a body of some KB may hold many GB
_STEP = 2**18  # bytes unpacked at a time
_GZIP, _ZLIB, _RAW = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
# Those who unpack it for clients; whoever has none of them asks for no such answer.
_BROTLI = ("brotli", "brotlicffi")
_ZSTD = ("compression.zstd", "backports.zstd")


class Unpacked(NamedTuple):
    """What was in a compressed body.

    Attributes:
        body: As much of it as could be read.
        note: Why that is not all of it; None if it is, or if the body was broken off.
    """

    body: bytes
    note: str | None = None


def unpacked(body: bytes, content_encoding: str | None) -> Unpacked:
    """Return a body as it was before it was compressed.

    Args:
        body: As it came, perhaps broken off.
        content_encoding: As the header has it.
    """
    note = None
    for name in reversed((content_encoding or "").lower().split(",")):
        kind = name.strip()
        if kind in {"", "identity", "aws-chunked"}:
            continue
        if kind not in _READERS:
            return Unpacked(body, f"compressed as {kind[:20]}, which is not known")
        body, why = _read(_READERS[kind], body)
        note = note or why
    return Unpacked(body, note)


def _read(reader: Callable[[bytes], Iterator[bytes]], body: bytes) -> Unpacked:
    parts: list[bytes] = []
    size = 0
    try:
        for part in reader(body):
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES:
                return Unpacked(b"".join(parts)[:MAX_BYTES], f"cut after {MAX_BYTES:,} bytes")
    except ImportError:
        return Unpacked(body, "compressed, and no module reads it here")
    except (zlib.error, EOFError, ValueError):
        return Unpacked(b"".join(parts), "compressed, and broken")
    return Unpacked(b"".join(parts))


def _gzip(body: bytes) -> Iterator[bytes]:
    while body:  # it may have several members
        decompressor = zlib.decompressobj(_GZIP)
        yield from _inflated(decompressor, body)
        body = decompressor.unused_data


def _deflate(body: bytes) -> Iterator[bytes]:
    """Read zlib's format, or what some servers take for it: the same without a header."""
    has_header = body[:1] and body[0] & 15 == zlib.DEFLATED and not int.from_bytes(body[:2]) % 31
    return _inflated(zlib.decompressobj(_ZLIB if has_header else _RAW), body)


def _inflated(decompressor: Any, body: bytes) -> Iterator[bytes]:
    while part := decompressor.decompress(body, _STEP):
        yield part
        body = decompressor.unconsumed_tail


def _brotli(body: bytes) -> Iterator[bytes]:
    module = _module(_BROTLI)
    decompressor = module.Decompressor()
    decompress = getattr(decompressor, "process", None) or decompressor.decompress
    try:
        while part := decompress(body, output_buffer_limit=_STEP):
            yield part
            body = b""
    except module.error as error:
        raise ValueError from error
    except TypeError as error:  # of before 1.2, which cannot be told when to stop
        raise ImportError from error


def _zstd(body: bytes) -> Iterator[bytes]:
    module = _module(_ZSTD)
    try:
        while body:  # it may have several frames
            decompressor = module.ZstdDecompressor()
            data = body
            while part := decompressor.decompress(data, _STEP):
                yield part
                if decompressor.eof:
                    break
                data = b""
            body = decompressor.unused_data if decompressor.eof else b""
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

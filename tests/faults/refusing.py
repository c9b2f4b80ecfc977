"""A proxy before MongoDB that refuses one thing, as servers do that are nearly MongoDB."""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import bson
from faults.proxy import OP_MSG, Forwarding, running

from llm_audit import embedded

Command = dict[str, Any]
Reply = dict[str, Any]

_header = struct.Struct("<iiii")
_length = struct.Struct("<i")
_FLAGS_BYTES = 4
_CHECKSUM = 1
_BODY, _SEQUENCE = 0, 1  # kinds of section
_ANSWER_NUMBER = 1


class Refusal(NamedTuple):
    """What a server refuses, and the words in which it does so.

    Attributes:
        when: Whether it refuses a command.
        code: Its code.
        text: What it says.
        each: Whether it takes the command, and refuses each statement in it.
    """

    when: Callable[[Command], object]
    code: int
    text: str
    each: bool = False

    def reply(self, command: Command) -> Reply:
        """Return the answer to a command."""
        error = {"code": self.code, "errmsg": self.text}
        if not self.each:
            return {"ok": 0.0, **error}
        statements = command.get("updates", command.get("documents", []))
        errors = [{"index": index, **error} for index in range(len(statements))]
        return {"ok": 1.0, "n": 0, "nModified": 0, "writeErrors": errors}


class Refusing(Forwarding):
    """Refuses what it is told to, and hands on everything else.

    Attributes:
        refusal: What it refuses now.
        refused: The commands that it has refused, by name.
    """

    def __init__(self, server: embedded.Mongod) -> None:
        super().__init__(server)
        self.refusal: Refusal | None = None
        self.refused: list[str] = []

    def answer(self, request: bytes) -> bytes | None:
        """Refuse a command, if that is what is refused."""
        command = _command(request)
        if command is None or self.refusal is None or not self.refusal.when(command):
            return None
        self.refused.append(next(iter(command)))
        body = bytes([0, 0, 0, 0, _BODY]) + bson.encode(self.refusal.reply(command))
        number = _header.unpack_from(request)[1]
        return _header.pack(_header.size + len(body), _ANSWER_NUMBER, number, OP_MSG) + body


def _command(message: bytes) -> Command | None:
    """Return a command with its statements; None for the first greeting."""
    if _header.unpack_from(message)[3] != OP_MSG:
        return None
    command: Command = {}
    statements: Command = {}
    (flags,) = _length.unpack_from(message, _header.size)
    position = _header.size + _FLAGS_BYTES
    end = len(message) - (4 if flags & _CHECKSUM else 0)
    while position < end:
        kind = message[position]
        (length,) = _length.unpack_from(message, position + 1)
        section = message[position + 1 : position + 1 + length]
        if kind == _BODY:
            command = _decoded(section)
        elif kind == _SEQUENCE:
            name_ends = section.index(b"\0", _length.size)
            name = section[_length.size : name_ends].decode()
            statements[name] = [_decoded(each) for each in _documents(section[name_ends + 1 :])]
        position += 1 + length
    return command | statements


def _documents(data: bytes) -> Iterator[bytes]:
    while data:
        (length,) = _length.unpack_from(data)
        yield data[:length]
        data = data[length:]


def _decoded(document: bytes) -> Command:
    return bson.decode(document, bson.CodecOptions(unicode_decode_error_handler="replace"))


@contextmanager
def refusing(server: embedded.Mongod) -> Iterator[Refusing]:
    """Run a proxy that refuses, in a thread of its own, until the block is left."""
    with running(Refusing(server)) as proxy:
        yield proxy

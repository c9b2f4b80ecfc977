"""What a warm Python runs: it imports, and forks a child for each request, to run a script."""

import builtins
import gc
import importlib
import linecache
import os
import pickle
import runpy
import socket
import struct
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

NUMBER = struct.Struct("=q")
STREAMS = 3


def serve(channel: socket.socket, modules: list[str]) -> Callable[[], None]:
    """Fork a child for each request, until nobody is there to ask.

    Args:
        channel: Where requests come from: a length, with three streams, and so many bytes.
        modules: Imported once for all.

    Returns:
        In each child, what it is to run; else this process ends.
    """
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children would copy every page to look for garbage that there is not
    while True:
        header, streams, _, _ = socket.recv_fds(channel, NUMBER.size, STREAMS)
        if not header:
            sys.exit()
        request = channel.recv(*NUMBER.unpack(header), socket.MSG_WAITALL)
        answer, pids = os.pipe()
        adopted, gate = os.pipe()  # closed at its other end when the child has its new parent
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid:
                os.write(pids, NUMBER.pack(pid))
                os._exit(0)
            channel.close()
            os.close(gate)
            os.read(adopted, 1)
            return become(pickle.loads(request), streams)
        os.waitpid(between, 0)
        channel.sendall(os.read(answer, NUMBER.size))
        for descriptor in (answer, pids, adopted, gate, *streams):
            os.close(descriptor)


def become(request: dict[str, Any], streams: list[int]) -> Callable[[], None]:
    """Make of this child what an interpreter would be that was started so; return what it runs."""
    if request["session"]:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(STREAMS, 1 + max(int(each.name) for each in Path("/proc/self/fd").iterdir()))
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    kind, what, *arguments = request["command"]
    sys.argv = [kind, *arguments]
    main = types.ModuleType("__main__")
    main.__builtins__ = builtins
    sys.modules["__main__"] = main
    sys.path[0] = ""
    if kind == "-m":
        sys.path[0] = str(Path.cwd())
        return lambda: runpy._run_module_as_main(what)
    return lambda: run(what, main.__dict__)


def run(script: str, names: dict[str, Any]) -> None:
    """Run a script, and end as an interpreter does whose script has failed."""
    if sys.version_info >= (3, 13):  # whose tracebacks show its lines
        lines = script.splitlines(keepends=True)
        linecache.cache["<string>"] = len(script), None, lines, "<string>"
    try:
        exec(compile(script, "<string>", "exec", dont_inherit=True), names)
    except Exception as error:  # noqa: BLE001  (the interpreter prints any)
        stack = error.__traceback__ and error.__traceback__.tb_next  # without our own line
        sys.excepthook(type(error), error.with_traceback(stack), stack)
        sys.exit(1)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])()

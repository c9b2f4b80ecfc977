"""What stands between us and an embedded server: when we die, the server and its folder go too.

A script of its own, run by `server.py` with nothing but the standard library. It is the server's
parent, so there is no moment in which the server runs unwatched. The kernel's own means
(PR_SET_PDEATHSIG) is not enough: it fires when the starting *thread* ends, and leaves the folder.

    python supervisor.py PARENT_PID FOLDER SERVER_COMMAND...

Prints the server's pid. Ends the server when it reads a byte from its standard input; ends it and
removes the folder when the parent is gone, whether forked children of the parent live on or not.
"""

import os
import select
import shutil
import subprocess
import sys

POLL_SECONDS = 0.2


def supervise(parent: int, folder: str, command: list[str]) -> int:
    """Run a server for as long as its owner wants it or lives.

    Args:
        parent: The owner's pid.
        folder: What to remove when the owner dies.
        command: The server's command line; its output goes to our standard error.

    Returns:
        The server's exit code.
    """
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)  # noqa: S603
    print(server.pid, flush=True)  # noqa: T201 - the owner reads it
    orphaned = False
    while server.poll() is None and not orphaned:
        readable, _, _ = select.select([sys.stdin], [], [], POLL_SECONDS)
        if readable and os.read(sys.stdin.fileno(), 1):
            break
        # A forked child of the owner holds the pipe open, so its end alone would not tell us.
        orphaned = bool(readable) or os.getppid() != parent
    server.kill()
    code = server.wait()
    if orphaned:
        shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(supervise(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))

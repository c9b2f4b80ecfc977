"""The command line `llm-audit`: each command asks one query and prints what it says.

`commands` has a file for each command, `drawing` is how answers look, `files` is export and import.
What commands take is in `options` and `times`; `connection` reaches MongoDB and finds ids near one
that is not there; `run` and `exits` say what becomes of an error.
"""

import signal
import sys
from collections.abc import Sequence

NO_EXTRA = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Instead of those that the program was started with.

    Returns:
        The exit code, see `llm_audit.cli.exits`.
    """
    try:
        from llm_audit.cli.run import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"rich", "typer"}:
            raise
        print(
            "llm-audit: the command line needs an extra: pip install 'llm-audit[cli]'",
            file=sys.stderr,
        )
        return NO_EXTRA
    except KeyboardInterrupt:  # importing takes long enough for Ctrl-C
        return 128 + signal.SIGINT
    return run(arguments)

"""The command line `llm-audit`: each command asks one query and prints what it says.

    app         the commands by name, and the options that stand before them
    commands/   one file a command
    drawing/    how answers look to people and to machines
    files/      export and import
    options, times    what commands take
    connection        MongoDB, and ids near one that is not there
    exits, run        exit codes, and what becomes of an error
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

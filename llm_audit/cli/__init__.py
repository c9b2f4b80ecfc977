"""The command line `llm-audit`: each command asks one query and prints what it says.

The commands, which app.py names:
    calls, show, trace, session, search             calls, and what was said
    summaries, usage, retries, pipeline             what they add up to
    exporting, importing                            into files and back
    views, indexes, spool, doctor, config, demo     operations
What they share:
    options, times, timezones                       what they take
    connection, answers                             MongoDB, and near matches; rows of a pipeline
    endings                                         exit codes, and the one line on stderr
    terminal, json_lines                            how everything looks to people, and to machines
    call_table, parts, pictures, waterfall          lists, conversations, time
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
        The exit code, see `llm_audit.cli.endings`.
    """
    try:
        from llm_audit.cli.endings import run
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

"""The command line `llm-audit`: each command asks one query and prints what it says.

app.py            the commands, by name        calls.py, show.py ...   one file for each kind
options.py        the options they share       times.py                what --since understands
connection.py     MongoDB, and near matches    terminal.py             how things look
endings.py        exit codes, and stderr       json_lines.py           JSON, Extended JSON too
"""

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
    return run(arguments)

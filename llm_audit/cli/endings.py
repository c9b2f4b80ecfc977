"""How a command ends: its exit code, and one line on stderr where something is wrong.

| 0 | all is well |
| 1 | nothing is there under that id, or a check failed |
| 2 | a wrong option, argument, date or setting |
| 3 | MongoDB cannot be reached |
| 130 | Ctrl-C |
| 141 | whoever read the output has closed it, as `head` does |
"""

import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

import typer

from llm_audit.errors import ConfigurationError, LLMAuditError, UnavailableError, UsageError

FAILED = 1
WRONG = 2
NO_SERVER = 3
SIGNALLED = 128
NAME = "llm-audit"


class NotFoundError(LLMAuditError, LookupError):
    """Nothing is there under that id; the message names what is near."""


def run(arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: Instead of those that the program was started with.
    """
    _speak_plainly()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        return _closed()
    except SystemExit as ending:
        if isinstance(ending.__context__, BrokenPipeError):  # rich and typer make it one
            return _closed()
        return ending.code if isinstance(ending.code, int) else 0  # typer has completed a word
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT
    return code


def _run(arguments: Sequence[str] | None) -> int:
    from llm_audit.cli.app import app

    command = typer.main.get_command(app)
    try:
        code = command.main(arguments, prog_name=NAME, standalone_mode=False)
    except typer.TyperException as error:
        return _complain(error.format_message(), error.exit_code)
    except typer.Abort:
        return FAILED
    except LLMAuditError as error:
        return _complain(error, _code_of(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}.", FAILED)
    return code if isinstance(code, int) else 0


def _code_of(error: LLMAuditError) -> int:
    if isinstance(error, UnavailableError):
        return NO_SERVER
    return WRONG if isinstance(error, UsageError | ConfigurationError) else FAILED


def _complain(message: object, code: int) -> int:
    line = " ".join(str(message).split())
    if line:
        print(f"{NAME}: {line}", file=sys.stderr)
    return code


def _speak_plainly() -> None:
    """Log as errors are shown; write UTF-8 into pipes, and to terminals what they can draw."""
    logging.basicConfig(format=f"{NAME}: %(message)s")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="replace")


def _closed() -> int:
    """Return the code where output is read no more; give the interpreter somewhere to flush to."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    return SIGNALLED + signal.SIGPIPE

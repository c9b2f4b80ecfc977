"""Runs one command: what it raises becomes a line on stderr and an exit code."""

import io
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import cast

import typer
from typer.core import TyperGroup

from llm_audit.cli.app import app
from llm_audit.cli.exits import FAILED, NAME, NO_SERVER, SIGNALLED, WRONG, say
from llm_audit.display import figures
from llm_audit.errors import ConfigurationError, LLMAuditError, UnavailableError, UsageError


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
    finally:
        if arguments is None:  # only the end of the program is left, which has no words for Ctrl-C
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    return code


def run_here(name: str, *arguments: str) -> None:
    """Run a command inside a program, with the settings in force, and let its errors through.

    Args:
        name: The command's.
        *arguments: What is typed after it.
    """
    command = _command_line().commands[name]
    command.main([*arguments], prog_name=f"{NAME} {name}", standalone_mode=False)


@cache  # typer takes 15 ms to read the signatures of all commands
def _command_line() -> TyperGroup:
    return cast("TyperGroup", typer.main.get_command(app))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = _command_line().main(arguments, prog_name=NAME, standalone_mode=False)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  (whatever it is, it ends with a line and a code)
        message, code = _ending_of(error)
        say(message)
    return code if isinstance(code, int) else 0


def _ending_of(error: Exception) -> tuple[str, int]:
    """Return what to say of an error, and the exit code."""
    match error:
        case typer.TyperException():
            # pydantic, which typer asks, says that a wrong choice is a "Value error"
            message = error.format_message().replace(": Value error, ", ": ", 1)
            ending = message, error.exit_code
        case typer.Abort():
            ending = "", FAILED
        case LLMAuditError():
            ending = str(error), _code_of(error)
        case OSError() if error.filename:
            ending = f"{error.filename}: {error.strerror or error}.", WRONG
        case OSError():  # a disk is full, say
            ending = f"{error.strerror or error}.", FAILED
        case UnicodeEncodeError():  # what MongoDB holds is UTF-8
            wrong = error.object[error.start : error.end]
            ending = f"{wrong!r} in an argument or a setting is no UTF-8.", WRONG
        case _:
            told = "".join(traceback.format_exception(error))
            print(figures.safe(told), end="", file=sys.stderr)
            name = type(error).__name__
            fix = "Please report it, with what stands above."
            ending = f"{name}: this is a mistake in llm-audit. {fix}", FAILED
    return ending


def _code_of(error: LLMAuditError) -> int:
    if isinstance(error, UnavailableError):
        return NO_SERVER
    return WRONG if isinstance(error, UsageError | ConfigurationError) else FAILED


def _speak_plainly() -> None:
    """Log as errors are shown; write UTF-8 into pipes, and to terminals what they can draw."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us: they want none of it
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(nowhere, "w", encoding="utf-8", closefd=False))
    handler = logging.StreamHandler()
    handler.setFormatter(_SafeFormatter(f"{NAME}: %(message)s"))
    logging.basicConfig(handlers=[handler])
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="replace")


class _SafeFormatter(logging.Formatter):
    """Log lines that steer no terminal, whatever is quoted in them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return figures.safe(super().format(record))


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning, such as one of the driver about an option of the URL, as errors are shown."""
    say(message)


def _closed() -> int:
    """Return the code where output is read no more; give the interpreter somewhere to flush to."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    return SIGNALLED + signal.SIGPIPE

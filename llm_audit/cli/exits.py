"""How a command ends: its exit code, and one line on stderr where something is wrong.

| 0 | all is well, also where nothing was found |
| 1 | nothing has that id, a check failed, something was refused, or llm-audit itself is broken |
| 2 | a wrong option, argument, date or setting, such as a file that cannot be opened |
| 3 | MongoDB cannot be reached, or does not let us do what was asked |
| 130 | Ctrl-C |
| 141 | whoever read the output has closed it, as `head` does |
"""

import sys

from llm_audit.display import figures
from llm_audit.errors import LLMAuditError

FAILED = 1
WRONG = 2
NO_SERVER = 3
SIGNALLED = 128
NAME = "llm-audit"


class NotFoundError(LLMAuditError, LookupError):
    """Nothing is there under that id; the message names what is near."""


def say(message: object) -> None:
    """Say on stderr, in one line, what is wrong or what was done; the one way to do so."""
    line = figures.cell(message)
    if line != figures.UNKNOWN:
        print(f"{NAME}: {line}", file=sys.stderr)

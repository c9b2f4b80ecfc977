"""The viewer of the demo's calls: `llm-audit ui` as a process that ends with the demo."""

import importlib.util
import re
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from llm_audit.embedded.child import Child
from llm_audit.errors import LLMAuditError

NEEDED = ("jinja2", "markdown_it", "nh3", "starlette", "uvicorn")
STOP_SECONDS = 5.0
_ADDRESS = re.compile(r"^http://\S+$", re.MULTILINE)


class ViewerEndedError(LLMAuditError, RuntimeError):
    """The viewer is gone although nobody stopped it; the message ends with what it said."""


def is_installed() -> bool:
    """Tell whether what the viewer is made of is there: the extra `web`."""
    return all(importlib.util.find_spec(name) for name in NEEDED)


class Viewer:
    """The viewer, for the length of a `with` block, on a free port of 127.0.0.1.

    Args:
        folder: Takes what it says, which nobody else may read: the address holds a token.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        """Start it; it does not answer yet."""
        command = [sys.executable, "-m", "llm_audit.cli", "ui", "--port", "0"]
        self._child = Child(command, self._folder, self._folder / "viewer.log")
        return self

    def address(self) -> str | None:
        """Return what opens it in a browser; None until it answers there.

        Raises:
            ViewerEndedError: It never will.
        """
        if self._child.has_ended():
            raise ViewerEndedError(f"The viewer ended. It said:\n{self._child.log_tail()}")
        found = _ADDRESS.search(self._child.log())
        return found and found[0]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Stop it."""
        self._child.stop(signal.SIGTERM, STOP_SECONDS)

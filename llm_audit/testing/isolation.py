"""A test's own settings, spool and recorder: nothing of it is left for the next test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import llm_audit
from llm_audit.errors import forget_logged
from llm_audit.recorder import process
from llm_audit.settings import changed_settings


@contextmanager
def isolated(spool_dir: Path, flush_seconds: float, **changes: Any) -> Iterator[None]:
    """Record strictly into a spool of the test's own for the length of the block.

    What the program configures counts otherwise, before and in the test, and what it has configured
    before is in force again afterwards. The changes are in the environment too, for processes that
    the test starts.

    Args:
        spool_dir: An empty folder.
        flush_seconds: How long to wait for MongoDB in the end.
        **changes: Further settings.
    """
    changes |= {"spool_dir": spool_dir, "enabled": True, "strict": True}
    process.stop()  # what was recorded before goes where it belongs
    with pytest.MonkeyPatch.context() as patch, changed_settings(**changes):
        for name, value in changes.items():
            patch.setenv(f"LLM_AUDIT_{name.upper()}", str(value))
        try:
            yield
        finally:
            llm_audit.shutdown(flush_seconds)
            forget_logged()

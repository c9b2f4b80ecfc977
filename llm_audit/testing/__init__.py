"""For tests of programs that record: fixtures for pytest, and a MongoDB in memory.

The fixtures `llm_audit_records` and `llm_audit_mongod` are there once llm-audit is installed: see
`plugin.py`. This module names the rest; nothing is imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_audit.testing.in_memory import NotInMemoryError, in_memory_client
    from llm_audit.testing.mongod import FreshDatabase
    from llm_audit.testing.records import RecordedCall, RecordedCalls

__all__ = [
    "FreshDatabase",
    "NotInMemoryError",
    "RecordedCall",
    "RecordedCalls",
    "in_memory_client",
]

_HOME_OF = {
    "FreshDatabase": "mongod",
    "NotInMemoryError": "in_memory",
    "RecordedCall": "records",
    "RecordedCalls": "records",
    "in_memory_client": "in_memory",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'llm_audit.testing' has no attribute {name!r}")
    return getattr(import_module(f"llm_audit.testing.{_HOME_OF[name]}"), name)

"""Waiting for what was recorded: for the tests that read MongoDB."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.collection import Collection

import llm_audit
from llm_audit.settings import Settings

Call = dict[str, Any]
Calls = Collection[Call]
Recording = Callable[..., Settings]

PATIENCE = 30
POLL_SECONDS = 0.01


def arrived(calls: Calls, call_id: str) -> Call:
    """Wait until everything recorded here is in MongoDB, and return one call."""
    assert llm_audit.flush(PATIENCE)
    call = calls.find_one({"_id": call_id})
    assert call is not None
    return call


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds that another process or thread brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("what was waited for did not happen")
        time.sleep(POLL_SECONDS)

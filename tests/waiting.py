"""Waiting for what was recorded: for the tests that read MongoDB."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.collection import Collection

from llm_audit.references import CallReference
from llm_audit.settings import Settings

Call = dict[str, Any]
Calls = Collection[Call]
Recording = Callable[..., Settings]

PATIENCE = 30
POLL_SECONDS = 0.01


def arrived(calls: Calls, call_id: str) -> Call:
    """Wait until a call and what was recorded with it is in MongoDB, and return it."""
    assert CallReference(call_id).wait(PATIENCE)
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

"""Waiting for what was recorded: for the tests that read MongoDB."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from patience import PATIENCE
from pymongo.collection import Collection

from llm_audit.references import CallReference
from llm_audit.settings import Settings

Call = dict[str, Any]
Calls = Collection[Call]
Recording = Callable[..., Settings]

POLL_SECONDS = 0.01


def arrived(calls: Calls, call_id: str) -> Call:
    """Wait until a call and what was recorded with it is in MongoDB, and return it."""
    assert CallReference(call_id).wait(PATIENCE)
    call = calls.find_one({"_id": call_id})
    assert call is not None
    return call


def ended_calls(calls: Calls, query: dict[str, Any], count: int) -> list[Call]:
    """Wait until so many calls, and no more, are there and have ended; return the oldest first."""
    found: list[Call] = []

    def have_ended() -> bool:
        found[:] = calls.find(query).sort("_id", 1)
        return len(found) >= count and all(call["status"] != "PENDING" for call in found)

    until(have_ended, instead=lambda: f"not {count} ended calls: {found}")
    assert len(found) == count
    return found


def until(
    condition: Callable[[], object],
    instead: Callable[[], str] = lambda: "what was waited for did not happen",
) -> None:
    """Wait until a condition holds that another process or thread brings about.

    Args:
        condition: True when it holds.
        instead: Says what is the case if it does not in the end.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(instead())
        time.sleep(POLL_SECONDS)

"""Some five hundred calls in the shape of stored documents, the same in every run."""

import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
from beanie import init_beanie
from pymongo.database import Database
from pymongo.monitoring import CommandListener

from llm_audit import LLMCall, LLMCallStatusEnum, LLMCallTypeEnum
from llm_audit.store.indexes import call_indexes

Call = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = datetime(2026, 5, 1, tzinfo=UTC)
USERS = [uuid.UUID(int=n) for n in range(4)]
FAILURES = ("ERROR", "TIMEOUT", "ABANDONED")


def call_id(at: datetime, lot: random.Random) -> str:
    """Make a UUIDv7 of an instant."""
    milliseconds = (at - EPOCH) // timedelta(milliseconds=1)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | lot.getrandbits(62)))


def instant(call_id: str) -> datetime | None:
    """Return when a call was made, if its id is a UUIDv7."""
    value = uuid.UUID(call_id)
    return EPOCH + timedelta(milliseconds=value.int >> 80) if value.version == 7 else None


def _recorded(lot: random.Random) -> Call:
    """Make up one call; several fall into the same millisecond, and in 50 hours."""
    at = START + timedelta(minutes=15 * lot.randrange(200))
    status = lot.choice([*LLMCallStatusEnum, *["SUCCESS"] * 8])
    failed = status in FAILURES
    call = {
        "_id": call_id(at, lot),
        "created_at": at,
        "status": str(status),
        "call_type": str(lot.choice(list(LLMCallTypeEnum))),
        "provider": lot.choice(["openai", "anthropic"]),
        "model": lot.choice(["gpt-4", "gpt-4", "claude", None]),
        "messages": [{"role": "user", "content": "Hello!", "unknown": {"deep": [1, None]}}],
        "trace_id": lot.choice([None, *(f"trace {n}" for n in range(40))]),
        "session_id": lot.choice([None, *map(str, range(9))]),
        "user_id": str(lot.choice(USERS)),
        "company_id": lot.choice([None, "1", "2"]),
        "review_id": lot.choice([None, "77"]),
        "parent_call_id": lot.choice([None, "parent 1", "parent 2"]),
        "tags": lot.choice([None, [], ["rag"], ["hidden"], ["rag", "hidden"]]),
        "environment": lot.choice([None, "test"]),
        "service": lot.choice([None, "api"]),
        "estimated_cost": lot.choice([None, 0.0, 0.1, 0.25, 1e-7]),
        "prompt_tokens": lot.choice([None, 10, 1000]),
        "completion_tokens": lot.choice([None, 5, 70]),
        "total_tokens": lot.choice([None, 15, 1070]),
        "cached_tokens": lot.choice([None, 7]),
        "latency_ms": lot.choice([None, 0.0, 1.0, *[round(lot.lognormvariate(7, 1), 3)] * 6]),
        "tools_called": lot.choice([None, [], ["read"], ["read", "search", "read"], ["search"]]),
        "malformed_tool_calls": lot.choice([None, None, []]),
        "error_type": lot.choice(["APIError", "Timeout", None]) if failed else None,
        "error_message": lot.choice(["short", "long" * 999, None]) if failed else None,
        "ended_by": lot.choice(["exception", "worker_lost"]) if failed else None,
        "a_later_version": {"knows": "more"},
    }
    if call["service"]:
        call["captured_by"] = "httpx"
    if call["tools_called"] and lot.random() < 0.3:
        call["malformed_tool_calls"] = call["tools_called"][: lot.randrange(1, 4)]
    if lot.random() < 0.5:
        number, retries = lot.randrange(50), lot.randrange(3)
        task = {
            "name": ["tasks.ask", "tasks.sum", None][number % 3],
            "retries": retries,
            "attempt_id": lot.choice([None, f"attempt {retries} of {number}"]),
            "redelivered": lot.choice([None, False, False, True]),
            "root_id": f"task {number % 7}",
            "group_id": lot.choice([None, "group 1", "group 2"]),
            "queue": ["fast", "slow", None][number % 4 % 3],
            "worker": ["one@host", "two@host"][number % 2],
        }
        known = {name: value for name, value in task.items() if value is not None}
        call |= {"task_id": f"task {number}", "task": known}
    return {name: value for name, value in call.items() if value is not None}


def _scores(lot: random.Random) -> list[Call]:
    """Make up what is said of a call later: a thumb of a user, and what a judge says."""
    thumb = {"name": "helpful", "value": lot.choice([True, False]), "source": "user"}
    judged = {"name": "helpful", "value": lot.choice([0.25, 0.5, 1, "odd"]), "source": "judge"}
    return [score | {"key": key} for key, score in enumerate([thumb, judged])]


def _make_up() -> list[Call]:
    lot = random.Random(5)
    only_finished = [
        {"_id": call_id(START + timedelta(hours=n), lot), "status": "SUCCESS", "latency_ms": 5.0}
        for n in range(5)
    ]
    id_not_ours = {"_id": str(uuid.UUID(int=2**127, version=4)), "status": "ERROR"}
    recorded = [_recorded(lot) for _ in range(500)]
    for call in recorded[::2]:
        call["scores"] = _scores(lot)
    calls = [*recorded, *only_finished, id_not_ours]
    return sorted(calls, key=lambda call: call["_id"], reverse=True)


CALLS = _make_up()
"""Newest first. Five of them only a finish has reached; one has an id that is no UUIDv7."""


def store(database: Database[Call], *, indexed: bool = False) -> None:
    """Store the calls.

    Args:
        database: Where to.
        indexed: With the indexes that a real collection has, which take longer than most tests.
    """
    if indexed:
        database["llm_calls"].create_indexes(call_indexes())
    database["llm_calls"].insert_many(CALLS)


@asynccontextmanager
async def bound(
    url: str, database: Database[Call], *listeners: CommandListener
) -> AsyncIterator[None]:
    """Bind LLMCall to a database for the length of the block."""
    client: pymongo.AsyncMongoClient[Call]
    async with pymongo.AsyncMongoClient(url, tz_aware=True, event_listeners=listeners) as client:
        await init_beanie(client[database.name], document_models=[LLMCall], skip_indexes=True)
        yield

"""The database in memory beside a real MongoDB: the same answers, or none."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, get_args

import pytest
from beanie import init_beanie
from made_up_calls import CALLS, START, USERS, Call, bound, store
from patience import share
from pymongo.database import Database

from llm_audit import LLMCall, embedded
from llm_audit import LLMCallRepository as Repository
from llm_audit.queries.grouping import GroupBy

pytest.importorskip("mongomock_ng")

from llm_audit.testing import NotInMemoryError, in_memory_client

Question = Callable[[], Awaitable[Any]]

LATER = START + timedelta(hours=20)
FILTERS: list[dict[str, Any]] = [
    {"call_type": "CHAT"},
    {"status": ["ERROR", "TIMEOUT"]},
    {"provider": "openai", "model": ["claude", "gpt-4"]},
    {"user_id": USERS[1], "company_id": 1},
    {"task_name": "tasks.ask"},
    {"tags": ["rag", "hidden"]},
    {"tool": "search"},
    {"start_date": START, "end_date": LATER},
    {"after": CALLS[100]["_id"], "limit": 20},
]
GROUPINGS = [name for name in get_args(GroupBy) if name != "week"]
ANSWERED: dict[str, Question] = {
    "trace": lambda: Repository.get_calls_by_trace("trace 3"),
    "task": lambda: Repository.get_calls_by_task("task 7"),
    "get": lambda: Repository.get(CALLS[7]["_id"]),
    "tools": Repository.tool_usage,
    "failures": Repository.failure_summary,
    "retries": Repository.retry_spend,
    "tasks by name": lambda: Repository.task_summary(provider=["openai", "anthropic"]),
    "queues and workers": Repository.worker_summary,
    "newest tasks": Repository.list_tasks,
    "a task": lambda: Repository.get_task("task 7"),
    "a canvas": lambda: Repository.get_canvas("group 1"),
    "one tool": lambda: Repository.tool_usage(tool="read"),
    "no call": lambda: Repository.cost_summary(model="none"),
    **{
        f"list {given}": lambda given=given: Repository.list_by_filters(**given)
        for given in FILTERS
    },
    **{
        f"count {given}": lambda given=given: Repository.count_by_filters(**given)
        for given in share(FILTERS, 2)
        if "after" not in given
    },
    **{
        f"cost by {group_by}": lambda group_by=group_by: Repository.cost_summary(
            group_by, provider=["openai", "anthropic"]
        )
        for group_by in share(GROUPINGS, 2)
    },
    **{
        f"latency by {group_by}": lambda group_by=group_by: Repository.latency_summary(
            group_by, call_type=["CHAT", "AGENT"]
        )
        for group_by in share(GROUPINGS, 3)
    },
    **{
        f"scores by {group_by}": lambda group_by=group_by: Repository.score_summary(
            "helpful", group_by, source="user"
        )
        for group_by in share(GROUPINGS, 3, 1)
    },
}
REFUSED: dict[str, Question] = {
    "a call without a date": Repository.usage_over_time,
    "weeks": lambda: Repository.cost_summary("week", provider="openai"),
    "another zone": lambda: Repository.usage_over_time(timezone="Europe/Paris", provider="openai"),
}


@pytest.mark.many
async def test_the_same_answers(mongod: embedded.Mongod, database: Database[Call]) -> None:
    """Whatever the repository is asked, a database in memory says what MongoDB says."""
    store(database)
    async with bound(mongod.url, database):
        expected = {name: await ask() for name, ask in ANSWERED.items()}
        for ask in REFUSED.values():
            assert await ask()
    await in_memory()

    assert {name: _rounded(await ask()) for name, ask in ANSWERED.items()} == {
        name: _rounded(answer) for name, answer in expected.items()
    }


@pytest.mark.parametrize("name", REFUSED)
async def test_no_answer_rather_than_a_wrong_one(name: str) -> None:
    """What mongomock-ng cannot compute raises."""
    await in_memory()
    with pytest.raises(NotInMemoryError):
        await REFUSED[name]()


async def in_memory() -> None:
    """Bind LLMCall to the made-up calls in memory."""
    database = in_memory_client(tz_aware=True)["app"]
    await init_beanie(database=database, document_models=[LLMCall])
    await database["llm_calls"].insert_many(CALLS)


def _rounded(answer: Any) -> Any:
    """Return an answer without the last digits of sums, and of rows that are equal but for them."""
    rows = answer if isinstance(answer, list) else [answer]
    if not rows or not hasattr(rows[0], "estimated_cost") or not hasattr(rows[0], "calls"):
        return answer
    return sorted(
        str(row.model_copy(update={"estimated_cost": round(row.estimated_cost, 9)})) for row in rows
    )

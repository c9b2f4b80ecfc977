"""Tasks that are coroutine functions run in real workers, as plain functions do."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from deployment import PREFORK_ALONE, CallsOf, Deployment
from waiting import PATIENCE

from llm_audit.demo import provider as demo_provider

EXAMPLE = Path(__file__).parents[2] / "docs/examples/6-celery-task.md"
AS_IT_WAS_ASKED_FOR = Path(__file__).with_name("example_6.txt")

core = pytest.mark.core


@pytest.fixture
def coroutines(tasks: Any) -> Any:
    """Import the tasks in this process, as a producer does."""
    assert tasks.app
    import coroutine_tasks

    return coroutine_tasks


@core
@pytest.mark.parametrize("pool", ["prefork-alone", "threads", "solo"], indirect=True)
@pytest.mark.usefixtures("pool")
def test_everything_that_tasks_do(coroutines: Any, calls_of: CallsOf) -> None:
    """Each kind of task and canvas gives what it would give if it were no coroutine."""
    tasks = coroutines
    looked = [tasks.look_around.delay() for _ in range(6)]
    ignored = tasks.ignore_async.delay("ignored")
    retried = tasks.retry_async.apply_async(countdown=0.01)
    analyze = tasks.analyze_async
    canvases = [
        chain(analyze.s("a"), tasks.then_async.s("b"))(),
        chord([analyze.s("a"), tasks.look_around.s()], tasks.then_async.s("b"))(),
        tasks.replace_async.delay("replaced"),
    ]
    grouped = group(analyze.s("a"), analyze.s("b"))()
    failed = tasks.fail_async.delay()
    nested = tasks.within_another_async.delay("nested")
    answers = {
        tasks.autoretry_async.delay(): 2,
        tasks.rate_async.delay({"stars": 1}): {"stars": 2},
        tasks.within_async.delay(): 1,
        tasks.classy.delay(3): [3, True],
        tasks.shared_async.delay(4): 4,
    }
    with pytest.raises(TypeError, match="unexpected"):
        analyze.delay(unexpected="argument")

    for result, answer in answers.items():
        assert result.get(timeout=PATIENCE) == answer
    with pytest.raises(LookupError, match="not there"):
        failed.get(timeout=PATIENCE)
    for result in canvases:
        call_id = result.get(timeout=PATIENCE)
        assert call_id in {call["_id"] for call in calls_of(1, result.id)}
    ids = grouped.get(timeout=PATIENCE)
    assert [calls_of(1, result.id)[0]["_id"] for result in grouped.results] == ids
    attempts = calls_of(3, retried.id)
    assert retried.get(timeout=PATIENCE) == [2, attempts[2]["_id"]]
    assert [call["task"]["retries"] for call in attempts] == [0, 1, 2]
    assert len({call["task"]["attempt_id"] for call in attempts}) == 3
    calls_of(1, ignored.id)
    awaited, applied_id, applied = nested.get(timeout=PATIENCE)
    assert [call["_id"] for call in calls_of(1, nested.id)] == [awaited]
    (call,) = calls_of(1, applied_id)
    assert (call["_id"], call["task"]["outer_task_id"]) == (applied, nested.id)

    seen = defaultdict(list)
    for result in looked:
        there = result.get(timeout=PATIENCE)
        seen[tuple(there.pop("place"))].append(there)
    for visits in seen.values():  # of one thread
        assert {visit["loop"] for visit in visits} == {visits[0]["loop"]}
        assert {visit["connection"] for visit in visits} == {visits[0]["connection"]}
        assert all(visit["monitors"] for visit in visits[1:])
        assert {visit["seen"] for visit in visits} == {0}
        assert all(visit["is_its_own"] for visit in visits)


@core
@pytest.mark.parametrize("pool", ["prefork"], indirect=True)
@pytest.mark.usefixtures("pool")
def test_a_soft_time_limit_that_is_handled(coroutines: Any) -> None:
    """It is raised where the coroutine waits, which may handle it, and await while it does."""
    result = coroutines.clean_up_async.apply_async(soft_time_limit=1)

    assert result.get(timeout=PATIENCE) == ["caught", "cleaned up"]


@core
@pytest.mark.parametrize("pool", ["gevent"], indirect=True)
@pytest.mark.usefixtures("pool")
def test_greenlets_refuse(coroutines: Any) -> None:
    """Where two loops cannot run beside each other such a task fails, and says what to do."""
    with pytest.raises(RuntimeError, match="prefork"):
        coroutines.analyze_async.delay("x").get(timeout=PATIENCE)


@core
def test_the_example_runs_as_it_was_asked_for(
    tasks: Any, own_queue: Deployment, calls_of: CallsOf, redis_url: str, tmp_path: Path
) -> None:
    """Word for word but for the imports, in a real worker, asking a real server."""
    setting, task, _ = re.findall(r"```python\n(.*?)```", EXAMPLE.read_text(), re.DOTALL)
    assert task.partition("\n\n")[2] == AS_IT_WAS_ASKED_FOR.read_text().partition("\n\n")[2]

    (tmp_path / "example_6.py").write_text(setting + task)
    with demo_provider.serve() as url:
        own = own_queue.with_settings(
            CELERY_BROKER_URL=redis_url,
            CELERY_RESULT_BACKEND=redis_url,
            OPENAI_BASE_URL=url,
            OPENAI_API_KEY="none",
            PYTHONPATH=f"{tmp_path}:{own_queue.environment['PYTHONPATH']}",
        )
        queue = own.environment["QUEUE"]
        with own.worker(*PREFORK_ALONE, "--queues", queue, app="example_6"):
            name = "example_6.analyze_review_sentiment"
            results = [tasks.app.send_task(name, [f"review-{n}"]) for n in range(2)]
            sentiments = [result.get(timeout=PATIENCE) for result in results]

    for number, result in enumerate(results):
        (call,) = calls_of(1, result.id)
        assert (call["status"], call["call_type"]) == ("SUCCESS", "SENTIMENT_ANALYSIS")
        assert (call["task"]["name"], call["review_id"]) == (name, f"review-{number}")
        assert call["response_message"] == {"role": "assistant", "content": sentiments[number]}
        assert call["messages"][-1]["content"] == "I love it"
        assert call["estimated_cost"] == pytest.approx(call["total_tokens"] * 0.000001)
        assert call["total_tokens"] > 0

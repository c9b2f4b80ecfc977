"""celery-batches: whose are the calls of a body that runs for many messages?"""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from deployment import PREFORK_ALONE, THREADS, CallsOf, Deployment

from llm_audit import audit_context

IDS = ("trace_id", "session_id", "user_id", "company_id")


def ids_of(call: dict[str, Any]) -> dict[str, Any]:
    return {name: call[name] for name in IDS if name in call}


@pytest.mark.parametrize("options", [PREFORK_ALONE, THREADS], ids=["prefork", "threads"])
def test_a_batch_carries_what_all_its_messages_say(
    deploy: Callable[..., Deployment],
    producer_for: Callable[[Deployment], Celery],
    calls_with: CallsOf,
    options: tuple[str, ...],
) -> None:
    """No tenant's ids get into another's calls; one message's calls can be made in its context."""
    batched = deploy()
    producer = producer_for(batched)
    one, mixed = uuid.uuid4().hex, uuid.uuid4().hex
    sent: dict[str, tuple[str, dict[str, str]]] = {}
    with batched.worker(*options, app="batch_tasks"):
        for batch, users in ((one, ("7", "7", "7")), (mixed, ("7", "8", None))):
            for number, user in enumerate(users):
                ids = {"trace_id": f"{batch}-{user}", "session_id": batch, "user_id": user}
                ids |= {"company_id": f"of {user}"}
                if user is None:
                    ids = {"session_id": batch}
                tags = ["nightly"] if batch == mixed and number == 1 else ["beta", "nightly"]
                with audit_context(**ids, tags=tags, metadata={"batch": batch, "n": number}):
                    text = f"{batch}-{number}"
                    task_id = producer.send_task("batch_tasks.summarize", (text,)).id
                sent[text] = (task_id, ids)
        of_all = {batch: calls_with(1, f"all of {batch}")[0] for batch in (one, mixed)}
        of_each = [call for batch in (one, mixed) for call in calls_with(3, f"one of {batch}")]
        following = [call for batch in (one, mixed) for call in calls_with(3, f"follows {batch}")]
        left = [call for batch in (one, mixed) for call in calls_with(1, f"open.*{batch}")]

    assert ids_of(of_all[one]) == sent[f"{one}-0"][1]
    assert ids_of(of_all[mixed]) == {"session_id": mixed, "trace_id": of_all[mixed]["task_id"]}
    for batch, tags in ((one, ["beta", "nightly"]), (mixed, ["nightly"])):
        call = of_all[batch]
        assert (call["tags"], call["metadata"]) == (tags, {"batch": batch})
        assert call["task"]["name"] == "batch_tasks.summarize"
        assert call["task"]["queue"] == batched.environment["QUEUE"]
        assert call["task"]["batch_size"] == 3
        assert call["task"]["worker"]
    for call in of_each:
        task_id, ids = sent[call["messages"][0]["content"].removeprefix("one of ")]
        assert call["task_id"] == task_id
        assert {"trace_id": task_id} | ids_of(call) == {"trace_id": task_id} | ids | ids_of(call)
        assert {name: call.get(name) for name in ids} == ids
        assert set(ids_of(call)) == {"trace_id", *ids}
    for call in following:
        task_id, ids = sent[call["messages"][0]["content"].removeprefix("follows ")]
        assert {name: call.get(name) for name in ids} == ids
        assert set(ids_of(call)) == {"trace_id", *ids}
    assert {(call["status"], call["ended_by"]) for call in left} == {("INCOMPLETE", "task_ended")}

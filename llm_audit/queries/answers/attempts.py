"""The attempts of Celery tasks that made the calls of a trace."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from llm_audit.queries.answers.trace_tree import Branch, TraceBranch, TraceCall, add_up, alone

Key: TypeAlias = tuple[str, str | int | None]


@dataclass(kw_only=True, eq=False)
class AttemptBranch(Branch):
    """What an attempt of a task did in a trace: its calls there are `children`, each alone.

    Its time is that from its first call to the end of its last one.
    """

    task_id: str
    task_name: str | None
    attempt_id: str | None
    retries: int | None
    redelivered: bool | None


def attempt_of(call: TraceCall) -> Key | None:
    """Return what tells the attempt that made a call from others; None if no task made it."""
    if call.task_id is None:
        return None
    return call.task_id, call.retries if call.attempt_id is None else call.attempt_id


def attempt_branches(branches: Iterable[TraceBranch]) -> list[AttemptBranch]:
    """Return the attempts that made these calls, in the order in which their first calls began.

    Args:
        branches: Of the calls; what is below them is not looked at.
    """
    attempts: dict[Key, AttemptBranch] = {}
    for call in sorted((branch.call for branch in branches), key=lambda call: call.id):
        key = attempt_of(call)
        if key is None:
            continue
        if key not in attempts:
            attempts[key] = AttemptBranch(
                task_id=key[0],
                task_name=call.task_name,
                attempt_id=call.attempt_id,
                retries=call.retries,
                redelivered=call.redelivered,
            )
        attempts[key].children.append(alone(call))
    for attempt in attempts.values():
        add_up(attempt)
    return list(attempts.values())

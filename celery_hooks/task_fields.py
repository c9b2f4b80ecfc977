"""What the calls of a task say of it, in their field `task`."""

import os
from typing import Any


def task_fields(name: str, request: Any, attempt_id: str | None) -> dict[str, Any]:
    """Return what there is to say.

    Args:
        name: The task's.
        request: As the body has it in `task.request`.
        attempt_id: Of this run of the body.
    """
    delivery = request.delivery_info or {}
    fields = {
        "name": name,
        "root_id": request.root_id,
        "parent_id": request.parent_id
        if request.parent_id != request.id
        else None,  # a retry's own
        "group_id": request.group,
        "retries": request.retries,
        "attempt_id": attempt_id,
        "queue": delivery.get("routing_key") if not delivery.get("exchange") else None,
        "worker": request.hostname,
        "pid": os.getpid(),
        "redelivered": delivery.get("redelivered"),
        "eager": bool(request.is_eager),
    }
    return {name: value for name, value in fields.items() if value is not None}

"""Whatever a message carries: the task runs, and its calls are its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from anything import TEXTS, VALUES, bent, no_hang
from properties import given, st

celery = pytest.importorskip("celery")

from celery.app.task import Context  # noqa: E402
from celery.app.trace import build_tracer  # noqa: E402

import celery_hooks  # noqa: E402
from celery_hooks import propagation  # noqa: E402
from celery_hooks.propagation import HEADER  # noqa: E402
from llm_audit import LLMCall, LLMLogger  # noqa: E402
from llm_audit.settings import changed_settings  # noqa: E402
from llm_audit.testing.records import recorded_nowhere  # noqa: E402

CONTEXT = {
    **dict.fromkeys(("trace_id", "session_id", "user_id", "company_id", "parent_call_id"), "x"),
    "tags": ["a", "b"],
    "metadata": {"plan": {"x": [1, 2]}},
    # what only Celery and the recorder say
    "task_id": "forged",
    "task": {"name": "forged"},
    "shared": {},
    "context_cut": ["tags"],
}
CANVAS = {"options": {"group_id": "g", "chain": [{"options": {"group_id": "h"}}], "chord": {}}}
REQUEST: dict[str, Any] = {  # of what Celery itself does not run into
    "root_id": "root",
    "parent_id": "parent",
    "group": "group",
    "hostname": "w@h",
    "delivery_info": {"exchange": "", "routing_key": "q", "redelivered": True},
    "headers": {HEADER: "{}", "x": "y"},
    "origin": "o",
}
OWN = {"id": "the task", "is_eager": False, "called_directly": False}
HEADERS = (
    bent([CONTEXT]).map(lambda carried: json.dumps(carried, default=str))
    | st.builds(
        lambda text, place, other: text[:place] + other + text[place:],
        st.just(json.dumps(CONTEXT)),
        st.integers(0, 200),
        TEXTS,
    )
    | TEXTS
    | VALUES
    | st.sampled_from(
        ["[" * 10**6, '{"a":' * 10**5, "1" * 10**5, b"\xff", '{"tags": NaN}', "\ud800"]
    )
)
CANVASES = bent(
    [
        {
            "group": None,
            "root_id": "r",
            "id": "i",
            "is_eager": False,
            "chain": [CANVAS],
            "chord": CANVAS,
        }
    ]
)


@pytest.fixture(scope="module")
def task() -> Iterator[Any]:
    app = celery.Celery("any", broker="memory://", set_as_current=False)
    celery_hooks.install(app)

    @app.task(name="look", shared=False)
    def look() -> str:
        return LLMLogger.start(model="m") + ""

    yield look
    celery_hooks.uninstall()


@given(request=bent([REQUEST]), header=HEADERS, nested=st.booleans())
def test_a_task_runs_whatever_its_message_carries(
    request: dict[str, Any], header: Any, nested: bool, task: Any
) -> None:
    """It returns what it returns, and its call has the right task, and types as they should be."""
    message = {**request, **OWN}
    if not isinstance(message.get("delivery_info"), dict):  # Celery needs one
        message["delivery_info"] = None
    if nested and isinstance(message.get("headers"), dict):
        message["headers"][HEADER] = header
    else:
        message[HEADER] = header
    with (
        TemporaryDirectory() as spool,
        recorded_nowhere(Path(spool)) as recorded,
        changed_settings(strict=False),
        no_hang(),
    ):
        traced = build_tracer("look", task, app=task.app)("the task", (), {}, message)
        (call,) = recorded
    assert traced.retval == call.id
    assert call.task_id == "the task"
    assert call.task is not None
    assert call.task.name == "look"
    assert LLMCall.model_validate({**call.model_dump(), "_id": call.id}).unreadable == []


@given(request=CANVASES, header=HEADERS)
def test_a_canvas_gives_a_trace_or_none(request: dict[str, Any], header: Any) -> None:
    """What follows a task, and what is to be done with all of it, may be anything."""
    fields = {str(name): value for name, value in request.items()}
    with no_hang():
        context = propagation.inherited(Context(**fields, **{HEADER: header}))
    assert isinstance(context.trace_id, str | None)

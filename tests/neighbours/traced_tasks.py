"""Tasks that another tool traces, which is set up before the hooks or after them."""

import json
import os
from pathlib import Path
from typing import Any

TOOL, ORDER = os.environ["TOOL"].split()
SEEN = Path(os.environ["SEEN"])


def note(what: str) -> None:
    """Keep what the tool would send."""
    with SEEN.open("a") as seen:
        seen.write(f"{what}\n")


def set_up_sentry() -> None:
    """Have every task traced, and every error caught."""
    import sentry_sdk
    from sentry_sdk.integrations.celery import CeleryIntegration
    from sentry_sdk.transport import Transport

    class Noting(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            for item in envelope.items:
                event = item.get_event() or item.get_transaction_event() or {}
                for error in (event.get("exception") or {}).get("values", ()):
                    note(f"error {error['type']}")
                if event.get("type") == "transaction":
                    note(f"task {event['transaction']} {event['contexts']['trace']['trace_id']}")

    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1",
        integrations=[CeleryIntegration()],
        traces_sample_rate=1.0,
        transport=Noting,
    )


def set_up_ddtrace() -> None:
    """Have every task traced."""
    import ddtrace
    from ddtrace.trace import TraceFilter, tracer

    class Noting(TraceFilter):
        def process_trace(self, trace: Any) -> None:
            for span in trace:
                if span.name == "celery.run":
                    note(f"task {span.resource} {span.trace_id}")
                    if span.error:
                        note(f"error {span.get_tag('error.type').rpartition('.')[2]}")

    tracer.configure(trace_processors=[Noting()])
    ddtrace.patch(celery=True)


set_up = {"sentry": set_up_sentry, "ddtrace": set_up_ddtrace}[TOOL]
if ORDER == "before":
    set_up()

from audited import call, make_app  # noqa: E402
from celery import Task, chain  # noqa: E402

from celery_hooks.propagation import HEADER  # noqa: E402
from llm_audit import audit_context  # noqa: E402

app = make_app("traced")
if ORDER == "after":
    set_up()


@app.task(bind=True, max_retries=3)
def again(self: Task, text: str) -> list[str]:
    """Make a call at each of four attempts; return what the message carries of ours at last."""
    call(text)
    if self.request.retries < self.max_retries:
        raise self.retry(countdown=0)
    headers = {**(self.request.headers or {}), **vars(self.request)}
    return [json.dumps(value) for name, value in headers.items() if name == HEADER]


@app.task
def fail(text: str) -> None:
    """Make a call, and fail."""
    call(text)
    raise KeyError("the provider said no")


@app.task
def publish(text: str, about: dict[str, Any]) -> str:
    """Publish out of a task."""
    with audit_context(**about):
        chain(again.si(text), again.si(text))()
        fail.apply_async((text,), headers={"of": "a user"})
        return str(again.delay(text).id)

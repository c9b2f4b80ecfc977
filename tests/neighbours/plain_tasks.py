"""A task that flower watches."""

from audited import call, make_app

app = make_app("plain", worker_send_task_events=True, task_send_sent_event=True)


@app.task
def ask(text: str) -> str:
    """Make a call, and return its id."""
    return call(text)

"""Tasks that Django schedules and whose results it keeps."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_settings")

import django
from audited import call, make_app
from celery import Task

django.setup()

app = make_app(
    "django",
    result_backend="django-db",
    result_extended=True,
    beat_scheduler="django_celery_beat.schedulers:DatabaseScheduler",
    beat_max_loop_interval=0.2,
)


@app.task(bind=True, max_retries=1)
def ask(self: Task, text: str) -> str:
    """Make a call; fail with one open at the first attempt, and make another at the second."""
    call_id = call(text)
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return call_id

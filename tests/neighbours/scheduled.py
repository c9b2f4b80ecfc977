"""Makes the tables, and a periodic task that beat finds there; the argument is the task's text."""

import json
import sys

import django_tasks
from django.core.management import call_command
from django_celery_beat.models import IntervalSchedule, PeriodicTask

call_command("migrate", verbosity=0)
often, _ = IntervalSchedule.objects.get_or_create(every=500, period=IntervalSchedule.MICROSECONDS)
PeriodicTask.objects.create(
    name="ask often",
    interval=often,
    task=django_tasks.ask.name,
    args=json.dumps([sys.argv[1]]),
    headers=json.dumps({"of": "a user"}),
)

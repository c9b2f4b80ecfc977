"""A Django project that schedules tasks and keeps their results in its database."""

import os

SECRET_KEY = "only for tests"
USE_TZ = True
INSTALLED_APPS = ["django_celery_beat", "django_celery_results"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["DJANGO_DATABASE"],
        "OPTIONS": {"timeout": 60},
    }
}

"""The Celery application: it spreads work over processes; what is due stands in PostgreSQL."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "relaypacs.settings")

app = Celery("relaypacs")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

"""RelayPACS takes a study off a clinician's machine and does not let go until a PACS has it."""

from relaypacs.celery import app as celery_app

__all__ = ["celery_app"]

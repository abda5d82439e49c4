"""ENABLE_ASYNC_UPLOAD=false: `complete` assembles and validates before it answers, within a time limit."""

import time

from django.conf import settings

from uploads.models import Upload
from uploads.pipeline import legs
from uploads.states import UPLOAD_LEGS


def run_if_asked(upload: Upload) -> None:
    """Runs the upload's own legs here and now; what does not fit into the time is left to the workers."""
    if settings.ENABLE_ASYNC_UPLOAD:
        return
    until = time.monotonic() + settings.SYNC_UPLOAD_SECONDS
    while time.monotonic() < until:
        if not legs.advance(upload.pk):
            upload.refresh_from_db(fields=["state"])
            if upload.state not in UPLOAD_LEGS:
                return
            time.sleep(0.2)  # a worker was quicker and has it; wait for what it finds

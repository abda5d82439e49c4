"""Opens a report for every study of an upload that was delivered."""

from typing import Any

from reports.models import Report
from uploads.models import Upload


def open_reports(sender: Any, *, upload: Upload, **_: Any) -> None:
    """Once per study, in the transaction that makes the upload `delivered`."""
    uids = upload.studies.filter(deliveries__isnull=False).values_list("study_instance_uid", flat=True).distinct()
    Report.objects.bulk_create(
        [Report(upload=upload, study_instance_uid=uid) for uid in uids],
        ignore_conflicts=True,
    )

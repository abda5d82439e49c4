"""The truth about an upload, as contract.md words it: read from the rows, never guessed."""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Count, F, Max, Q, Window
from django.db.models.functions import Lag
from django.utils import timezone

from uploads.models import KEPT, Answer, Chunk, Delivery, FileStatus, Hold, LedgerEntry, Upload, UploadFile
from uploads.states import DeliveryState

MAX_PROBLEMS = 1000
Counts = Mapping[uuid.UUID, dict[str, int]]
NOTHING = {"instances": 0, "stored": 0, "changed": 0, "verified": 0, "refused": 0, "skipped": 0}
EFFECTS = {
    FileStatus.IGNORED: "ignored",
    FileStatus.EXCLUDED: "ignored",
    FileStatus.REJECTED: "rejected",
}

# What a person may answer to a hold; contract.md, "Decisions".
CHOICES = {
    "bad_files": ["proceed", "exclude", "reject"],
    "several_patients": ["proceed", "exclude", "reject"],
    "two_identities": ["exclude", "reject"],
    "uid_reused": ["exclude", "reject"],
    "uid_moved": ["exclude", "reject"],
    "identity_near": ["proceed", "exclude", "reject"],
    "identity_mismatch": ["exclude", "reject"],
    "duplicate_study": ["proceed", "exclude", "reject"],
}
# Only an administrator may let these through as they are.
NEVER_PLAIN = frozenset({"two_identities", "uid_reused", "uid_moved", "identity_mismatch"})


def choices_for(code: str) -> list[str]:
    return CHOICES.get(code, ["reject"])


def truth(upload: Upload) -> dict[str, Any]:
    """Everything contract.md promises about one upload."""
    deliveries = list(upload.deliveries.select_related("study", "destination"))
    return _summary(upload, deliveries, _count(deliveries), missing_chunks(upload)) | {
        "clinical_history": upload.clinical_history,
        "expected_patient": upload.expected_patient,
        "files": _file_counts(upload),
        "problems": _problems(upload),
        "reports": _reports(upload),
    }


def summaries(uploads: Sequence[Upload]) -> list[dict[str, Any]]:
    """The part of the truth that a list shows, for uploads read with their parts, in queries that serve all of them."""
    deliveries = {upload.pk: list(upload.deliveries.all()) for upload in uploads}
    counts = _count([row for rows in deliveries.values() for row in rows])
    missing = missing_of(uploads)
    return [_summary(upload, deliveries[upload.pk], counts, missing[upload.pk]) for upload in uploads]


def _summary(
    upload: Upload, deliveries: Iterable[Delivery], counts: Counts, missing: list[list[int]]
) -> dict[str, Any]:
    return {
        "id": str(upload.pk),
        "state": upload.state,
        "service_level": upload.service_level,
        "clinic": str(upload.clinic_id),
        "clinic_name": upload.clinic.name,
        "created_by": upload.created_by.get_username(),
        "created_at": upload.created_at,
        "completed_at": upload.completed_at,
        "delivered_at": upload.delivered_at,
        "verified_at": upload.verified_at,
        "ended_at": upload.ended_at,
        "total_size": upload.total_size,
        "chunk_size": upload.chunk_size,
        "chunk_count": upload.chunk_count,
        "expires_at": upload.expires_at,
        "progress": {
            "received_bytes": upload.received_bytes,
            "total_size": upload.total_size,
            "missing": missing,
        },
        "studies": [_study(study) for study in upload.studies.all()],
        "holds": [_hold(hold) for hold in upload.holds.all() if hold.decided_at is None],
        "deliveries": _deliveries(list(deliveries), counts),
    }


def missing_chunks(upload: Upload) -> list[list[int]]:
    """The chunks not acknowledged yet, as [first, last] ranges."""
    return missing_of([upload])[upload.pk]


def missing_of(uploads: Sequence[Upload]) -> dict[uuid.UUID, list[list[int]]]:
    """The same for several uploads in two queries; the database walks the chunks, and answers the gaps alone."""
    partial = {upload.pk: upload for upload in uploads if upload.received_bytes != upload.total_size}
    gaps: dict[uuid.UUID, list[list[int]]] = {upload.pk: [] for upload in uploads}
    if not partial:
        return gaps
    here = Chunk.objects.filter(upload__in=list(partial))
    before = Window(Lag("index", default=-1), partition_by=F("upload"), order_by=F("index").asc())
    rows = here.annotate(before=before).filter(index__gt=F("before") + 1).order_by("upload", "index")
    for upload_id, index, last_before in rows.values_list("upload", "index", "before"):
        gaps[upload_id].append([last_before + 1, index - 1])
    ends = dict(here.order_by().values_list("upload").annotate(Max("index")))
    for upload in partial.values():
        if (end := ends.get(upload.pk, -1) + 1) < upload.chunk_count:
            gaps[upload.pk].append([end, upload.chunk_count - 1])
    return gaps


def _study(study: Any) -> dict[str, Any]:
    return {
        "study_instance_uid": study.study_instance_uid,
        "patient": {
            "id": study.patient_id,
            "name": study.patient_name,
            "birth_date": study.birth_date,
            "sex": study.sex,
        },
        "study_date": study.study_date,
        "description": study.description,
        "accession_number": study.accession_number,
        "modalities": study.modalities,
        "series": study.series_count,
        "instances": study.instance_count,
    }


def _hold(hold: Hold) -> dict[str, Any]:
    return {
        "id": str(hold.pk),
        "code": hold.code,
        "detail": hold.detail,
        "study_instance_uid": hold.study_instance_uid or None,
        "files": hold.files,
        "choices": choices_for(hold.code),
    }


def _count(deliveries: Iterable[Delivery]) -> Counts:
    """The ledgers of these deliveries, counted in one query."""
    rows = (
        LedgerEntry.objects.filter(delivery__in=[row.pk for row in deliveries])
        .values("delivery")
        .annotate(
            instances=Count("pk"),
            stored=Count("pk", filter=Q(answer__in=KEPT)),
            changed=Count("pk", filter=Q(answer=Answer.CHANGED)),
            verified=Count("pk", filter=Q(verified_at__isnull=False)),
            refused=Count("pk", filter=Q(answer=Answer.REFUSED)),
            skipped=Count("pk", filter=Q(answer=Answer.SKIPPED)),
        )
    )
    return {row.pop("delivery"): row for row in rows}


def _deliveries(rows: Sequence[Delivery], counts: Counts) -> list[dict[str, Any]]:
    names: dict[uuid.UUID | None, str] = {
        row.pk: row.destination_name for row in rows
    }  # a study is redirected within its upload
    return [_delivery(row, counts) | {"redirected_to": names.get(row.redirected_to_id)} for row in rows]


def _delivery(row: Delivery, counts: Counts) -> dict[str, Any]:
    error = {"code": row.last_error_code, "detail": row.last_error_detail} if row.last_error_code else None
    return {
        "destination": row.destination_name,
        "required": row.required,
        "study_instance_uid": row.study.study_instance_uid,
        "state": row.state,
        **(counts.get(row.pk) or NOTHING | {"instances": row.study.instance_count}),
        "proof": row.proof,
        "proof_detail": row.proof_detail,
        "notes": row.notes,
        "held_back": _held_back(row),
        "attempts": row.total_attempts,
        "next_attempt_at": next_attempt(row),
        "last_error": error,
    }


def _held_back(row: Delivery) -> dict[str, str] | None:
    """Why nothing is sent to its destination just now, where that is nobody's trouble with this study."""
    destination = row.destination
    if row.state not in (DeliveryState.PENDING, DeliveryState.WAITING, DeliveryState.PAUSED):
        return None
    if destination.paused:
        return {"code": "paused", "detail": destination.paused_because}
    if row.urgency and destination.is_quiet(timezone.now()):
        until = f"{destination.quiet_until:%H:%M} {destination.quiet_zone}"
        return {"code": "quiet", "detail": f"Quiet hours: until {until} nothing but STAT is sent there."}
    return None


def next_attempt(row: Delivery) -> Any:
    """When it is tried again: by its own back-off, or with the next probe of a destination that is down."""
    if row.due_at is None or row.state not in (DeliveryState.PENDING, DeliveryState.WAITING):
        return None
    probe = row.destination.probe_at if row.destination.down_since else None
    due = row.due_at if probe is None else max(probe, timezone.now())
    return due if row.urgency == 0 else row.destination.quiet_ends_at(due)


def _file_counts(upload: Upload) -> dict[str, int]:
    counts = Counter(dict(upload.files.values_list("status").annotate(Count("pk"))))
    return {
        "total": upload.file_count,
        "dicom": counts[FileStatus.ACCEPTED],
        "ignored": counts[FileStatus.IGNORED] + counts[FileStatus.EXCLUDED],
        "rejected": counts[FileStatus.REJECTED],
    }


def _problems(upload: Upload) -> list[dict[str, Any]]:
    """What is wrong with the upload as a whole, then file by file; the first thousand."""
    problems: list[dict[str, Any]] = []
    if upload.problem_code:
        problems.append(
            {"file": None, "code": upload.problem_code, "detail": upload.problem_detail, "effect": "rejected"}
        )
    held = {index for hold in upload.holds.all() if hold.decided_at is None for index in hold.files}
    rows = upload.files.exclude(problem_code="").order_by("index")[:MAX_PROBLEMS]
    return problems + [_problem(row, row.index in held) for row in rows]


def _problem(row: UploadFile, held: bool) -> dict[str, Any]:
    return {
        "file": row.name,
        "index": row.index,
        "code": row.problem_code,
        "detail": row.problem_detail,
        "effect": "held" if held else EFFECTS.get(FileStatus(row.status), "rejected"),
    }


def _reports(upload: Upload) -> list[dict[str, Any]]:
    """The reports opened for this upload; the reverse relation of the journey back."""
    reports = getattr(upload, "reports", None)
    if reports is None:
        return []
    return [{"id": str(r.pk), "state": r.state, "study_instance_uid": r.study_instance_uid} for r in reports.all()]

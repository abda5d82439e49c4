"""First leg: an upload is opened, its chunks are taken in any order, and it is sealed."""

import base64
import binascii
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Sum
from django.utils import timezone

from accounts.models import Clinic, Role, User
from relaypacs.errors import NotAllowed, NotFound, Rejected, RelayError, WrongState
from uploads import hints, selectors
from uploads.models import Upload, UploadFile, write_columns
from uploads.pipeline import duplicates, durability, early
from uploads.pipeline.manifest import Manifest, is_sha256
from uploads.states import UploadState
from uploads.storage import StorageFull, current_boot, free_bytes, pack_of

LIFE_AFTER_CHUNK = timedelta(hours=24)
LIFE_AT_MOST = timedelta(days=14)
UPLOADING_ROLES = (Role.CLINICIAN, Role.RADIOGRAPHER, Role.ADMIN)
_DIGEST = re.compile(r"(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/=]+):")


# --- Opening ---------------------------------------------------------------------------------------------------------


def open_upload(
    user: User, manifest: Manifest, *, clinic_id: uuid.UUID | None = None, idempotency_key: str = ""
) -> tuple[Upload, bool]:
    """The upload for this manifest, and whether it is new. The same key with the same body is the same upload.

    Raises:
        Rejected: clinic_required. NotAllowed: forbidden. StorageFull: no_space.
        WrongState: idempotency_conflict, duplicate_study.
    """
    if idempotency_key and (known := _by_key(user, manifest, idempotency_key)):
        return known, False
    clinic = _clinic_for(user, clinic_id)
    duplicates.refuse_known(clinic, manifest)
    _reserve(manifest.total_size)
    upload = _new(user, clinic, manifest, idempotency_key)
    pack_of(upload.pk).create(manifest.total_size)
    try:
        with transaction.atomic():
            upload.save(force_insert=True)
            UploadFile.objects.bulk_create(_files(upload, manifest), batch_size=2000)
            upload.transitions.create(from_state="", to_state=upload.state, actor=user)
    except IntegrityError:
        pack_of(upload.pk).remove()
        if idempotency_key and (known := _by_key(user, manifest, idempotency_key)):
            return known, False
        raise
    return upload, True


def _by_key(user: User, manifest: Manifest, key: str) -> Upload | None:
    upload = Upload.objects.filter(created_by=user, idempotency_key=key).first()
    if upload is not None and upload.manifest_sha256 != manifest.digest:
        raise WrongState("idempotency_conflict", "This Idempotency-Key was used for another upload.")
    return upload


def _clinic_for(user: User, clinic_id: uuid.UUID | None) -> Clinic:
    """The clinic named, or the only one where this person may hand in."""
    clinics = Clinic.objects.filter(active=True)
    if not user.is_administrator:
        clinics = clinics.filter(pk__in=user.clinics_as(*UPLOADING_ROLES))
    if clinic_id is not None:
        clinic = clinics.filter(pk=clinic_id).first()
        if clinic is None:
            raise NotAllowed("forbidden", "You may not hand in studies for this clinic.")
        return clinic
    choice = list(clinics[:2])
    if not choice:
        raise NotAllowed("forbidden", "You may not hand in studies: ask an administrator for a clinic and a role.")
    if len(choice) > 1:
        raise Rejected("clinic_required", "You work for several clinics; please choose the one this study comes from.")
    return choice[0]


def _reserve(size: int) -> None:
    """Refuses what the disk cannot hold beside everything that was promised room already."""
    waiting = Upload.objects.filter(state=UploadState.RECEIVING).aggregate(
        promised=Sum(F("total_size") - F("received_bytes"))
    )
    if size + (waiting["promised"] or 0) + settings.DISK_RESERVE_BYTES > free_bytes():
        raise StorageFull


def _new(user: User, clinic: Clinic, manifest: Manifest, key: str) -> Upload:
    now = timezone.now()
    return Upload(
        clinic=clinic,
        created_by=user,
        service_level=manifest.service_level,
        clinical_history=manifest.clinical_history,
        expected_patient=manifest.expected_patient,
        allow_duplicate=manifest.allow_duplicate,
        early=early.concerns(clinic, manifest.service_level),
        declared_instances=list(manifest.studies) or None,
        total_size=manifest.total_size,
        chunk_size=manifest.chunk_size,
        chunk_count=manifest.chunk_count,
        file_count=len(manifest.files),
        manifest_sha256=manifest.digest,
        idempotency_key=key,
        created_at=now,
        expires_at=now + LIFE_AFTER_CHUNK,
    )


def _files(upload: Upload, manifest: Manifest) -> list[UploadFile]:
    offsets = accumulate((file.size for file in manifest.files), initial=0)
    return [
        UploadFile(
            upload=upload,
            index=index,
            name=file.name,
            offset=offset,
            size=file.size,
            declared_sha256=file.sha256.lower(),
        )
        for index, (file, offset) in enumerate(zip(manifest.files, offsets, strict=False))
    ]


# --- Chunks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ticket:
    """What the chunk door needs to take one chunk: bytes [offset, offset + length) of the pack."""

    upload_id: uuid.UUID
    index: int
    offset: int
    length: int
    sha256: str


def admit(user: User, upload_id: uuid.UUID, index: int, *, length: int | None, digest: str) -> Ticket:
    """Checks all that can be checked before the first octet.

    Args:
        length: the Content-Length in bytes, None where the client sent none.
        digest: the Content-Digest header (RFC 9530).
    """
    upload = selectors.glance(user, upload_id)
    may_change(user, upload)
    if length is None:
        raise Rejected("length_required", "A chunk needs its Content-Length.", status=411)
    receiving_or_raise(upload)
    if not 0 <= index < upload.chunk_count:
        raise NotFound(f"This upload has the chunks 0 to {upload.chunk_count - 1}.", code="no_such_chunk")
    offset, expected = upload.chunk_span(index)
    if length != expected:
        raise Rejected("chunk_length", f"Chunk {index} must have {expected} bytes; these are {length}.")
    return Ticket(upload.pk, index, offset, expected, parse_digest(digest))


def may_change(user: User, upload: Upload) -> None:
    """Radiologists read; whoever may hand in for the clinic may act on its uploads."""
    if user.is_administrator or upload.clinic_id in user.clinics_as(*UPLOADING_ROLES):
        return
    raise NotAllowed("forbidden", "You may look at this upload and not change it.")


def receiving_or_raise(upload: Upload) -> None:
    """An upload that takes chunks: receiving, and not past its time."""
    if upload.state == UploadState.EXPIRED or (
        upload.state == UploadState.RECEIVING and upload.expires_at <= timezone.now()
    ):
        raise WrongState("expired", "This upload has expired; please hand the study in again.", status=410)
    if upload.state != UploadState.RECEIVING:
        raise WrongState("wrong_state", f"This upload is {upload.state} and takes no more data.")


def parse_digest(header: str) -> str:
    """The SHA-256 in a Content-Digest header, as hexadecimal digits."""
    match = _DIGEST.search(header)
    if match is None:
        raise Rejected("digest_required", "A chunk needs Content-Digest: sha-256=:…: (RFC 9530).")
    try:
        raw = base64.b64decode(match[1], validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise Rejected("digest_required", "The sha-256 in Content-Digest is not 32 bytes in base64.")
    return raw.hex()


def known_digest(ticket: Ticket) -> str | None:
    """The digest this chunk was acknowledged with, if it was. Ask only while holding its byte range."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sha256 FROM uploads_chunk WHERE upload_id = %s AND index = %s", (ticket.upload_id, ticket.index)
        )
        row = cursor.fetchone()
    return None if row is None else str(row[0])


# One statement, so that the row's lock is held for no round trip. It orders this against `complete` and cancel: who
# waited for it sees the state as it is then.
_ACKNOWLEDGE = """
WITH held AS (
    SELECT id, early, due_at FROM uploads_upload
    WHERE id = %(upload)s AND state = %(receiving)s AND expires_at > %(now)s
    FOR UPDATE
), noted AS (
    INSERT INTO uploads_chunk (upload_id, index, sha256, boot_id, synced, received_at)
    SELECT id, %(index)s, %(sha256)s, %(boot)s, false, %(now)s FROM held
)
UPDATE uploads_upload AS upload
SET received_bytes = received_bytes + %(length)s,
    last_chunk_at = %(now)s,
    expires_at = least(%(now)s + %(after_chunk)s, created_at + %(at_most)s),
    due_at = CASE WHEN upload.early THEN %(now)s END
FROM held
WHERE upload.id = held.id
RETURNING received_bytes, held.early AND held.due_at IS NULL
"""


def acknowledge(ticket: Ticket) -> None:
    """Writes the row that makes the octets count. Call with the range held and the digest matched.

    Raises:
        WrongState: the upload was sealed, cancelled or expired while the octets came in.
    """
    told: dict[str, Any] = {
        "upload": ticket.upload_id,
        "index": ticket.index,
        "sha256": ticket.sha256,
        "length": ticket.length,
        "boot": current_boot(),
        "receiving": UploadState.RECEIVING.value,
        "now": timezone.now(),
        "after_chunk": LIFE_AFTER_CHUNK,
        "at_most": LIFE_AT_MOST,
    }
    with connection.cursor() as cursor:
        cursor.execute(_ACKNOWLEDGE, told)
        counted = cursor.fetchone()
    if counted is None:
        receiving_or_raise(Upload.objects.get(pk=ticket.upload_id))
        raise WrongState("wrong_state", "This upload takes no more data.")
    received, nobody_looks = counted
    if nobody_looks:
        hints.nudge("early", ticket.upload_id)
    durability.sync_when_much(ticket.upload_id, received=received, length=ticket.length)


def refuse_other_bytes(ticket: Ticket, known: str) -> None:
    """An acknowledged chunk is never overwritten: the same bytes again are welcome, others are not."""
    if known != ticket.sha256:
        raise WrongState(
            "chunk_conflict",
            f"Chunk {ticket.index} was received before with other bytes: a file has changed since it was chosen.",
        )


# --- Sealing ---------------------------------------------------------------------------------------------------------


def complete(upload: Upload, files: Sequence[Mapping[str, Any]] = ()) -> Upload:
    """Seals an upload: everything is there and on the medium. Asking twice is answered twice.

    Raises:
        WrongState: chunks_missing, digest_conflict, expired, wrong_state. StorageFull: the disk could not sync.
    """
    if _sealed(upload):
        return upload
    receiving_or_raise(upload)
    durability.withdraw_lost(upload.pk)
    _need_all_chunks(upload)
    durability.sync_pack(upload.pk)
    with transaction.atomic():
        fresh = Upload.objects.select_for_update().get(pk=upload.pk)
        if _sealed(fresh):
            return fresh
        receiving_or_raise(fresh)
        _need_all_chunks(fresh)
        _note_digests(fresh, files)
        now = timezone.now()
        fresh.move(UploadState.ASSEMBLING, due_at=now, completed_at=now)
    return fresh


def _sealed(upload: Upload) -> bool:
    return upload.state not in (UploadState.RECEIVING, UploadState.EXPIRED, UploadState.CANCELLED)


def _need_all_chunks(upload: Upload) -> None:
    missing = selectors.missing_chunks(upload)
    if missing:
        raise WrongState(
            "chunks_missing", "Parts of this upload have not arrived yet.", extra={"missing": missing[:1000]}
        )


def _note_digests(upload: Upload, files: Sequence[Mapping[str, Any]]) -> None:
    """Keeps the file digests the client found out while sending; one given before must not change."""
    if not files:
        return
    rows = {row.index: row for row in upload.files.only("id", "index", "declared_sha256")}
    changed = []
    for file in files:
        row, digest = rows.get(file["index"]), str(file["sha256"]).lower()
        if row is None or not is_sha256(digest):
            raise Rejected("invalid_manifest", "A digest names a file that this upload has not, or is not SHA-256.")
        if row.declared_sha256 and row.declared_sha256 != digest:
            raise WrongState("digest_conflict", f"File {row.index} was declared with another digest before.")
        if not row.declared_sha256:
            row.declared_sha256 = digest
            changed.append(row)
    write_columns(changed, ["declared_sha256"])


def busy() -> RelayError:
    """Another request is sending the same chunk."""
    return WrongState("chunk_busy", "This part is being sent by another request just now.", retry_after=2)

"""What a reader of the page or the receipt must know of a delivery beside its counts: left out, decoded, changed."""

from collections import Counter
from typing import Any

from uploads.dicom.changes import Changes
from uploads.models import Answer, Delivery

LABELS = {
    "PatientID": "patient ID",
    "IssuerOfPatientID": "issuer of the patient ID",
    "PatientName": "name",
    "PatientBirthDate": "birth date",
    "PatientSex": "sex",
    "StudyInstanceUID": "study UID",
    "AccessionNumber": "accession number",
}

Note = dict[str, Any]


def of_the_sending(delivery: Delivery) -> list[Note]:
    """What the ledger tells: images left out, each reason once, and images that were sent decoded."""
    skipped = Counter(delivery.entries.filter(answer=Answer.SKIPPED).values_list("comment", flat=True))
    notes = [_note("left_out", comment, count) for comment, count in sorted(skipped.items())]
    decoded = delivery.entries.exclude(derived_sha256="").count()
    if decoded:
        detail = "Sent decoded, as Explicit VR Little Endian: the PACS does not take them as they are."
        notes.append(_note("decoded", detail, decoded))
    return notes


def of_the_identity(changes: Changes, count: int) -> Note:
    """What the PACS made of the patient's details. It holds patient data, so it belongs in a row and in no log."""
    told = "; ".join(f"{LABELS[c.keyword]} “{c.was}” is “{c.shown}” there" for c in changes.changes)
    code = "identity_changed" if changes.mismatch else "details_changed"
    return _note(
        code, f"The PACS changed the patient's details: {told}." if told else "The PACS changed details.", count
    )


def _note(code: str, detail: str, instances: int) -> Note:
    return {"code": code, "detail": detail, "instances": instances}

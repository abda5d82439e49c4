"""A PACS that changed what it stored: whose is the study there, and whose was it when it was sent (rule S15)?"""

import logging

from uploads.dicom.changes import Changes, changed
from uploads.models import Answer, Delivery, Study
from uploads.pacs import doors
from uploads.pacs.errors import QueryRefused
from uploads.pipeline import addressing

logger = logging.getLogger(__name__)

COERCED = 0xB000


def look(delivery: Delivery) -> tuple[Changes, int] | None:
    """What the PACS shows otherwise than it was sent, and of how many images it said so; None where there is nothing.

    Raises PeerError, AddressError where it should be asked again later.
    """
    count = delivery.entries.filter(answer=Answer.CHANGED, status=COERCED).count()
    if not count:
        return None
    try:
        found = doors.find_study(addressing.asked_at(delivery.destination), delivery.study.study_instance_uid)
    except QueryRefused:
        return None  # it said that it changed something, and that stays told
    if found is None:
        return None
    changes = changed(_as_sent(delivery.study), found.values, doubtful=found.doubtful or found.ambiguous)
    if changes.mismatch:
        logger.error("the PACS shows the study under another identity")
    return (changes, count) if changes.changes else None


def _as_sent(study: Study) -> dict[str, str]:
    return {
        "PatientID": study.patient_id,
        "IssuerOfPatientID": study.issuer,
        "PatientName": study.patient_name,
        "PatientBirthDate": study.birth_date,
        "PatientSex": study.sex,
        "StudyInstanceUID": study.study_instance_uid,
        "AccessionNumber": study.accession_number,
    }

"""Was this study handed in before? Asked only within the clinic, at creation and again at validation."""

from collections.abc import Iterable, Mapping
from typing import Any

from accounts.models import Clinic
from relaypacs.errors import WrongState
from uploads.models import Instance, Study, Upload
from uploads.pipeline.manifest import Manifest
from uploads.states import UploadState

# An earlier upload in one of these has brought, or is bringing, the study to a PACS.
COUNTS = (UploadState.DELIVERING, UploadState.DELIVERED, UploadState.VERIFIED)

SENTENCES = {
    "same": "These images were handed in before.",
    "partial": "Some of these images were handed in before.",
    "different": "Other images of this study were handed in before.",
}


def refuse_known(clinic: Clinic, manifest: Manifest) -> None:
    """Raises WrongState duplicate_study, with the earlier upload, unless the client said it knows."""
    if manifest.allow_duplicate:
        return
    for study in manifest.studies:
        uid = str(study["study_instance_uid"])
        found = find(clinic, uid, [str(i["sop_instance_uid"]) for i in study.get("instances", ())])
        if found is not None:
            earlier, kind = found
            raise WrongState("duplicate_study", SENTENCES[kind], extra={"upload_id": str(earlier.pk), "kind": kind})


def find(
    clinic: Clinic, study_instance_uid: str, sop_instance_uids: Iterable[str], *, besides: Upload | None = None
) -> tuple[Upload, str] | None:
    """The newest upload of this clinic that brought this study, and how it compares: same, partial or different."""
    studies = Study.objects.filter(
        study_instance_uid=study_instance_uid, upload__clinic=clinic, upload__state__in=COUNTS
    ).select_related("upload")
    if besides is not None:
        studies = studies.exclude(upload=besides)
    newest = studies.order_by("-upload__created_at").first()
    if newest is None:
        return None
    wanted = set(sop_instance_uids)
    known = set(
        Instance.objects.filter(study__in=studies, sop_instance_uid__in=wanted).values_list(
            "sop_instance_uid", flat=True
        )
    )
    if wanted and known == wanted:
        return newest.upload, "same"
    return newest.upload, "partial" if known else "different"


def declared(upload: Upload) -> Mapping[str, Any]:
    """What the client said about each study at creation, by StudyInstanceUID."""
    return {str(study["study_instance_uid"]): study for study in upload.declared_instances or ()}

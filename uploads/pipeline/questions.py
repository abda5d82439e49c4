"""What only a person may decide: the holds that a hand-in raises, minus those already answered."""

from collections.abc import Iterable, Sequence

from django.db import connection
from django.db.models import Prefetch, Q

from uploads.dicom.codes import SENTENCES
from uploads.dicom.identity import Identity, Match, compare
from uploads.dicom.study import Verdict
from uploads.models import KEPT, Answer, Hold, Instance, Study, Upload
from uploads.pipeline import duplicates
from uploads.states import UploadState

# Instances of an earlier upload in one of these may be at a PACS: their identifiers are taken (rules S3, S4).
TAKEN = (UploadState.DELIVERING, UploadState.DELIVERED, UploadState.VERIFIED, UploadState.FAILED)
MAYBE_THERE = (*KEPT, Answer.SENDING, Answer.UNKNOWN)


def one_at_a_time(upload: Upload) -> None:
    """Until this transaction ends nobody else asks about these studies: of two uploads of one, one sees the other.

    Locks in the order of the UIDs, so that two uploads never wait for each other.
    """
    uids = sorted(upload.studies.values_list("study_instance_uid", flat=True))
    with connection.cursor() as cursor:
        for uid in uids:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [uid])


def open_questions(
    upload: Upload,
    *,
    looked_bad: Sequence[int],
    verdict: Verdict,
    altered: Sequence[Instance] = (),
    among: Sequence[Instance] | None = None,
) -> list[Hold]:
    """The holds that stand between this upload and delivery; empty when nothing is left to ask.

    Args:
        altered: instances that were relayed early and have other bytes now.
        among: ask about these instances only; about the others it was asked before.
    """
    instances = upload.instances.all() if among is None else upload.instances.filter(pk__in=[i.pk for i in among])
    studies = list(upload.studies.prefetch_related(Prefetch("instances", queryset=instances)))
    asked = [
        *_bad_files(upload, looked_bad),
        *_findings(upload, verdict),
        *_altered(upload, altered),
        *_batch(upload, verdict, studies),
        *(hold for study in studies for hold in _about_study(upload, study)),
    ]
    answered = {_mark(hold) for hold in upload.holds.filter(decision="proceed")}
    unasked: dict[tuple[str, str], Hold] = {}
    for hold in asked:
        if _mark(hold) not in answered:
            unasked.setdefault((hold.code, hold.study_instance_uid), hold)
    return list(unasked.values())


def _mark(hold: Hold) -> tuple[str, str, tuple[int, ...]]:
    """A decision counts for the very question it answered: the same files of the same study."""
    return hold.code, hold.study_instance_uid, tuple(hold.files)


def _hold(upload: Upload, code: str, *, study: str = "", files: Iterable[int] = (), detail: str = "") -> Hold:
    return Hold(
        upload=upload,
        code=code,
        detail=f"{SENTENCES[code]} {detail}".strip(),
        study_instance_uid=study,
        files=sorted(set(files)),
    )


def _bad_files(upload: Upload, bad: Sequence[int]) -> list[Hold]:
    if not bad:
        return []
    return [_hold(upload, "bad_files", files=bad, detail=f"{len(bad)} of {upload.file_count} files.")]


def _findings(upload: Upload, verdict: Verdict) -> list[Hold]:
    """What the hand-in shows by itself: two identities in a study, an identifier used twice, or moved."""
    return [
        _hold(upload, finding.code, study=finding.study_instance_uid, files=finding.indices, detail=finding.detail)
        for finding in verdict.findings
        if finding.code != "several_patients"
    ]


def _altered(upload: Upload, altered: Sequence[Instance]) -> list[Hold]:
    if not altered:
        return []
    detail = "They changed after a PACS had got them."
    return [_hold(upload, "uid_reused", files=[instance.file_index for instance in altered], detail=detail)]


def _batch(upload: Upload, verdict: Verdict, studies: Sequence[Study]) -> list[Hold]:
    """Batch mode: several patients in one hand-in, each study confirmed by itself (rule S1)."""
    if "several_patients" not in verdict.codes:
        return []
    return [
        _hold(upload, "several_patients", study=study.study_instance_uid, files=_files(study.instances.all()))
        for study in studies
    ]


def _about_study(upload: Upload, study: Study) -> list[Hold]:
    holds = [*_identity(upload, study), *_seen_before(upload, study)]
    if not upload.allow_duplicate:
        uids = [instance.sop_instance_uid for instance in study.instances.all()]
        found = duplicates.find(upload.clinic, study.study_instance_uid, uids, besides=upload)
        if found is not None:
            earlier, kind = found
            detail = f"{duplicates.SENTENCES[kind]} See upload {earlier.pk}."
            holds.append(_hold(upload, "duplicate_study", study=study.study_instance_uid, detail=detail))
    return holds


def _identity(upload: Upload, study: Study) -> list[Hold]:
    """Whom the clinic expects against whom the headers name (rule S2)."""
    if not upload.expected_patient:
        return []
    wanted = upload.expected_patient
    expected = Identity(wanted.get("id", ""), "", wanted.get("name", ""), wanted.get("birth_date", ""), "")
    found = Identity(study.patient_id, study.issuer, study.patient_name, study.birth_date, study.sex)
    match = compare(expected, found)
    if match is Match.MATCH:
        return []
    code = "identity_near" if match is Match.NEAR else "identity_mismatch"
    return [_hold(upload, code, study=study.study_instance_uid)]


def _taken() -> Q:
    """An upload that was cancelled, or is still received, counts for what has gone out of it."""
    return Q(upload__state__in=TAKEN) | Q(entries__answer__in=MAYBE_THERE)


def _seen_before(upload: Upload, study: Study) -> list[Hold]:
    """The ledger's view: an identifier that stands for other bytes, or stood in another place (rules S3, S4)."""
    mine = {instance.sop_instance_uid: instance for instance in study.instances.all()}
    reused, moved = set(), set()
    earlier = (
        Instance.objects.filter(_taken(), sop_instance_uid__in=list(mine))
        .exclude(upload=upload)
        .select_related("study")
        .distinct()
    )
    for other in earlier.iterator():
        instance = mine[other.sop_instance_uid]
        if other.dataset_sha256 != instance.dataset_sha256:
            reused.add(instance.file_index)
        if (other.series_instance_uid, other.study.study_instance_uid) != (
            instance.series_instance_uid,
            study.study_instance_uid,
        ):
            moved.add(instance.file_index)
    moved |= _series_elsewhere(upload, study)
    uid = study.study_instance_uid
    holds = [_hold(upload, "uid_reused", study=uid, files=reused)] if reused else []
    return holds + ([_hold(upload, "uid_moved", study=uid, files=moved)] if moved else [])


def _series_elsewhere(upload: Upload, study: Study) -> set[int]:
    """Files whose SeriesInstanceUID was delivered under another study."""
    series = {instance.series_instance_uid for instance in study.instances.all()}
    elsewhere = set(
        Instance.objects.filter(_taken(), series_instance_uid__in=series)
        .exclude(upload=upload)
        .exclude(study__study_instance_uid=study.study_instance_uid)
        .values_list("series_instance_uid", flat=True)
        .distinct()
    )
    return {i.file_index for i in study.instances.all() if i.series_instance_uid in elsewhere}


def _files(instances: Iterable[Instance]) -> list[int]:
    return [instance.file_index for instance in instances]

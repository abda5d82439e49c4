"""Third leg: is it whole, and does it belong to one patient? Nothing leaves for a PACS before both are answered.

Foreign bytes are read in a fenced child process; this side sees verdicts. What only a person may decide becomes a hold;
decisions taken before are honoured when the leg runs again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from relaypacs.errors import Rejected
from uploads.dicom import required
from uploads.dicom.burned_in import burned_in_candidate
from uploads.dicom.codes import SENTENCES
from uploads.dicom.fence import Limits, Slice, inspect_fenced
from uploads.dicom.header import Header
from uploads.dicom.inspect import Inspection
from uploads.dicom.study import Found, Verdict, judge
from uploads.models import Destination, FileStatus, Hold, Instance, Study, Upload, UploadFile
from uploads.pipeline import dispatch, questions, settling
from uploads.pipeline.assembly import dataset_digest
from uploads.pipeline.keeper import Keeper
from uploads.selectors import search_words
from uploads.states import UploadState
from uploads.storage import pack_of

logger = logging.getLogger(__name__)

STATUS = {"dicom": FileStatus.ACCEPTED, "ignored": FileStatus.IGNORED, "rejected": FileStatus.REJECTED}
NOT_LOOKED_AT = (FileStatus.EXCLUDED,)


@dataclass(frozen=True)
class Looked:
    """One file with what the fenced child said of it."""

    file: UploadFile
    inspection: Inspection


def validate(upload: Upload, keeper: Keeper) -> None:
    """Moves to delivering, held or rejected."""
    looked = _look(upload, keeper)
    bad = _bad(upload, looked)
    good = [one for one in looked if one.inspection.verdict == "dicom" and one.file.status == FileStatus.ACCEPTED]
    verdict = judge([_found(one) for one in good])
    keeper.check()
    with transaction.atomic():
        upload.guard()
        files = [one.file for one in looked]
        UploadFile.objects.bulk_update(
            files, ["status", "problem_code", "problem_detail", "dataset_sha256"], batch_size=1000
        )
        if not good:
            _reject_empty(upload)
            return
        if "several_patients" in verdict.codes and not upload.clinic.batch_mode:
            settling.end(upload, UploadState.REJECTED, code="several_patients", detail=SENTENCES["several_patients"])
            return
        _write_studies(upload, good, verdict)
        questions.one_at_a_time(upload)
        asked = questions.open_questions(upload, looked_bad=bad, verdict=verdict)
        if asked:
            Hold.objects.bulk_create(asked)
            upload.move(UploadState.HELD, because=", ".join(sorted({hold.code for hold in asked})))
        else:
            dispatch.dispatch(upload)


def _look(upload: Upload, keeper: Keeper) -> list[Looked]:
    """Has every file read in the fenced child. Files of a wrong digest are refused whatever is in them."""
    files = {file.index: file for file in upload.files.exclude(status__in=NOT_LOOKED_AT).order_by("index")}
    slices = [Slice(f.index, f.offset, f.size, f.name) for f in files.values() if f.problem_code != "digest_mismatch"]
    pack = pack_of(upload.pk)
    limits = Limits(memory=settings.INSPECT_MEMORY_BYTES)
    asked = required.asked_for(Destination.objects.values_list("required_tags", flat=True))
    looked = []
    with pack.open() as fd:
        for index, inspection in inspect_fenced(pack.path, slices, limits=limits, asked=asked):
            keeper.check()
            looked.append(Looked(_noted(files[index], inspection, fd), inspection))
    return looked


def _noted(file: UploadFile, inspection: Inspection, fd: int) -> UploadFile:
    file.status = STATUS[inspection.verdict]
    file.problem_code = inspection.code or ""
    file.problem_detail = inspection.detail if inspection.code else ""
    if inspection.verdict == "dicom" and inspection.dataset_offset != file.dataset_start:
        file.dataset_start = inspection.dataset_offset
        file.dataset_sha256 = dataset_digest(fd, file.offset + inspection.dataset_offset, inspection.dataset_size)
    return file


def _header(one: Looked) -> Header:
    if one.inspection.header is None:
        raise Rejected("meta_mismatch", SENTENCES["meta_mismatch"])
    return one.inspection.header


def _found(one: Looked) -> Found:
    return Found(one.file.index, _header(one), one.file.dataset_sha256)


def _bad(upload: Upload, looked: Sequence[Looked]) -> list[int]:
    """Files that cannot be used: by what is in them, or because they are not what was declared."""
    altered = upload.files.filter(status=FileStatus.REJECTED, problem_code="digest_mismatch")
    found = {one.file.index for one in looked if one.file.status == FileStatus.REJECTED}
    return sorted(found | set(altered.values_list("index", flat=True)))


def _reject_empty(upload: Upload) -> None:
    """Nothing can be relayed. When all that was wrong is one thing, the upload says that thing."""
    codes = set(upload.files.filter(status=FileStatus.REJECTED).values_list("problem_code", flat=True))
    code = codes.pop() if len(codes) == 1 else "no_dicom"
    settling.end(upload, UploadState.REJECTED, code=code, detail=SENTENCES[code])


def _write_studies(upload: Upload, good: Sequence[Looked], verdict: Verdict) -> None:
    """The studies and instances found; a run before this one may have written them already."""
    upload.instances.all().delete()
    upload.studies.all().delete()
    by_index = {one.file.index: one for one in good}
    seen: set[str] = set()
    for card in verdict.studies:
        members = [one for one in map(by_index.__getitem__, card.indices) if _first_of_its_uid(one, seen)]
        if not members:
            continue
        study = _study(upload, members)
        study.save()
        Instance.objects.bulk_create([_instance(study, one) for one in members], batch_size=1000)


def _first_of_its_uid(one: Looked, seen: set[str]) -> bool:
    """A UID that stands for two images raises a hold; until it is answered only the first has a row."""
    uid = _header(one).sop_instance_uid
    known = uid in seen
    seen.add(uid)
    return not known


def _study(upload: Upload, members: Sequence[Looked]) -> Study:
    headers = [_header(one) for one in members]
    first = headers[0]
    words = [first.patient_name, first.patient_id, first.accession_number, first.study_description]
    return Study(
        upload=upload,
        study_instance_uid=first.study_instance_uid,
        patient_id=first.patient_id[:80],
        issuer=first.issuer[:80],
        patient_name=first.patient_name[:400],
        birth_date=first.birth_date[:16],
        sex=first.sex[:16],
        study_date=first.study_date[:16],
        description=first.study_description[:200],
        accession_number=first.accession_number[:80],
        modalities=sorted({h.modality[:16] for h in headers if h.modality}),
        series_count=len({h.series_instance_uid for h in headers}),
        instance_count=len(members),
        search_text=" ".join(search_words(" ".join(words))),
    )


def _instance(study: Study, one: Looked) -> Instance:
    header = _header(one)
    return Instance(
        upload=study.upload,
        study=study,
        file=one.file,
        file_index=one.file.index,
        sop_class_uid=header.sop_class_uid,
        sop_instance_uid=header.sop_instance_uid,
        series_instance_uid=header.series_instance_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        modality=header.modality[:16],
        dataset_offset=one.file.offset + one.inspection.dataset_offset,
        dataset_size=one.inspection.dataset_size,
        dataset_sha256=one.file.dataset_sha256,
        burned_in=burned_in_candidate(header),
        missing_tags=required.keywords_of(one.inspection.missing),
    )

"""What is in the files of an upload, read by the fenced child, and the rows of the studies found there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.conf import settings

from relaypacs.errors import Rejected
from uploads.dicom import required
from uploads.dicom.burned_in import burned_in_candidate
from uploads.dicom.codes import SENTENCES
from uploads.dicom.fence import Inspector, Limits, Slice
from uploads.dicom.header import Header
from uploads.dicom.inspect import Inspection
from uploads.dicom.study import Found
from uploads.models import Destination, FileStatus, Instance, Study, Upload, UploadFile
from uploads.pipeline.assembly import dataset_digest
from uploads.selectors import search_words
from uploads.storage import pack_of

STATUS = {"dicom": FileStatus.ACCEPTED, "ignored": FileStatus.IGNORED, "rejected": FileStatus.REJECTED}


@dataclass(frozen=True)
class Looked:
    """One file with what the fenced child said of it."""

    file: UploadFile
    inspection: Inspection

    @property
    def header(self) -> Header:
        if self.inspection.header is None:
            raise Rejected("meta_mismatch", SENTENCES["meta_mismatch"])
        return self.inspection.header

    @property
    def found(self) -> Found:
        return Found(self.file.index, self.header, self.file.dataset_sha256)


def inspector(upload: Upload) -> Inspector:
    """A fenced child over this upload's pack, for as many files as are to be looked at; use as a context manager."""
    asked = required.asked_for(Destination.objects.values_list("required_tags", flat=True))
    return Inspector(pack_of(upload.pk).path, Limits(memory=settings.INSPECT_MEMORY_BYTES), asked)


def look(files: Sequence[UploadFile], through: Inspector, fd: int) -> Iterator[Looked]:
    """Each file with its verdict noted in its row, which is not saved here. `fd` is of the same pack."""
    by_index = {file.index: file for file in files}
    slices = [Slice(file.index, file.offset, file.size, file.name) for file in files]
    for index, inspection in through.inspect(slices):
        yield Looked(_noted(by_index[index], inspection, fd), inspection)


def _noted(file: UploadFile, inspection: Inspection, fd: int) -> UploadFile:
    file.status = STATUS[inspection.verdict]
    file.problem_code = inspection.code or ""
    file.problem_detail = inspection.detail if inspection.code else ""
    if inspection.verdict == "dicom" and inspection.dataset_offset != file.dataset_start:
        file.dataset_start = inspection.dataset_offset
        file.dataset_sha256 = dataset_digest(fd, file.offset + inspection.dataset_offset, inspection.dataset_size)
    return file


def first_of_each_uid(members: Sequence[Looked], seen: set[str]) -> list[Looked]:
    """A UID that stands for two images raises a hold; until it is answered only the first has a row."""
    first = []
    for one in members:
        uid = one.header.sop_instance_uid
        if uid not in seen:
            first.append(one)
            seen.add(uid)
    return first


def describe(study: Study, members: Sequence[Looked]) -> Study:
    """The study's card, from the headers of all that was found of it."""
    headers = [one.header for one in members]
    first = headers[0]
    words = [first.patient_name, first.patient_id, first.accession_number, first.study_description]
    study.patient_id = first.patient_id[:80]
    study.issuer = first.issuer[:80]
    study.patient_name = first.patient_name[:400]
    study.birth_date = first.birth_date[:16]
    study.sex = first.sex[:16]
    study.study_date = first.study_date[:16]
    study.description = first.study_description[:200]
    study.accession_number = first.accession_number[:80]
    study.modalities = sorted({header.modality[:16] for header in headers if header.modality})
    study.series_count = len({header.series_instance_uid for header in headers})
    study.instance_count = len(members)
    study.search_text = " ".join(search_words(" ".join(words)))
    return study


def instance_of(study: Study, one: Looked) -> Instance:
    header = one.header
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

"""Third leg: is it whole, and does it belong to one patient? Nothing leaves for a PACS before both are answered.

Foreign bytes are read in a fenced child process; this side sees verdicts. What only a person may decide becomes a hold;
decisions taken before are honoured when the leg runs again. What a destination got while the upload was still received
(uploads.pipeline.early) has its rows already: they are kept, and no more goes out until all of it has passed.
"""

from collections.abc import Collection, Sequence

from django.db import transaction

from uploads.dicom.codes import SENTENCES
from uploads.dicom.study import Verdict, judge
from uploads.models import FileStatus, Hold, Instance, Study, Upload, write_columns
from uploads.pipeline import dispatch, early, looking, questions, settling
from uploads.pipeline.keeper import Keeper
from uploads.pipeline.looking import Looked
from uploads.states import UploadState
from uploads.storage import pack_of


def validate(upload: Upload, keeper: Keeper) -> None:
    """Moves to delivering, held or rejected."""
    looked = _look(upload, keeper)
    bad = _bad(upload, looked)
    good = [one for one in looked if one.inspection.verdict == "dicom" and one.file.status == FileStatus.ACCEPTED]
    verdict = judge([one.found for one in good])
    keeper.check()
    with transaction.atomic():
        upload.guard()
        files = [one.file for one in looked]
        write_columns(files, ["status", "problem_code", "problem_detail", "dataset_start", "dataset_sha256"])
        if not good:
            early.halt(upload)
            _reject_empty(upload)
            return
        if "several_patients" in verdict.codes and not upload.clinic.batch_mode:
            early.halt(upload)
            settling.end(upload, UploadState.REJECTED, code="several_patients", detail=SENTENCES["several_patients"])
            return
        altered = _write_studies(upload, good, verdict)
        questions.one_at_a_time(upload)
        asked = questions.open_questions(upload, looked_bad=bad, verdict=verdict, altered=altered)
        if asked:
            early.halt(upload)
            Hold.objects.bulk_create(asked)
            upload.move(UploadState.HELD, because=", ".join(sorted({hold.code for hold in asked})))
        else:
            dispatch.dispatch(upload)
            if upload.state != UploadState.DELIVERING:
                early.halt(upload)


def _look(upload: Upload, keeper: Keeper) -> list[Looked]:
    """Has every file read in the fenced child. Files of a wrong digest are refused whatever is in them."""
    files = upload.files.exclude(status=FileStatus.EXCLUDED).order_by("index")
    readable = [file for file in files if file.problem_code != "digest_mismatch"]
    looked = []
    with pack_of(upload.pk).open() as fd, looking.inspector(upload) as through:
        for one in looking.look(readable, through, fd):
            keeper.check()
            looked.append(one)
    return looked


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


def _write_studies(upload: Upload, good: Sequence[Looked], verdict: Verdict) -> list[Instance]:
    """The studies and instances found. Answers those that went out early with other bytes than there are now."""
    kept = early.keep_what_went_out(upload, {one.file.index for one in good})
    by_index = {one.file.index: one for one in good}
    altered = [
        instance
        for instance in kept.values()
        if (now := by_index.get(instance.file_index)) and now.file.dataset_sha256 != instance.dataset_sha256
    ]
    seen: set[str] = set()
    for card in verdict.studies:
        members = looking.first_of_each_uid([by_index[index] for index in card.indices], seen)
        if members:
            _write_study(upload, members, kept.keys())
    return altered


def _write_study(upload: Upload, members: Sequence[Looked], known: Collection[str]) -> None:
    uid = members[0].header.study_instance_uid
    study = upload.studies.filter(study_instance_uid=uid).first() or Study(upload=upload, study_instance_uid=uid)
    looking.describe(study, members).save()
    new = [one for one in members if one.header.sop_instance_uid not in known]
    Instance.objects.bulk_create([looking.instance_of(study, one) for one in new], batch_size=1000)

"""Images that a PACS takes decoded only: made once beside the pack, proved, and sent as what they are (rule S6)."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from uploads.dicom.fence import Limits, Slice, inspect_fenced
from uploads.dicom.meta import file_meta
from uploads.dicom.transcode import EXPLICIT, Encoded, NoSpace, TranscodeFailed, Transcoder
from uploads.models import Instance, Upload
from uploads.pipeline.assembly import dataset_digest
from uploads.storage import DerivedFile, StorageFull, pack_of


@dataclass(frozen=True, slots=True)
class Derived:
    """A Part 10 file of ours; its data set, as it goes over the wire, is `size` bytes from `offset`."""

    path: Path
    offset: int
    size: int
    sha256: str


def _nothing() -> None:
    return None


def transcoder_of(upload: Upload) -> Transcoder:
    """For `derive`; one for all instances of a delivery, because a process is started behind it."""
    return Transcoder(pack_of(upload.pk).path)


def derive(instance: Instance, transcoder: Transcoder, *, on_frame: Callable[[], None] = _nothing) -> Derived:
    """The instance decoded, as Explicit VR Little Endian under its own UID; what was made before is used again.

    `on_frame` is called while it is decoded, to look after the lease. Raises TranscodeFailed where it cannot be had,
    StorageFull and StorageFailed, and OSError where the pack cannot be read.
    """
    file = DerivedFile(instance.upload_id, instance.pk)
    head = file_meta(instance.sop_class_uid, instance.sop_instance_uid, EXPLICIT)
    if not file.exists():
        _make(file, instance, transcoder, head=head, on_frame=on_frame)
    return _described(file.path, len(head))


def _make(
    file: DerivedFile, instance: Instance, transcoder: Transcoder, *, head: bytes, on_frame: Callable[[], None]
) -> None:
    encoded = Encoded(instance.dataset_offset, instance.dataset_size, instance.transfer_syntax_uid)
    with file.making() as (fd, part):
        os.write(fd, head)
        try:
            transcoder.write(encoded, fd, on_frame=on_frame)
        except NoSpace as error:
            raise StorageFull from error
        _prove(part, instance, len(head))


def _prove(part: Path, instance: Instance, offset: int) -> None:
    """The decoder read foreign bytes, so what it wrote is looked at as anything that a clinic hands in."""
    slices = [Slice(0, 0, part.stat().st_size, "derived")]
    [(_, found)] = inspect_fenced(part, slices, limits=Limits(memory=settings.INSPECT_MEMORY_BYTES))
    header = found.header
    if found.verdict != "dicom" or header is None or found.dataset_offset != offset:
        raise TranscodeFailed("image_undecodable")
    names = (header.sop_class_uid, header.sop_instance_uid, header.series_instance_uid, header.study_instance_uid)
    ours = (instance.sop_class_uid, instance.sop_instance_uid, instance.series_instance_uid)
    if names != (*ours, instance.study.study_instance_uid):
        raise TranscodeFailed("image_undecodable")


def described(instance: Instance) -> Derived:
    """What was derived of it before. Raises FileNotFoundError where nothing was."""
    head = file_meta(instance.sop_class_uid, instance.sop_instance_uid, EXPLICIT)
    path = DerivedFile(instance.upload_id, instance.pk).path
    return Derived(path, len(head), path.stat().st_size - len(head), "")


def _described(path: Path, offset: int) -> Derived:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size - offset
        return Derived(path, offset, size, dataset_digest(file.fileno(), offset, size))

"""First leg without script: a form's whole files go through the same verbs as the chunks of a page."""

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Sequence

from django.core.files.uploadedfile import UploadedFile

from accounts.models import User
from relaypacs.errors import RelayError
from uploads.models import Upload
from uploads.pipeline import intake, manifest
from uploads.storage import RangeBusy, lock_range, pack_of, write_at


def take_whole_files(
    user: User,
    files: Sequence[UploadedFile],
    *,
    clinic_id: uuid.UUID | None,
    service_level: str,
    clinical_history: str,
) -> Upload:
    """Opens an upload for these files, puts their bytes into its pack chunk by chunk, and seals it.

    Memory: one chunk. Raises what `intake` raises.
    """
    wanted = manifest.read(
        {
            "files": [{"name": file.name or "file", "size": file.size or 0} for file in files],
            "service_level": service_level,
            "clinical_history": clinical_history,
        }
    )
    upload, _ = intake.open_upload(user, wanted, clinic_id=clinic_id)
    for index, octets in enumerate(_chunks(files, upload.chunk_size)):
        _put(upload, index, octets)
    return intake.complete(upload)


def _chunks(files: Iterable[UploadedFile], size: int) -> Iterator[bytes]:
    """The files laid end to end, cut into pieces of `size` bytes."""
    held = bytearray()
    for file in files:
        for octets in file.chunks():
            held += octets
            while len(held) >= size:
                yield bytes(held[:size])
                del held[:size]
    if held:
        yield bytes(held)


def _put(upload: Upload, index: int, octets: bytes) -> None:
    digest = hashlib.sha256(octets)
    offset, length = upload.chunk_span(index)
    if len(octets) != length:
        raise RelayError("chunk_length", "A file was shorter or longer than announced; please try again.", status=400)
    ticket = intake.Ticket(upload.pk, index, offset, length, digest.hexdigest())
    with pack_of(upload.pk).open(write=True) as fd:
        try:
            lock_range(fd, offset, length)
        except RangeBusy:
            raise intake.busy() from None
        write_at(fd, octets, offset)
        intake.acknowledge(ticket)

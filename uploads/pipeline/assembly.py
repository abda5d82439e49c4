"""Second leg: one pass over the pack proves every chunk again and finds the digest of every file and data set.

Nothing is copied: a file is a span of the pack. What no longer has the digest it was acknowledged with is asked for
again.
"""

import hashlib
import os
from collections.abc import Iterator

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from relaypacs.errors import Rejected
from uploads.dicom.codes import SENTENCES
from uploads.models import Chunk, FileStatus, Upload, UploadFile
from uploads.pipeline.keeper import Keeper
from uploads.states import UploadState
from uploads.storage import pack_of

READ = 1024 * 1024
_PREAMBLE, _GROUP_LENGTH = 128, b"\x02\x00\x00\x00UL\x04\x00"


def assemble(upload: Upload, keeper: Keeper) -> None:
    """Moves to validating; or back to receiving where chunks are damaged."""
    files = list(upload.files.order_by("index"))
    with pack_of(upload.pk).open() as fd:
        damaged = _pass(upload, files, fd, keeper)
    if damaged:
        _ask_again(upload, damaged)
        return
    with transaction.atomic():
        upload.guard()
        UploadFile.objects.bulk_update(
            files,
            ["sha256", "dataset_start", "dataset_sha256", "status", "problem_code", "problem_detail"],
            batch_size=1000,
        )
        upload.move(UploadState.VALIDATING, due_at=timezone.now())


def _pass(upload: Upload, files: list[UploadFile], fd: int, keeper: Keeper) -> list[Chunk]:
    """Reads the pack once, from end to end: fills in the digests of the files, answers the chunks that are damaged."""
    damaged = []
    digests = _FileDigests(files, fd)
    for chunk in upload.chunks.order_by("index"):
        keeper.check()
        sha256 = hashlib.sha256()
        for piece in _pieces(fd, *upload.chunk_span(chunk.index)):
            sha256.update(piece)
            digests.take(piece)
        if sha256.hexdigest() != chunk.sha256:
            damaged.append(chunk)
    digests.finish()
    return damaged


class _FileDigests:
    """Cuts the stream of the pack into its files, and finds each file's digest and its data set's."""

    def __init__(self, files: list[UploadFile], fd: int) -> None:
        self._files = iter(files)
        self._fd = fd
        self._position = 0
        self._next()

    def take(self, piece: memoryview) -> None:
        while piece:
            while self._file is not None and self._file.offset + self._file.size <= self._position:
                self._close()
            if self._file is None:
                return
            here = piece[: self._file.offset + self._file.size - self._position]
            self._update(here, self._position - self._file.offset)
            self._position += len(here)
            piece = piece[len(here) :]

    def finish(self) -> None:
        while self._file is not None:
            self._close()

    def _update(self, data: memoryview, position: int) -> None:
        self._whole.update(data)
        if self._start and position + len(data) > self._start:
            self._dataset.update(data[max(0, self._start - position) :])

    def _next(self) -> None:
        self._file = next(self._files, None)
        self._whole, self._dataset, self._start = hashlib.sha256(), hashlib.sha256(), 0
        if self._file is not None:
            head = os.pread(self._fd, _PREAMBLE + 16, self._file.offset)[: self._file.size]
            self._start = _dataset_start(head, self._file.size)

    def _close(self) -> None:
        file = self._file
        if file is None:
            return
        file.sha256 = self._whole.hexdigest()
        file.dataset_start = self._start
        file.dataset_sha256 = self._dataset.hexdigest() if self._start else ""
        if file.declared_sha256 and file.declared_sha256 != file.sha256:
            file.status, file.problem_code = FileStatus.REJECTED, "digest_mismatch"
            file.problem_detail = SENTENCES["digest_mismatch"]
        self._next()


def _ask_again(upload: Upload, damaged: list[Chunk]) -> None:
    size = sum(upload.chunk_span(chunk.index)[1] for chunk in damaged)
    with transaction.atomic():
        upload.guard()
        Chunk.objects.filter(pk__in=[chunk.pk for chunk in damaged]).delete()
        Upload.objects.filter(pk=upload.pk).update(received_bytes=F("received_bytes") - size)
        upload.move(UploadState.RECEIVING, because=f"{len(damaged)} parts were damaged on disk and are asked for again")


def _dataset_start(head: bytes, size: int) -> int:
    """Where the data set begins in a Part 10 file (PS3.10, 7.1), 0 where its head does not say."""
    if head[_PREAMBLE : _PREAMBLE + 12] != b"DICM" + _GROUP_LENGTH:
        return 0
    start = _PREAMBLE + 16 + int.from_bytes(head[_PREAMBLE + 12 : _PREAMBLE + 16], "little")
    return start if start < min(size, 2**31) else 0


def dataset_digest(fd: int, offset: int, size: int) -> str:
    """SHA-256 of a data set whose start the file's head did not say."""
    return _sha256(fd, offset, size)


def _sha256(fd: int, offset: int, length: int) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(fd, offset, length):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(fd: int, offset: int, length: int) -> Iterator[memoryview]:
    """The span in pieces of at most READ bytes, through one buffer."""
    buffer = bytearray(min(READ, max(length, 1)))
    view = memoryview(buffer)
    end = offset + length
    while offset < end:
        count = os.preadv(fd, [view[: min(len(buffer), end - offset)]], offset)
        if count == 0:
            raise Rejected("truncated", "The stored upload is shorter than what was received; please hand it in again.")
        yield view[:count]
        offset += count

"""Second leg: one pass over the pack proves every octet again and finds the digest of every file and data set.

Nothing is copied: a file is a span of the pack. What no longer has the digest it was acknowledged with is asked for
again.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from relaypacs.errors import Rejected
from uploads.dicom.codes import SENTENCES
from uploads.models import Chunk, FileStatus, Upload, UploadFile, write_columns
from uploads.pipeline.keeper import Keeper
from uploads.states import UploadState
from uploads.storage import pack_of

READ = 1024 * 1024
HANDS = 2
LARGE = 32 * 1024 * 1024  # bytes
_PREAMBLE, _GROUP_LENGTH = 128, b"\x02\x00\x00\x00UL\x04\x00"


def assemble(upload: Upload, keeper: Keeper) -> None:
    """Moves to validating; or back to receiving where chunks are damaged."""
    files = list(upload.files.order_by("index"))
    chunks = list(upload.chunks.order_by("index"))
    with pack_of(upload.pk).open() as fd:
        damaged = _pass(upload, files, chunks, fd=fd, keeper=keeper)
    if damaged:
        _ask_again(upload, damaged)
        return
    with transaction.atomic():
        upload.guard()
        write_columns(files, ["sha256", "dataset_start", "dataset_sha256", "status", "problem_code", "problem_detail"])
        upload.move(UploadState.VALIDATING, due_at=timezone.now())


def _pass(upload: Upload, files: list[UploadFile], chunks: list[Chunk], *, fd: int, keeper: Keeper) -> list[Chunk]:
    """Fills in the digests of the files, each read once; answers the chunks that are damaged.

    A file that has the digest its client declared proves the octets of its chunks, so that these need not be hashed
    once more: only those under files without a digest, or with another one, are.
    """
    with ThreadPoolExecutor(HANDS) as hands:  # hashing leaves the interpreter to the other one
        try:
            for _ in hands.map(partial(digest, fd=fd), [file for file in files if not is_proven(file)]):
                keeper.check()
        except BaseException:
            hands.shutdown(wait=False, cancel_futures=True)
            raise
    suspect = {index for file in files if not is_proven(file) for index in chunks_of(upload, file)}
    damaged = []
    for chunk in chunks:
        keeper.check()
        if chunk.index in suspect and _sha256(fd, *upload.chunk_span(chunk.index)) != chunk.sha256:
            damaged.append(chunk)
    for file in files:
        _judge(file)
    return damaged


def is_proven(file: UploadFile) -> bool:
    """Whether its octets were read and have the digest that its client declared."""
    return bool(file.declared_sha256) and file.sha256 == file.declared_sha256


def chunks_of(upload: Upload, file: UploadFile) -> range:
    """The chunks that hold octets of this file."""
    if not file.size:
        return range(0)
    return range(file.offset // upload.chunk_size, (file.offset + file.size - 1) // upload.chunk_size + 1)


def digest(file: UploadFile, fd: int) -> None:
    """Fills in a file's digest, where its data set begins, and that one's digest.

    A small file is read once for both; of a large one each is found by a hand of its own.
    """
    if file.size > LARGE:
        _digest_large(file, fd)
        return
    start = _dataset_start(os.pread(fd, _PREAMBLE + 16, file.offset)[: file.size], file.size)
    whole, dataset = hashlib.sha256(), hashlib.sha256()
    position = 0
    for piece in pieces(fd, file.offset, file.size):
        whole.update(piece)
        if start and position + len(piece) > start:
            dataset.update(piece[max(0, start - position) :])
        position += len(piece)
    file.sha256 = whole.hexdigest()
    file.dataset_start = start
    file.dataset_sha256 = dataset.hexdigest() if start else ""


def _digest_large(file: UploadFile, fd: int) -> None:
    start = _dataset_start(os.pread(fd, _PREAMBLE + 16, file.offset), file.size)
    with ThreadPoolExecutor(1) as hand:
        dataset = hand.submit(_sha256, fd, file.offset + start, file.size - start) if start else None
        file.sha256 = _sha256(fd, file.offset, file.size)
        file.dataset_start = start
        file.dataset_sha256 = dataset.result() if dataset is not None else ""


def _judge(file: UploadFile) -> None:
    if file.declared_sha256 and file.declared_sha256 != file.sha256:
        file.status, file.problem_code = FileStatus.REJECTED, "digest_mismatch"
        file.problem_detail = SENTENCES["digest_mismatch"]


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
    for piece in pieces(fd, offset, length):
        digest.update(piece)
    return digest.hexdigest()


def pieces(fd: int, offset: int, length: int) -> Iterator[memoryview]:
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

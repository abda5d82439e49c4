"""What a client says it will hand in, checked before a byte is taken."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from relaypacs.errors import Rejected
from uploads.states import ServiceLevel

CHUNK_MIN = 256 * 1024
CHUNK_MAX = 64 * 1024**2
CHUNK_USUAL = 8 * 1024**2
MAX_FILES = 50_000
MAX_NAME = 1024


@dataclass(frozen=True)
class DeclaredFile:
    name: str
    size: int
    sha256: str = ""


@dataclass(frozen=True)
class Manifest:
    """Sizes in bytes; `digest` is the SHA-256 of the request, by which a repeated request is recognised."""

    files: Sequence[DeclaredFile]
    chunk_size: int
    service_level: str
    clinical_history: str
    digest: str
    expected_patient: Mapping[str, str] | None = None
    studies: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    allow_duplicate: bool = False

    @property
    def total_size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def chunk_count(self) -> int:
        return math.ceil(self.total_size / self.chunk_size)


def read(data: Mapping[str, Any]) -> Manifest:
    """A checked manifest from the body of `POST /uploads` (already of the right types).

    Raises:
        Rejected: invalid_manifest, empty_upload, too_large.
    """
    files = [DeclaredFile(file["name"], file["size"], file.get("sha256") or "") for file in data["files"]]
    errors = _errors(files, data.get("chunk_size"))
    if errors:
        raise Rejected("invalid_manifest", "The list of files cannot be used.", extra={"errors": errors})
    manifest = Manifest(
        files=files,
        chunk_size=data.get("chunk_size") or CHUNK_USUAL,
        service_level=data.get("service_level") or ServiceLevel.ROUTINE,
        clinical_history=data.get("clinical_history") or "",
        digest=hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest(),
        expected_patient=data.get("expected_patient"),
        studies=data.get("studies") or (),
        allow_duplicate=bool(data.get("allow_duplicate")),
    )
    if manifest.total_size == 0:
        raise Rejected("empty_upload", "There is nothing in these files; please choose the study's images.")
    if manifest.total_size > settings.MAX_UPLOAD_BYTES:
        limit = settings.MAX_UPLOAD_BYTES / 1024**3
        raise Rejected(
            "too_large",
            f"One upload may hold {limit:.0f} GB at most; please hand in fewer studies at once.",
            status=413,
        )
    return manifest


def _errors(files: Sequence[DeclaredFile], chunk_size: int | None) -> list[dict[str, str]]:
    errors = []
    if not 1 <= len(files) <= MAX_FILES:
        errors.append({"field": "files", "detail": f"There must be 1 to {MAX_FILES} files."})
    if chunk_size is not None and not _is_chunk_size(chunk_size):
        errors.append({"field": "chunk_size", "detail": "It must be a power of two from 262144 to 67108864."})
    for index, file in enumerate(files):
        errors += [{"field": f"files[{index}]", "detail": detail} for detail in _file_errors(file)]
    return errors[:100]


def _is_chunk_size(size: int) -> bool:
    return CHUNK_MIN <= size <= CHUNK_MAX and size & (size - 1) == 0


def _file_errors(file: DeclaredFile) -> list[str]:
    errors = []
    if not 1 <= len(file.name) <= MAX_NAME or "\x00" in file.name:
        errors.append(f"The name must have 1 to {MAX_NAME} characters, and no NUL.")
    if file.size < 0:
        errors.append("The size must not be negative.")
    if file.sha256 and not is_sha256(file.sha256):
        errors.append("sha256 must be 64 hexadecimal digits.")
    return errors


def is_sha256(text: str) -> bool:
    return len(text) == 64 and all(c in "0123456789abcdefABCDEF" for c in text)

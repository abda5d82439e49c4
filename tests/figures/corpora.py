"""The four studies that everything is measured with; made once from a seed, then kept in a scratch folder."""

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy
import pydicom
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, MRImageStorage

from relaypacs.demo.phantom import generate_multiframe, generate_study, uid
from uploads.dicom.inspect import inspect
from uploads.dicom.source import FileSlice

VERSION = 1  # of what this module makes: a new one makes everything anew
SEED = 4100
CHUNK = 8 * 1024**2
SIDE = 3176  # pixels; two bytes each are 20 MB


@dataclass(frozen=True)
class Corpus:
    """One study on disk: as files, and end to end in one `pack`, as the gateway keeps it."""

    name: str
    folder: Path

    @cached_property
    def files(self) -> list[Path]:
        return sorted((self.folder / "files").iterdir())

    @property
    def pack(self) -> Path:
        return self.folder / "pack"

    @cached_property
    def index(self) -> dict[str, Any]:
        """`files`: name, size, sha256, and what a C-STORE needs; `chunks`: digests as in Content-Digest."""
        index: dict[str, Any] = json.loads((self.folder / "index.json").read_text())
        return index

    @property
    def octets(self) -> int:
        return self.pack.stat().st_size

    @property
    def count(self) -> int:
        return len(self.index["files"])

    @property
    def manifest(self) -> dict[str, Any]:
        """The body that opens an upload of it, as our own client would write it."""
        files = [{name: file[name] for name in ("name", "size", "sha256")} for file in self.index["files"]]
        instances = [{"sop_instance_uid": file["sop_instance_uid"]} for file in self.index["files"]]
        studies = [{"study_instance_uid": self.index["study_instance_uid"], "instances": instances}]
        return {"files": files, "studies": studies, "chunk_size": CHUNK, "allow_duplicate": True}

    @property
    def spans(self) -> Iterator[tuple[int, int]]:
        """Offset and size of each file in the pack."""
        return ((file["offset"], file["size"]) for file in self.index["files"])

    @property
    def chunks(self) -> list[tuple[int, int, str]]:
        """Offset, size and digest of each chunk."""
        size = self.octets
        return [
            (number * CHUNK, min(CHUNK, size - number * CHUNK), digest)
            for number, digest in enumerate(self.index["chunks"])
        ]


def corpus(name: str, root: Path) -> Corpus:
    """The corpus of this name; made where it is not there yet, whole or not at all."""
    folder = root / f"corpora-{VERSION}-{SEED}" / name
    if not folder.exists():
        partial = folder.with_name(f".{name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "files").mkdir(parents=True)
        MAKERS[name](partial / "files")
        _index(partial)
        partial.replace(folder)
    return Corpus(name, folder)


def _slices(folder: Path) -> None:
    generate_study(folder, slices=600, rows=512, columns=512, seed=SEED + 1)


def _multiframe(folder: Path) -> None:
    generate_multiframe(folder / "IM00001.dcm", megabytes=500, seed=SEED + 2)


def _projections(folder: Path) -> None:
    """A slice blown up to the size of a projection; a plane painted at that size would take minutes."""
    (template,) = generate_study(folder / "one", slices=1, rows=512, columns=512, seed=SEED + 3)
    dataset = pydicom.dcmread(template)
    shutil.rmtree(template.parent)
    plane = numpy.repeat(numpy.repeat(dataset.pixel_array, 7, axis=0), 7, axis=1)[:SIDE, :SIDE]
    grain = numpy.random.default_rng(SEED)
    dataset.Modality, dataset.Rows, dataset.Columns = "DX", SIDE, SIDE
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    for number in range(1, 41):
        dataset.SOPInstanceUID = pydicom.uid.UID(uid("projection", SEED, number))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.InstanceNumber = number
        dataset.PixelData = (plane ^ grain.integers(0, 16, plane.shape, dtype=plane.dtype)).tobytes()
        dataset.save_as(folder / f"IM{number:05d}.dcm", enforce_file_format=True)


def _small_slices(folder: Path) -> None:
    """The generator writes CT; the two UIDs are of one length, so that the class is exchanged in place."""
    ours, theirs = CTImageStorage.encode() + b"\0", MRImageStorage.encode() + b"\0"
    for path in generate_study(folder, slices=3000, rows=256, columns=256, seed=SEED + 4, modality="MR"):
        head = path.read_bytes()[:1024]
        with path.open("r+b") as file:
            file.write(head.replace(ours, theirs))


MAKERS: dict[str, Callable[[Path], None]] = {
    "a": _slices,
    "b": _multiframe,
    "c": _projections,
    "d": _small_slices,
}


def _index(folder: Path) -> None:
    offset, files, study = 0, [], ""
    with (folder / "pack").open("wb") as pack:
        for path in sorted((folder / "files").iterdir()):
            file, study = _seen(path, offset)
            files.append(file)
            with path.open("rb") as source:
                shutil.copyfileobj(source, pack, 1024 * 1024)
            offset += file["size"]
    chunks = list(_chunk_digests(folder / "pack"))
    index = {"study_instance_uid": study, "files": files, "chunks": chunks}
    (folder / "index.json").write_text(json.dumps(index))


def _seen(path: Path, offset: int) -> tuple[dict[str, Any], str]:
    size = path.stat().st_size
    with path.open("rb") as file:
        found = inspect(FileSlice(file.fileno(), 0, size), name=path.name)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if found.header is None or found.verdict != "dicom":
        raise ValueError(f"{path.name} is not fit to relay: {found.code}")
    facts = {
        "name": path.name,
        "size": size,
        "offset": offset,
        "sha256": digest,
        "sop_class_uid": found.header.sop_class_uid,
        "sop_instance_uid": found.header.sop_instance_uid,
        "transfer_syntax_uid": found.header.transfer_syntax_uid,
        "dataset_offset": offset + found.dataset_offset,
        "dataset_size": found.dataset_size,
    }
    return facts, found.header.study_instance_uid


def _chunk_digests(pack: Path) -> Iterator[str]:
    with pack.open("rb") as file:
        while data := file.read(CHUNK):
            yield f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


@contextmanager
def opened(one: Corpus) -> Iterator[int]:
    """A descriptor of the pack, with its pages in the cache: no side is to wait for the disk."""
    with one.pack.open("rb", buffering=0) as file:
        while file.read(CHUNK):
            pass
        yield file.fileno()

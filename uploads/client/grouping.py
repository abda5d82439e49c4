"""What lies in files, folders and archives, by study; what is left behind, and why."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uploads.client import archive
from uploads.client.local import named
from uploads.client.wire import ClientError
from uploads.dicom.inspect import Inspection, inspect
from uploads.dicom.source import FileSlice


@dataclass
class StudyFiles:
    """One study's files, by path and by the name to hand them in under, with what their headers say.

    `study_instance_uid` is empty for files that should be images and do not say of which study.
    """

    study_instance_uid: str
    files: list[tuple[Path, str]] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)
    modalities: set[str] = field(default_factory=set)

    def add(self, path: Path, name: str, seen: Inspection) -> None:
        self.files.append((path, name))
        if seen.header is not None and seen.verdict == "dicom":
            self.instances.append(seen.header.sop_instance_uid)
            self.modalities.add(seen.header.modality)

    @property
    def size(self) -> int:
        """Bytes, as the files are now; one that has gone is told when it is read."""
        return sum(path.stat().st_size for path, _ in self.files if path.exists())

    @property
    def declared(self) -> list[dict[str, Any]]:
        """The `studies` of the manifest, by which a duplicate is told before anything is sent."""
        if not self.instances:
            return []
        instances = [{"sop_instance_uid": uid} for uid in self.instances]
        return [{"study_instance_uid": self.study_instance_uid, "instances": instances}]


@dataclass
class Grouped:
    """Studies to send, and files that are no part of any, with the reason."""

    studies: list[StudyFiles]
    left_out: list[tuple[str, str, str]]  # name, code, sentence


@contextlib.contextmanager
def group(paths: Sequence[Path]) -> Iterator[Grouped]:
    """Looks into everything; archives are expanded into a scratch folder that lasts as long as the block.

    A damaged image goes with the study it names, or with the only one there is, so that the gateway holds the study
    for a decision; where there are several, such files are handed in by themselves, and the gateway says why not.

    Raises:
        ClientError: nothing_there, unreadable, archive_refused.
    """
    with tempfile.TemporaryDirectory(prefix="relaypacs-archive-") as scratch:
        yield sort_out(_files(paths, Path(scratch)))


def sort_out(files: Iterator[tuple[Path, str]]) -> Grouped:
    """Files by study, in the order they came."""
    studies: dict[str, StudyFiles] = {}
    left_out: list[tuple[str, str, str]] = []
    nameless: list[tuple[Path, str, Inspection]] = []
    for path, name in files:
        seen = look(path, name)
        uid = seen.header.study_instance_uid if seen.header is not None else ""
        if seen.verdict == "ignored" or seen.code == "archive_unsupported":
            left_out.append((name, seen.code or "not_dicom", seen.detail))
        elif uid:
            studies.setdefault(uid, StudyFiles(uid)).add(path, name, seen)
        else:
            nameless.append((path, name, seen))
    for path, name, seen in nameless:
        only = next(iter(studies)) if len(studies) == 1 else ""
        studies.setdefault(only, StudyFiles(only)).add(path, name, seen)
    return Grouped(list(studies.values()), left_out)


def look(path: Path, name: str) -> Inspection:
    try:
        with path.open("rb") as file:
            return inspect(FileSlice(file.fileno(), 0, path.stat().st_size), name=name)
    except OSError as error:
        raise ClientError("unreadable", f"{name} cannot be read: {error.strerror}.") from error


def _files(paths: Sequence[Path], scratch: Path) -> Iterator[tuple[Path, str]]:
    for number, path in enumerate(paths):
        if path.is_file() and archive.is_archive(path):
            yield from archive.expand(path, scratch / str(number))
        else:
            yield from named([path])
